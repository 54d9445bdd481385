from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.order import Side
from libs.common.domain.venue import Instrument
from libs.common.policy.rounding import round_price, round_quantity, shown

D = Decimal
LONG_NUMBERS = st.decimals(min_value=D("1e-20"), max_value=D("1e20"), places=20)
STEPS = st.sampled_from([D("1e-8"), D("0.25"), D("0.001"), D(1), D(7)])


@given(LONG_NUMBERS, STEPS, st.sampled_from(list(Side)))
def test_a_rounded_price_is_never_worse_and_less_than_a_step_away(
    price: Decimal, step: Decimal, side: Side
) -> None:
    found = round_price(price, side, step)
    better = price - found if side is Side.BUY else found - price
    assert 0 <= better < step


@pytest.mark.parametrize("instrument", [None, Instrument()])
@given(LONG_NUMBERS)
def test_without_steps_numbers_stay_as_they_are(instrument: Instrument | None, number: Decimal) -> None:
    assert str(round_quantity(number, instrument)) == str(number)
    assert str(round_price(number, Side.BUY, None)) == str(number)


@pytest.mark.parametrize(
    ("number", "expected"),
    [("1E+3", "1000"), ("0.5000", "0.5"), ("0E-8", "0"), ("-2.50", "-2.5"), ("1e-9", "0.000000001")],
)
def test_numbers_are_shown_plainly(number: str, expected: str) -> None:
    assert shown(D(number)) == expected


def test_an_endless_number_is_shown_in_short() -> None:
    assert shown(D("0." + "3" * 60)) == "0." + "3" * 28
