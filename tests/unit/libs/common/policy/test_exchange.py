"""The simulated exchange, by example: what fills, what rests, and what ends."""

from decimal import Decimal

import pytest

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import Side
from libs.common.domain.venue import Instrument
from libs.common.policy.book import DAY_MS
from libs.common.policy.exchange import PART_PAUSE_MS
from libs.common.policy.order_checks import Rules
from tests.unit.libs.common.policy.exchange_market import (
    BUY,
    LIMIT,
    NOW,
    SELL,
    STOP,
    STOP_LIMIT,
    Market,
    halves,
)

pytestmark = pytest.mark.usefixtures("exact_sums")


# ----------------------------------------------------------------------------------------------------------------------
# Market and limit orders
# ----------------------------------------------------------------------------------------------------------------------


def test_a_market_order_fills_at_the_last_price_with_slippage_and_fee() -> None:
    market = Market(Rules(slippage_bps=Decimal(10), fee_bps=Decimal(100)))
    order = market.must(BUY, "2")
    assert (order.state, order.average_price, order.fee) == (
        OrderState.FILLED,
        Decimal("100.1"),
        Decimal("2.002"),
    )
    assert market.book.quantity == 2


@pytest.mark.parametrize("price", ["101", None])
def test_an_order_brings_its_own_price_or_meets_the_last(price: str | None) -> None:
    market = Market()
    assert market.must(BUY, price=price).average_price == Decimal(price or "100")
    assert market.book.last_price == Decimal(price or "100")


@pytest.mark.parametrize(
    ("side", "limit", "before", "at"),
    [(BUY, "99", "99.01", "99"), (SELL, "101", "100.99", "101")],
)
def test_a_limit_order_rests_until_the_market_touches_its_limit_and_fills_there(
    side: Side, limit: str, before: str, at: str
) -> None:
    market = Market(Rules(slippage_bps=Decimal(50)))
    assert market.must(side, "1", LIMIT, limit_price=limit).state is OrderState.ACCEPTED
    assert not market.tick(before)
    (order,) = market.tick(at)
    assert (order.state, order.average_price) == (OrderState.FILLED, Decimal(limit))
    assert not market.book.orders


def test_a_resting_limit_order_that_the_market_jumps_over_fills_at_its_limit() -> None:
    market = Market()
    market.must(BUY, "1", LIMIT, limit_price="99")
    (order,) = market.tick("90")
    assert order.average_price == 99


@pytest.mark.parametrize(
    ("side", "limit", "expected"),
    [(BUY, "105", "101"), (BUY, "100.5", "100.5"), (SELL, "95", "99"), (SELL, "99.5", "99.5")],
)
def test_a_limit_order_that_meets_the_market_slips_but_never_beyond_its_limit(
    side: Side, limit: str, expected: str
) -> None:
    market = Market(Rules(slippage_bps=Decimal(100)))
    assert market.must(side, "1", LIMIT, limit_price=limit).average_price == Decimal(expected)


def test_a_limit_order_comes_to_a_market_without_a_price_and_waits() -> None:
    market = Market(price=None)
    assert market.must(BUY, "1", LIMIT, limit_price="50").state is OrderState.ACCEPTED
    market.tick("50")
    assert market.states() == {"1": "FILLED"}


def test_the_price_that_an_order_brings_meets_what_rests_first() -> None:
    market = Market()
    market.must(BUY, "2", LIMIT, limit_price="95")
    market.must(SELL, "1", price="94")
    assert [(one.order_id, one.price) for one in market.executions] == [("1", 95), ("2", 94)]
    assert market.book.quantity == 1


def test_what_rests_is_met_oldest_first() -> None:
    market = Market()
    for limit in ("98", "99", "97"):
        market.must(BUY, "1", LIMIT, limit_price=limit)
    market.tick("90")
    assert [one.order_id for one in market.executions] == ["1", "2", "3"]


# ----------------------------------------------------------------------------------------------------------------------
# Stops
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop", "before", "at"),
    [(BUY, "105", "104.99", "106"), (SELL, "95", "95.01", "94")],
)
def test_a_stop_order_fills_at_the_price_that_sets_it_off(
    side: Side, stop: str, before: str, at: str
) -> None:
    market = Market()
    market.must(side, "1", STOP, stop_price=stop)
    assert not market.tick(before)
    (order,) = market.tick(at)
    assert (order.state, order.average_price) == (OrderState.FILLED, Decimal(at))


def test_a_stop_limit_order_that_is_jumped_over_rests_as_a_limit_order() -> None:
    market = Market()
    market.must(BUY, "1", STOP_LIMIT, stop_price="105", limit_price="106")
    (order,) = market.tick("108")
    assert (order.state, order.is_triggered) == (OrderState.ACCEPTED, True)
    (order,) = market.tick("105.5")
    assert order.average_price == 106


def test_a_stop_order_beyond_its_stop_goes_off_at_once() -> None:
    assert Market().must(BUY, "1", STOP, stop_price="99").state is OrderState.FILLED


# ----------------------------------------------------------------------------------------------------------------------
# Reduce-only, time in force, cancelling
# ----------------------------------------------------------------------------------------------------------------------


def test_a_reduce_only_order_closes_what_is_there_and_is_cancelled_for_the_rest() -> None:
    market = Market()
    market.must(BUY, "2")
    order = market.must(SELL, "5", reduce_only=True)
    assert (order.state, order.filled) == (OrderState.CANCELED, 2)
    assert market.book.quantity == 0


