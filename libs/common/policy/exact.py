"""Decimal arithmetic that loses no digit: the one place of `policy` that has a decimal context.

Python's own operators round to the 28 digits of whatever context they run in, `-x` and `abs(x)` too, while an alert's
numbers may have 40. Here every number that an alert or a venue can hold fits several times into a product: what is not
rounded on purpose is exact, or raises. Results carry neither trailing zeros nor an exponent, and no negative zero.
"""

from contextlib import AbstractContextManager
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    localcontext,
)
from typing import Final

from libs.common.domain.order import Side

MOST_DECIMALS: Final = 24
"""Decimals that a quotient is rounded to."""

FINEST: Final = Decimal(1).scaleb(-MOST_DECIMALS)
"""The step of that."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)

_EXACT: Final = Context(prec=600, traps=[Inexact, InvalidOperation, DivisionByZero])
_ROUNDED: Final = Context(prec=600, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])

# Quotients of the largest numbers, with two dozen decimals to spare; more digits would only take longer.
_QUOTIENT: Final = Context(prec=120, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero])


def exactly() -> AbstractContextManager[Context]:
    """Let Python's own operators keep every digit, for a formula of many steps; what never ends has 600."""
    return localcontext(_ROUNDED)


def add(*terms: Decimal) -> Decimal:
    """Return the exact sum; 0 of nothing."""
    result = _ZERO
    for term in terms:
        result = _EXACT.add(result, term)
    return plain(result)


def subtract(one: Decimal, other: Decimal) -> Decimal:
    """Return the exact difference."""
    return plain(_EXACT.subtract(one, other))


def multiply(*factors: Decimal) -> Decimal:
    """Return the exact product; 1 of nothing."""
    result = _ONE
    for factor in factors:
        result = _EXACT.multiply(result, factor)
    return plain(result)


def divide(one: Decimal, other: Decimal, step: Decimal = FINEST) -> Decimal:
    """Return the quotient, rounded to a power of ten."""
    return tidy(_QUOTIENT.divide(one, other), step=step)


def negated(number: Decimal) -> Decimal:
    """Return the number with the other sign."""
    return number.copy_negate() if number else _ZERO


def magnitude(number: Decimal) -> Decimal:
    """Return the number without its sign."""
    return number.copy_abs()


def signed(side: Side, quantity: Decimal) -> Decimal:
    """Return a traded quantity as it moves the position."""
    return quantity if side is Side.BUY else negated(quantity)


def share_in_steps(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of a step that is not above a fraction.

    Args:
        numerator: At least 0.
        denominator: Above 0.
        step: Above 0.
    """
    return multiply(_EXACT.divide_int(numerator, multiply(denominator, step)), step)


def round_down(number: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of a step, above 0, that is not above a number."""
    nearer_to_zero = multiply(_EXACT.divide_int(number, step), step)
    return nearer_to_zero if nearer_to_zero <= number else subtract(nearer_to_zero, step)


def round_up(number: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of a step, above 0, that is not below a number."""
    below = round_down(number, step)
    return below if below == number else add(below, step)


def is_multiple(number: Decimal, step: Decimal) -> bool:
    """Tell whether a number is a whole number of steps."""
    return not _EXACT.remainder(number, step)


def tidy(number: Decimal, rounding: str = ROUND_HALF_EVEN, step: Decimal = FINEST) -> Decimal:
    """Return the number rounded to a power of ten."""
    return plain(number.quantize(step, rounding, _ROUNDED))


def shortened(number: Decimal, digits: int) -> Decimal:
    """Return the number with so many digits at most, rounded; for people, not for sums."""
    return plain(number if len(number.as_tuple().digits) <= digits else Context(prec=digits).plus(number))


def decimals(number: Decimal) -> int:
    """Return how many decimals a finite number is written with; negative: zeros before the point left out."""
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), number
    return -exponent


def plain(number: Decimal) -> Decimal:
    """Return the same number without trailing zeros and exponent."""
    # A sum has the finer exponent of its terms: that of 0 where there would be one above it.
    return _EXACT.add(number.normalize(_EXACT), _ZERO)
