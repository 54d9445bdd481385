"""How much an alert is about, and which way a signed size goes."""

from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.alert import MarketPosition, QuantityUnit


@dataclass(frozen=True, slots=True)
class Size:
    """How much to trade, or to hold."""

    quantity: Decimal | None = None
    """None where none is named. Signed only on the way to the position that it stands for."""
    unit: QuantityUnit = QuantityUnit.UNITS


def position_of(size: Decimal) -> MarketPosition:
    """Return the position that a signed size is: above 0 long, below 0 short."""
    if not size:
        return MarketPosition.FLAT
    return MarketPosition.LONG if size > 0 else MarketPosition.SHORT
