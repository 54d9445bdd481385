"""Exact arithmetic, held against fractions, with as many digits as alerts may have."""

from collections.abc import Callable, Iterator
from decimal import Context, Decimal, Inexact, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.order import Side
from libs.common.policy.exact import (
    FINEST,
    MOST_DECIMALS,
    add,
    decimals,
    divide,
    exactly,
    is_multiple,
    magnitude,
    multiply,
    negated,
    plain,
    round_down,
    round_up,
    share_in_steps,
    shortened,
    signed,
    subtract,
    tidy,
)

D = Decimal
DIGITS = 40
LONG = st.builds(
    lambda sign, digits, exponent: D((sign, tuple(map(int, digits)), exponent)),
    st.sampled_from([0, 1]),
    st.text("0123456789", min_size=1, max_size=DIGITS),
    st.integers(-DIGITS, 20),
)
ABOVE_0 = LONG.filter(bool).map(lambda number: number.copy_abs())
STEPS = st.sampled_from([D("1e-8"), D("0.25"), D("0.001"), D(1), D(7)])


@pytest.fixture(autouse=True, scope="module", params=[5, 28])
def _callers_context(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs everything in contexts that would round."""
    with localcontext(Context(prec=request.param)):
        yield


@given(st.lists(LONG, max_size=6))
def test_sums_and_products_are_those_of_fractions(numbers: list[Decimal]) -> None:
    product = Fraction(1)
    for number in numbers:
        product *= Fraction(number)
    assert Fraction(add(*numbers)) == sum(map(Fraction, numbers))
    assert Fraction(multiply(*numbers)) == product


@given(LONG, LONG)
def test_a_difference_is_that_of_fractions(one: Decimal, other: Decimal) -> None:
    assert Fraction(subtract(one, other)) == Fraction(one) - Fraction(other)


@given(LONG)
def test_signs_change_no_digit(number: Decimal) -> None:
    assert Fraction(negated(number)) == -Fraction(number)
    assert Fraction(magnitude(number)) == abs(Fraction(number))
    assert Fraction(signed(Side.BUY, number)) == Fraction(number)
    assert Fraction(signed(Side.SELL, number)) == -Fraction(number)


@pytest.mark.parametrize("zero", ["0", "-0", "0.00", "0E+3"])
@pytest.mark.parametrize(
    "make", [negated, plain, tidy, lambda zero: signed(Side.SELL, zero), lambda zero: subtract(zero, zero)]
)
def test_nothing_has_no_sign(zero: str, make: Callable[[Decimal], Decimal]) -> None:
    assert str(make(D(zero))) == "0"


@given(LONG, ABOVE_0)
def test_a_quotient_is_rounded_in_its_last_decimal(one: Decimal, other: Decimal) -> None:
    assert abs(Fraction(divide(one, other)) - Fraction(one) / Fraction(other)) <= Fraction(FINEST) / 2


@given(LONG, STEPS)
def test_rounding_finds_the_multiples_next_to_a_number(number: Decimal, step: Decimal) -> None:
    below, above = round_down(number, step), round_up(number, step)
    assert is_multiple(below, step)
    assert is_multiple(above, step)
    assert below <= number <= above
    assert Fraction(above) - Fraction(below) == (0 if is_multiple(number, step) else Fraction(step))


@given(ABOVE_0, ABOVE_0, STEPS)
def test_a_share_is_the_largest_multiple_that_is_not_above_it(
    numerator: Decimal, denominator: Decimal, step: Decimal
) -> None:
    found = share_in_steps(numerator, denominator, step)
    assert is_multiple(found, step)
    assert multiply(found, denominator) <= numerator < multiply(add(found, step), denominator)


def test_a_number_that_is_no_whole_number_of_steps_is_told_to_the_last_digit() -> None:
    assert is_multiple(D("1000000000000.00000003"), D("1E-8"))
    assert not is_multiple(D("1000000000000.000000035"), D("1E-8"))


@given(LONG)
def test_a_plain_number_is_the_same_without_exponent_and_trailing_zeros(number: Decimal) -> None:
    found = plain(number)
    assert Fraction(found) == Fraction(number)
    assert decimals(found) >= 0
    assert decimals(found) == 0 or found.as_tuple().digits[-1]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("1E+3", "1000"),
        ("1.500", "1.5"),
        ("0.1234567890123456789012345678", "0.123456789012345678901235"),
        ("1234567890123456789012345678901234567890", "1234567890123456789012345678901234567890"),
    ],
)
def test_tidy_numbers_are_plain_and_have_so_many_decimals_at_most(number: str, text: str) -> None:
    assert str(tidy(D(number))) == text
    assert MOST_DECIMALS == 24


def test_a_shortened_number_keeps_so_many_digits() -> None:
    assert shortened(D("0." + "3" * 60), 28) == D("0." + "3" * 28)


@given(LONG, LONG, LONG)
def test_operators_lose_nothing_where_that_is_asked_for(one: Decimal, other: Decimal, more: Decimal) -> None:
    with exactly():
        found = -one * abs(other) - more
    assert Fraction(found) == -Fraction(one) * abs(Fraction(other)) - Fraction(more)


def test_what_does_not_fit_raises_and_is_never_rounded() -> None:
    with pytest.raises(Inexact):
        add(D("1e400"), D("1e-400"))