@pytest.mark.parametrize("held", [None, SELL])
def test_a_reduce_only_order_without_anything_to_reduce_is_refused(held: Side | None) -> None:
    market = Market()
    if held is not None:
        market.must(held, "1")
    assert market.refusal(SELL, "1", reduce_only=True) == "nothing_to_reduce"


def test_a_resting_reduce_only_order_goes_with_the_position() -> None:
    market = Market()
    market.must(BUY, "1")
    market.must(SELL, "1", LIMIT, limit_price="110", reduce_only=True)
    market.must(SELL, "3")
    assert market.states() == {"1": "FILLED", "2": "CANCELED", "3": "FILLED"}


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_an_order_that_may_not_rest_and_is_not_met_expires(time_in_force: str) -> None:
    market = Market()
    order = market.must(BUY, "1", LIMIT, limit_price="99", time_in_force=time_in_force)
    assert (order.state, order.filled) == (OrderState.EXPIRED, 0)
    assert not market.book.orders


def test_immediate_or_cancel_keeps_the_part_that_fills_at_once() -> None:
    market = Market(Rules(partial_fills=1.0), uniform=halves)
    order = market.must(BUY, "4", time_in_force="ioc")
    assert (order.state, order.filled) == (OrderState.EXPIRED, 2)


def test_fill_or_kill_takes_no_part() -> None:
    market = Market(Rules(partial_fills=1.0), uniform=halves)
    order = market.must(BUY, "4", time_in_force="fok")
    assert (order.state, order.filled) == (OrderState.EXPIRED, 0)
    assert market.book.quantity == 0


def test_an_immediate_stop_waits_for_its_stop_first() -> None:
    market = Market()
    market.must(BUY, "1", STOP_LIMIT, stop_price="105", limit_price="106", time_in_force="ioc")
    assert market.states() == {"1": "ACCEPTED"}
    market.tick("108")
    assert market.states() == {"1": "EXPIRED"}


def test_a_day_order_ends_with_the_day_and_another_does_not() -> None:
    market = Market()
    market.must(BUY, "1", LIMIT, limit_price="99", time_in_force="day")
    market.must(BUY, "1", LIMIT, limit_price="99", time_in_force="gtc")
    left_ms = DAY_MS - NOW % DAY_MS
    assert not market.wait(left_ms - 1)
    assert [order.order_id for order in market.wait(1)] == ["1"]
    assert market.states() == {"1": "EXPIRED", "2": "ACCEPTED"}


def test_a_day_order_that_has_run_out_is_not_met_by_the_price_of_the_next_day() -> None:
    market = Market()
    market.must(BUY, "1", LIMIT, limit_price="99", time_in_force="day")
    market.now_ms += DAY_MS
    market.tick("98")
    assert market.states() == {"1": "EXPIRED"}


def test_a_closed_market_refuses_orders_fills_nothing_and_ends_day_orders() -> None:
    closed_from = NOW + 1_000
    market = Market(Rules(is_open=lambda at_ms: at_ms < closed_from))
    market.must(BUY, "1", LIMIT, limit_price="99", time_in_force="day")
    market.must(BUY, "1", LIMIT, limit_price="99")
    market.now_ms = closed_from
    market.tick("98")
    assert market.states() == {"1": "EXPIRED", "2": "ACCEPTED"}
    assert market.book.last_price == 98
    assert market.refusal(BUY, "1") == "market_closed"


def test_cancelling_takes_what_is_named_and_passes_over_the_rest() -> None:
    market = Market()
    for limit in ("99", "98"):
        market.must(BUY, "1", LIMIT, limit_price=limit)
    market.must(BUY, "1")
    assert [order.order_id for order in market.cancel("2", "3", "4")] == ["2"]
    assert market.states() == {"1": "ACCEPTED", "2": "CANCELED", "3": "FILLED"}
    assert not market.cancel("2")


# ----------------------------------------------------------------------------------------------------------------------
# Parts
# ----------------------------------------------------------------------------------------------------------------------


def test_a_part_is_followed_by_the_next_when_its_time_has_come() -> None:
    market = Market(Rules(partial_fills=1.0, instrument=Instrument(quantity_step=Decimal(1))), uniform=halves)
    order = market.must(BUY, "7")
    assert (order.state, order.filled) == (OrderState.PARTIAL, 3)
    assert not market.wait(PART_PAUSE_MS - 1)
    assert [one.filled for one in market.wait(1)] == [5]
    market.wait(PART_PAUSE_MS)
    (order,) = market.wait(PART_PAUSE_MS)
    assert (order.state, order.filled) == (OrderState.FILLED, 7)


def test_each_part_brings_exits_of_its_own() -> None:
    market = Market(Rules(partial_fills=1.0, instrument=Instrument(quantity_step=Decimal(1))), uniform=halves)
    market.must(BUY, "3", take_profit="110", stop_loss="90")
    market.wait(PART_PAUSE_MS)
    market.wait(PART_PAUSE_MS)
    assert {order.order_id for order in market.book.orders} >= {"1-tp", "1-sl", "1-tp-2", "1-sl-2"}
    assert sum(o.quantity for o in market.book.orders if "-sl" in o.order_id) == market.book.quantity


def test_the_average_price_of_parts_is_weighted() -> None:
    market = Market(Rules(partial_fills=1.0, instrument=Instrument(quantity_step=Decimal(1))), uniform=halves)
    market.must(BUY, "2")
    market.now_ms += PART_PAUSE_MS
    (order,) = market.tick("110")
    assert (order.state, order.average_price) == (OrderState.FILLED, 105)


def test_nothing_to_do_leaves_the_very_book() -> None:
    market = Market()
    market.must(BUY, "1", LIMIT, limit_price="99")
    before = market.book
    market.wait(DAY_MS)
    assert market.book is before
