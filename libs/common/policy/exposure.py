"""What the positions of an account are worth together, whichever way they go."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Protocol

from libs.common.policy.exact import add, magnitude, multiply


class Priced(Protocol):
    """A position with the last price of its market."""

    @property
    def quantity(self) -> Decimal:
        """Base units, signed."""
        ...

    @property
    def last_price(self) -> Decimal | None:
        """None where none is known."""
        ...


def gross_value(positions: Iterable[Priced]) -> Decimal | None:
    """Return the value of positions at their last prices, long and short; None where an open one has no price."""
    values = []
    for one in positions:
        if not one.quantity:
            continue
        if one.last_price is None:
            return None
        values.append(multiply(magnitude(one.quantity), one.last_price))
    return add(*values)
