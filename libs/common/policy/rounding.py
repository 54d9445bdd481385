"""Exact sums with quantities and prices, and the rounding of what comes out to the steps of a market.

Every number that an alert can hold (40 digits) fits several times into a product here: what is not rounded on purpose
is exact, or raises.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from typing import Final

from libs.common.domain.order import Side
from libs.common.domain.venue import FINEST_STEP, Instrument

_EXACT: Final = Context(prec=600, traps=[Inexact, InvalidOperation, DivisionByZero])
_TO_STEPS: Final = {
    Side.BUY: Context(prec=600, rounding=ROUND_FLOOR, traps=[InvalidOperation, DivisionByZero]),
    Side.SELL: Context(prec=600, rounding=ROUND_CEILING, traps=[InvalidOperation, DivisionByZero]),
}

_MOST_DIGITS: Final = 28
"""Of a number that is only shown."""


def product(*factors: Decimal) -> Decimal:
    """Return the exact product."""
    result = Decimal(1)
    for factor in factors:
        result = _EXACT.multiply(result, factor)
    return result


def total(*terms: Decimal) -> Decimal:
    """Return the exact sum."""
    result = Decimal(0)
    for term in terms:
        result = _EXACT.add(result, term)
    return result


def difference(one: Decimal, other: Decimal) -> Decimal:
    """Return the exact difference."""
    return _EXACT.subtract(one, other)


def share_in_steps(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of a step that is not above a fraction.

    Args:
        numerator: At least 0.
        denominator: Above 0.
        step: Above 0.
    """
    return _plain(product(_EXACT.divide_int(numerator, product(denominator, step)), step))


def round_quantity(quantity: Decimal, instrument: Instrument | None) -> Decimal:
    """Return a quantity rounded down to what the market trades; exactly as it is where the venue tells no step."""
    if instrument is None or instrument.quantity_step is None:
        return quantity
    return share_in_steps(quantity, Decimal(1), instrument.quantity_step)


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
    context = _TO_STEPS[side]
    steps = context.to_integral_value(context.divide(price, step))
    return _plain(product(steps, step))


def shown(number: Decimal) -> str:
    """Return a number for a sentence: without exponent and trailing zeros, shortened where it is endless."""
    if len(number.as_tuple().digits) > _MOST_DIGITS:
        number = Context(prec=_MOST_DIGITS).plus(number)
    return format(_plain(number), "f")


def _plain(number: Decimal) -> Decimal:
    """Return the same number without exponent and trailing zeros."""
    if not number:
        return Decimal(0)
    number = number.normalize(_EXACT)
    exponent = number.as_tuple().exponent
    return (
        number.quantize(Decimal(1), context=_EXACT) if isinstance(exponent, int) and exponent > 0 else number
    )
