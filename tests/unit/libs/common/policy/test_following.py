from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.lifecycle import ORDER_MOVES, RESTING, OrderState
from libs.common.domain.order import OrderPlan, OrderReport, Side
from libs.common.policy.exact import signed
from libs.common.policy.following import (
    LATEST_MS,
    LOST_LOOK_UPS,
    LOST_MS,
    PRESENT,
    SOONEST_MS,
    Absence,
    Fill,
    fill_words,
    miss,
    poll_ms,
    see,
)

ACCEPTED, PARTIAL, FILLED = OrderState.ACCEPTED, OrderState.PARTIAL, OrderState.FILLED
PLAN = OrderPlan(side=Side.BUY, quantity=Decimal(10))
TOLD = [state for state in OrderState if state in RESTING or not ORDER_MOVES[state] or state == "REJECTED"]


def report(state: OrderState, filled: str = "0", average: str | None = None) -> OrderReport:
    return OrderReport(
        order_id="v-1",
        state=state,
        filled_quantity=Decimal(filled),
        average_price=None if average is None else Decimal(average),
    )


def middle(low: float, high: float) -> float:
    return (low + high) / 2


@pytest.mark.parametrize(
    ("before", "known", "told", "after", "fill"),
    [
        (ACCEPTED, None, report(ACCEPTED), ACCEPTED, None),
        (ACCEPTED, report(ACCEPTED), report(PARTIAL, "4", "9"), PARTIAL, ("4", "9", "4")),
        (ACCEPTED, None, report(ACCEPTED, "4", "9"), PARTIAL, ("4", "9", "4")),
        (PARTIAL, report(PARTIAL, "4", "9"), report(PARTIAL, "4", "9"), PARTIAL, None),
        (PARTIAL, report(PARTIAL, "4", "9"), report(FILLED, "10", "9.6"), FILLED, ("6", "10", "10")),
        (PARTIAL, report(PARTIAL, "4"), report(FILLED, "10", "9.6"), FILLED, ("6", "9.6", "10")),
        (ACCEPTED, None, report(FILLED), FILLED, ("10", None, "10")),
        (ACCEPTED, None, report(OrderState.CANCELED), OrderState.CANCELED, None),
        (ACCEPTED, None, report(OrderState.CANCELED, "3"), OrderState.CANCELED, ("3", None, "3")),
        (ACCEPTED, None, report(OrderState.EXPIRED), OrderState.EXPIRED, None),
        (ACCEPTED, None, report(OrderState.REJECTED), OrderState.REJECTED, None),
        # What is partly filled was not refused.
        (PARTIAL, report(PARTIAL, "4"), report(OrderState.REJECTED, "4"), OrderState.CANCELED, None),
        (ACCEPTED, None, report(OrderState.REJECTED, "4"), OrderState.CANCELED, ("4", None, "4")),
        # A replica that lags.
        (PARTIAL, report(PARTIAL, "4", "9"), report(ACCEPTED), PARTIAL, None),
        (PARTIAL, report(PARTIAL, "4", "9"), report(PARTIAL, "3", "8"), PARTIAL, None),
    ],
)
def test_a_report_tells_what_is_newly_filled_and_where_the_order_stands(before, known, told, after, fill):
    seen = see(PLAN, before, known, told)
    assert seen.state is after
    assert seen.report.state is after
    assert seen.has_ended == (after not in {ACCEPTED, PARTIAL})
    if fill is None:
        assert seen.fill is None
    else:
        quantity, price, total = fill
        assert seen.fill == Fill(
            quantity=Decimal(quantity),
            price=None if price is None else Decimal(price),
            total=Decimal(total),
        )


def test_an_average_that_is_rounded_too_much_stands_for_the_price_of_a_small_fill():
    seen = see(PLAN, PARTIAL, report(PARTIAL, "9.999999", "10"), report(FILLED, "10", "9.99"))
    assert seen.fill is not None
    assert seen.fill.price == Decimal("9.99")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(TOLD),
            st.decimals(0, 10, allow_nan=False, places=18),
            st.none() | st.decimals(1, 1_000, allow_nan=False, places=6),
        ),
        max_size=8,
    )
)
def test_whatever_the_venue_says_the_fills_add_up_exactly_and_every_move_is_legal(said):
    state, known, total = ACCEPTED, None, Decimal(0)
    for told, filled, average in said:
        one = OrderReport(order_id="v-1", state=told, filled_quantity=filled, average_price=average)
        seen = see(PLAN, state, known, one)
        assert seen.state is state or seen.state in ORDER_MOVES[state]
        if seen.fill is not None:
            assert seen.fill.quantity > 0
            total += seen.fill.quantity
            assert seen.fill.total == total
        assert seen.report.filled_quantity == total
        state, known = seen.state, seen.report
        if seen.has_ended:
            break


def test_an_order_is_lost_once_enough_look_ups_over_enough_time_found_nothing():
    absence, found = PRESENT, []
    for at_ms in range(5_000, 5_000 + LOST_MS + 10_001, 10_000):
        absence = miss(absence, at_ms)
        found.append(absence.is_lost)
    assert found == [False, False, False, True, True]
    assert (absence.look_ups, absence.since_ms) == (5, 5_000)


def test_few_look_ups_over_a_long_time_do_not_make_an_order_lost():
    absence = miss(miss(PRESENT, 0), LOST_MS * 10)
    assert absence.look_ups < LOST_LOOK_UPS
    assert not absence.is_lost


def test_an_order_stays_lost_until_it_is_found():
    assert miss(Absence(look_ups=9, since_ms=7, is_lost=True), 8).is_lost


@pytest.mark.parametrize(
    ("age_ms", "pause_ms"), [(0, SOONEST_MS), (20_000, 1_000), (100_000, 5_000), (10**9, LATEST_MS)]
)
def test_an_old_order_is_looked_up_less_often_than_a_young_one(age_ms: int, pause_ms: int):
    assert poll_ms(age_ms, middle) == pause_ms


@given(st.integers(0, 10**12), st.booleans())
def test_a_pause_is_never_far_from_its_bounds(age_ms: int, is_high: bool):
    pause_ms = poll_ms(age_ms, (lambda low, high: high) if is_high else (lambda low, high: low))
    assert SOONEST_MS * 0.8 <= pause_ms <= LATEST_MS * 1.2


def test_an_order_is_looked_up_when_its_time_is_over():
    assert poll_ms(10**6, middle, limit_in_ms=300) == 300
    assert poll_ms(10**6, middle, limit_in_ms=-300) == LATEST_MS


def test_a_fill_moves_the_position_the_way_its_order_trades():
    quantity = Decimal("0.123456789012345678901234567890")
    assert signed(Side.BUY, quantity) == quantity
    assert signed(Side.SELL, quantity) + quantity == 0


@pytest.mark.parametrize(
    ("price", "words"),
    [("100.50", "1.5 at 100.5, 4 of 10"), ("1E+2", "1.5 at 100, 4 of 10"), (None, "1.5, 4 of 10")],
)
def test_a_fill_is_told_in_words(price: str | None, words: str):
    fill = Fill(quantity=Decimal("1.5"), price=None if price is None else Decimal(price), total=Decimal(4))
    assert fill_words(fill, PLAN) == words
