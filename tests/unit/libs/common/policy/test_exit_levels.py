from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import ExitLevel, ExitUnit
from libs.common.domain.order import Side
from libs.common.policy.exit_levels import WrongSide, stop_loss, take_profit

D = Decimal
CENT = D("0.01")


@pytest.mark.parametrize(
    ("side", "level", "profit", "loss"),
    [
        (Side.BUY, ExitLevel(D(5), ExitUnit.DISTANCE), "105", "95"),
        (Side.SELL, ExitLevel(D(5), ExitUnit.DISTANCE), "95", "105"),
        (Side.BUY, ExitLevel(D("2.5"), ExitUnit.PERCENT), "102.5", "97.5"),
        (Side.SELL, ExitLevel(D("2.5"), ExitUnit.PERCENT), "97.5", "102.5"),
    ],
)
def test_exits_lie_on_their_sides_of_the_entry(side: Side, level: ExitLevel, profit: str, loss: str) -> None:
    assert take_profit(level, D(100), side, None) == D(profit)
    assert stop_loss(level, D(100), side, None) == D(loss)


@pytest.mark.parametrize(
    ("side", "profit", "loss"), [(Side.BUY, "105.01", "95"), (Side.SELL, "94.99", "105")]
)
def test_exits_move_to_the_step_that_is_better_for_the_trader(side: Side, profit: str, loss: str) -> None:
    level = ExitLevel(D("5.005"), ExitUnit.DISTANCE)
    assert take_profit(level, D(100), side, CENT) == D(profit)
    assert stop_loss(level, D(100), side, CENT) == D(loss)


@pytest.mark.parametrize(
    ("side", "profit"), [(Side.BUY, "100"), (Side.BUY, "99"), (Side.SELL, "100"), (Side.SELL, "101")]
)
def test_a_price_on_the_wrong_side_says_so(side: Side, profit: str) -> None:
    found = take_profit(ExitLevel(D(profit)), D(100), side, None)
    assert isinstance(found, WrongSide)
    assert '"take_profit"' in found.detail


def test_rounding_may_not_carry_an_exit_onto_its_entry() -> None:
    assert isinstance(stop_loss(ExitLevel(D("99.995")), D(100), Side.BUY, CENT), WrongSide)


def test_no_exit_lies_at_nothing_or_below() -> None:
    assert isinstance(stop_loss(ExitLevel(D(100), ExitUnit.DISTANCE), D(100), Side.BUY, None), WrongSide)
    assert isinstance(take_profit(ExitLevel(D(200), ExitUnit.PERCENT), D(9), Side.SELL, None), WrongSide)


@given(
    st.decimals(min_value=1, max_value=10**6, places=4),
    st.decimals(min_value=D("0.01"), max_value=50, places=4),
    st.sampled_from(list(Side)),
    st.sampled_from(list(ExitUnit)),
    st.sampled_from([None, CENT, D("0.25")]),
)
def test_a_stop_never_loses_more_than_asked_and_a_profit_never_takes_less(
    entry: Decimal, value: Decimal, side: Side, unit: ExitUnit, step: Decimal | None
) -> None:
    level = ExitLevel(value, unit)
    away = entry * value / 100 if unit is ExitUnit.PERCENT else value
    up = 1 if side is Side.BUY else -1
    loss, profit = stop_loss(level, entry, side, step), take_profit(level, entry, side, step)
    if isinstance(loss, Decimal):
        asked = value if unit is ExitUnit.PRICE else entry - up * away
        assert (loss - asked) * up >= 0
        assert (entry - loss) * up > 0
    if isinstance(profit, Decimal):
        asked = value if unit is ExitUnit.PRICE else entry + up * away
        assert (profit - asked) * up >= 0
        assert (profit - entry) * up > 0
