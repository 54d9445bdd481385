"""How much an alert is about."""

from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.alert import QuantityUnit


@dataclass(frozen=True, slots=True)
class Size:
    """How much to trade, or to hold."""

    quantity: Decimal | None = None
    """None where none is named. Signed only on the way to the position that it stands for."""
    unit: QuantityUnit = QuantityUnit.UNITS
