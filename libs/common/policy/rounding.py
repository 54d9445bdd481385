"""The rounding of quantities and prices to the steps of a market, and of numbers for sentences."""

from decimal import Decimal
from typing import Final

from libs.common.domain.order import Side
from libs.common.domain.venue import FINEST_STEP, Instrument
from libs.common.policy.exact import round_down, round_up, shortened, subtract

_MOST_DIGITS: Final = 28
"""Of a number that is only shown."""

difference = subtract
"""The same, by the name that callers outside of `policy` know it by."""


def round_quantity(quantity: Decimal, instrument: Instrument | None) -> Decimal:
    """Return a quantity rounded down to what the market trades; exactly as it is where the venue tells no step."""
    if instrument is None or instrument.quantity_step is None:
        return quantity
    return round_down(quantity, instrument.quantity_step)


def quantity_step(instrument: Instrument | None) -> Decimal:
    """Return the step that a computed quantity is rounded to."""
    if instrument is None or instrument.quantity_step is None:
        return FINEST_STEP
    return instrument.quantity_step


def round_price(price: Decimal, side: Side, step: Decimal | None) -> Decimal:
    """Return a price rounded so that it is never worse for whoever trades at it: down to buy, up to sell.

    Stop prices and exits are rounded by the side of their own order in the same way: a stop-loss of a long position
    sells, so it moves up, and what is lost there is never more than was asked for.

    Args:
        price: Above 0.
        side: Of the order whose price it is.
        step: Above 0; None leaves the price exactly as it is.
    """
    if step is None:
        return price
    return round_down(price, step) if side is Side.BUY else round_up(price, step)


def shown(number: Decimal) -> str:
    """Return a number for a sentence: without exponent and trailing zeros, shortened where it is endless."""
    return format(shortened(number, _MOST_DIGITS), "f")
