"""The simulated exchange, by properties and by example."""

import random
from collections.abc import Iterator, Sequence
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.venue import Instrument
from libs.common.policy.book import DAY_MS, Book, Order
from libs.common.policy.exchange import (
    MOST_OPEN,
    PART_PAUSE_MS,
    Execution,
    Step,
    Ticket,
    advance,
    cancel,
    submit,
    tick,
)
from libs.common.policy.fills import Unfillable
from libs.common.policy.order_checks import Rules

NOW = 1_780_000_000_000
PLAIN = Rules()
OPEN = {OrderState.ACCEPTED, OrderState.PARTIAL}


@pytest.fixture(autouse=True, scope="module")
def _exact_sums() -> Iterator[None]:
    """Lets the tests' own sums keep every digit; Python's default keeps 28."""
    with localcontext(prec=200):
        yield


def no_dice(low: float, high: float) -> float:
    raise AssertionError(f"no dice were asked for, {low} to {high}")


def halves(low: float, high: float) -> float:
    return (low + high) / 2


def decimal(number: str | Decimal | None) -> Decimal | None:
    return None if number is None else Decimal(number)


class Market:
    """A market under test: every call is a step on its book."""

    def __init__(self, rules: Rules = PLAIN, *, price: str | None = "100", uniform: Any = no_dice) -> None:
        self.rules, self.uniform, self.now_ms = rules, uniform, NOW
        self.book = Book()
        self.orders: dict[str, Order] = {}
        self.executions: list[Execution] = []
        if price is not None:
            self.tick(price)

    def submit(
        self,
        side: Side,
        quantity: str | Decimal = "1",
        order_type: OrderType = OrderType.MARKET,
        *,
        price: str | Decimal | None = None,
        **plan: Any,
    ) -> Order | Unfillable:
        order_id = str(sum(order.client_order_id is not None for order in self.orders.values()) + 1)
        plan |= {name: decimal(plan[name]) for name in LEVELS if name in plan}
        step = submit(
            self.book,
            Ticket(
                order_id,
                ClientOrderId(f"c{order_id}"),
                OrderPlan(side=side, quantity=Decimal(quantity), type=order_type, **plan),
            ),
            price=decimal(price),
            at_ms=self.now_ms,
            rules=self.rules,
            uniform=self.uniform,
        )
        if isinstance(step, Unfillable):
            return step
        self._take(step)
        assert step.orders[0].order_id == order_id, "its own order comes first"
        return step.orders[0]

    def must(self, *args: Any, **kwargs: Any) -> Order:
        order = self.submit(*args, **kwargs)
        assert isinstance(order, Order), order
        return order

    def refusal(self, *args: Any, **kwargs: Any) -> str:
        before = self.book
        refused = self.submit(*args, **kwargs)
        assert isinstance(refused, Unfillable), refused
        assert self.book is before
        return refused.code

    def tick(self, price: str | Decimal) -> Sequence[Order]:
        return self._take(
            tick(self.book, Decimal(price), at_ms=self.now_ms, rules=self.rules, uniform=self.uniform)
        )

    def wait(self, ms: int) -> Sequence[Order]:
        self.now_ms += ms
        return self._take(advance(self.book, at_ms=self.now_ms, rules=self.rules, uniform=self.uniform))

    def cancel(self, *order_ids: str) -> Sequence[Order]:
        return self._take(cancel(self.book, order_ids, at_ms=self.now_ms))

    def states(self) -> dict[str, str]:
        return {order_id: order.state.value for order_id, order in self.orders.items()}

    def _take(self, step: Step) -> Sequence[Order]:
        self.book = step.book
        self.orders |= {order.order_id: order for order in step.orders}
        self.executions += step.executions
        return step.orders


LEVELS = ("limit_price", "stop_price", "take_profit", "stop_loss")
BUY, SELL = Side.BUY, Side.SELL
LIMIT, STOP, STOP_LIMIT = OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT


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
# Exits
# ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("price", "at", "states"),
    [
        ("110", "110", {"1": "FILLED", "1-tp": "FILLED", "1-sl": "CANCELED"}),
        ("120", "110", {"1": "FILLED", "1-tp": "FILLED", "1-sl": "CANCELED"}),
        ("90", "90", {"1": "FILLED", "1-sl": "FILLED", "1-tp": "CANCELED"}),
        ("85", "85", {"1": "FILLED", "1-sl": "FILLED", "1-tp": "CANCELED"}),
    ],
)
def test_of_a_take_profit_and_a_stop_loss_one_trades_and_the_other_is_cancelled(
    price: str, at: str, states: dict[str, str]
) -> None:
    market = Market()
    market.must(BUY, "2", take_profit="110", stop_loss="90")
    assert {order.order_id for order in market.book.orders} == {"1-tp", "1-sl"}
    market.tick(price)
    assert market.states() == states
    assert market.book.quantity == 0
    assert market.executions[-1].price == Decimal(at)


def test_exits_of_a_resting_order_come_with_its_fill() -> None:
    market = Market()
    market.must(SELL, "1", LIMIT, limit_price="105", take_profit="100", stop_loss="110")
    assert len(market.book.orders) == 1
    market.tick("105")
    assert market.states() == {"1": "FILLED", "1-tp": "ACCEPTED", "1-sl": "ACCEPTED"}
    market.tick("111")
    assert market.book.quantity == 0
    assert market.states()["1-sl"] == "FILLED"


def test_what_one_exit_of_a_pair_closes_in_part_is_taken_from_the_other_to_the_last_digit() -> None:
    market = Market(uniform=halves)
    market.must(BUY, "900000000000000000000001.00000003", take_profit="110", stop_loss="90")
    market.rules = Rules(partial_fills=1.0)
    with localcontext(prec=28):
        market.tick("110")
    assert market.executions[-1].quantity == Decimal("450000000000000000000000.50000001")
    for order_id in ("1-tp", "1-sl"):
        order = market.book.order(order_id)
        assert order is not None
        with localcontext(prec=28):
            assert order.remaining == Decimal("450000000000000000000000.50000002")


def test_exits_go_when_the_position_is_closed_otherwise() -> None:
    market = Market()
    market.must(BUY, "1", take_profit="110", stop_loss="90")
    market.must(SELL, "1")
    assert not market.book.orders
    assert market.states() == {"1": "FILLED", "1-tp": "CANCELED", "1-sl": "CANCELED", "2": "FILLED"}


def test_exits_close_no_more_than_is_held() -> None:
    market = Market()
    market.must(BUY, "3", take_profit="110")
    market.must(SELL, "2")
    market.tick("110")
    assert market.book.quantity == 0
    assert (market.orders["1-tp"].state, market.orders["1-tp"].filled) == (OrderState.CANCELED, 1)


def test_exits_of_several_entries_are_pairs_of_their_own() -> None:
    market = Market()
    market.must(BUY, "1", take_profit="110", stop_loss="90")
    market.must(BUY, "2", take_profit="120", stop_loss="95")
    market.tick("94")
    assert market.book.quantity == 1
    assert {order.order_id for order in market.book.orders} == {"1-tp", "1-sl"}


@pytest.mark.parametrize(
    "plan",
    [
        {"take_profit": "100"},
        {"take_profit": "99"},
        {"stop_loss": "100"},
        {"stop_loss": "101"},
        {"take_profit": "101", "order_type": LIMIT, "limit_price": "102"},
        {"stop_loss": "106", "order_type": STOP, "stop_price": "105"},
    ],
)
def test_exits_on_the_wrong_side_of_the_entry_are_refused(plan: dict[str, Any]) -> None:
    assert Market().refusal(BUY, "1", **plan) == "invalid_exit"


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
# What is refused
# ----------------------------------------------------------------------------------------------------------------------

GRID = Instrument(
    quantity_step=Decimal("0.01"),
    price_step=Decimal("0.5"),
    min_quantity=Decimal("0.1"),
    max_quantity=Decimal(10),
    min_value=Decimal(20),
)


@pytest.mark.parametrize(
    ("quantity", "plan", "code"),
    [
        ("0.205", {}, "lot_size"),
        ("0.09", {}, "min_quantity"),
        ("10.01", {}, "max_quantity"),
        ("0.19", {}, "min_value"),
        ("1", {"order_type": LIMIT, "limit_price": "99.7"}, "tick_size"),
        ("1", {"order_type": STOP, "stop_price": "101.2"}, "tick_size"),
        ("1", {"take_profit": "101.2"}, "tick_size"),
        ("0.2", {"order_type": LIMIT, "limit_price": "99.5"}, "min_value"),
        ("1", {"order_type": LIMIT}, "invalid_order"),
        ("1", {"limit_price": "99"}, "invalid_order"),
        ("1", {"order_type": STOP_LIMIT, "limit_price": "99"}, "invalid_order"),
        ("1", {"time_in_force": "opg"}, "unsupported"),
        ("1", {"time_in_force": "someday"}, "unsupported"),
        ("NaN", {}, "out_of_range"),
        ("-1", {}, "out_of_range"),
        ("1", {"order_type": LIMIT, "limit_price": "-1"}, "out_of_range"),
    ],
)
def test_what_does_not_fit_the_market_is_refused(quantity: str, plan: dict[str, Any], code: str) -> None:
    assert Market(Rules(instrument=GRID)).refusal(BUY, quantity, **plan) == code


def test_what_fits_the_market_to_the_last_step_is_taken() -> None:
    market = Market(Rules(instrument=GRID))
    market.must(BUY, "0.2")
    market.must(BUY, "10.00", LIMIT, limit_price="99.50")


def test_the_rest_of_a_position_can_be_closed_however_small_it_is() -> None:
    market = Market(Rules(instrument=GRID))
    market.must(BUY, "0.25")
    market.must(SELL, "0.2")
    assert market.refusal(SELL, "0.05") == "min_quantity"
    assert market.must(SELL, "0.05", reduce_only=True).state is OrderState.FILLED


def test_a_market_order_needs_a_price() -> None:
    assert Market(price=None).refusal(BUY, "1") == "no_price"


def test_a_market_holds_so_many_resting_orders_and_still_takes_market_orders() -> None:
    market = Market()
    for _ in range(MOST_OPEN):
        market.must(BUY, "1", LIMIT, limit_price="99")
    assert market.refusal(BUY, "1", LIMIT, limit_price="99") == "too_many_orders"
    market.must(SELL, "1")
    market.cancel("7")
    market.must(BUY, "1", LIMIT, limit_price="99")


@pytest.mark.parametrize("price", ["0", "-1", "NaN", "1E+30"])
def test_a_price_out_of_range_is_no_price(price: str) -> None:
    market = Market()
    assert market.refusal(BUY, "1", price=price) == "out_of_range"
    with pytest.raises(ValueError, match="price"):
        market.tick(price)


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


# ----------------------------------------------------------------------------------------------------------------------
# Worth
# ----------------------------------------------------------------------------------------------------------------------


def test_a_day_begins_at_what_the_book_was_worth_before_its_first_event() -> None:
    market = Market()
    market.must(BUY, "2")
    market.tick("110")
    assert market.book.day_pnl(market.now_ms) == 20
    market.now_ms += DAY_MS
    assert market.book.day_pnl(market.now_ms) == 0
    market.tick("105")
    assert market.book.day_pnl(market.now_ms) == -10
    market.must(SELL, "2")
    assert (market.book.worth, market.book.day_pnl(market.now_ms)) == (10, -10)


def test_an_order_that_is_the_first_event_of_a_day_begins_it_at_the_price_before() -> None:
    market = Market()
    market.must(BUY, "2")
    market.now_ms += DAY_MS
    market.must(BUY, "1", price="110")
    assert market.book.day_pnl(market.now_ms) == 20


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.decimals(min_value=Decimal("0.01"), max_value=200, places=2),
            st.decimals(min_value=Decimal("0.01"), max_value=200, places=2),
        ),
        max_size=6,
    ),
    st.decimals(0, 300, places=1),
)
def test_what_rests_out_of_reach_changes_nothing_for_others(
    trades: list[tuple[Side, Decimal, Decimal]], bps: Decimal
) -> None:
    rules = Rules(slippage_bps=bps, fee_bps=bps)
    alone, beside = Market(rules), Market(rules)
    beside.must(BUY, "1", LIMIT, limit_price="0.001")
    for side, quantity, price in trades:
        one, other = (market.must(side, quantity, price=price) for market in (alone, beside))
        assert replace(one, order_id="", client_order_id=None) == replace(
            other, order_id="", client_order_id=None
        )
    assert replace(beside.book, orders=()) == alone.book


# ----------------------------------------------------------------------------------------------------------------------
# Properties
# ----------------------------------------------------------------------------------------------------------------------

numbers = st.decimals(min_value=Decimal("0.01"), max_value=200, places=2)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("tick"), numbers),
        st.tuples(st.just("wait"), st.integers(0, 1_000)),
        st.tuples(st.just("cancel"), st.integers(1, 9)),
        st.tuples(
            st.just("submit"),
            st.fixed_dictionaries(
                {
                    "side": st.sampled_from(Side),
                    "quantity": numbers,
                    "order_type": st.sampled_from(OrderType),
                    "reduce_only": st.booleans(),
                    "time_in_force": st.sampled_from([None, "day", "gtc", "ioc", "fok"]),
                    "exits": st.tuples(st.booleans(), st.booleans()),
                    "near": numbers,
                    "far": numbers,
                }
            ),
        ),
    ),
    max_size=25,
)
RULES = st.builds(
    Rules,
    slippage_bps=st.decimals(0, 300, places=1),
    fee_bps=st.decimals(0, 300, places=1),
    partial_fills=st.sampled_from([0.0, 0.5, 1.0]),
)


def run(actions: list[tuple[str, Any]], rules: Rules, seed: int) -> Iterator[tuple[Market, str]]:
    """Play the actions, and yield after each of them."""
    market = Market(rules, uniform=random.Random(seed).uniform)
    yield market, "begin"
    for name, what in actions:
        match name:
            case "tick":
                market.tick(what)
            case "wait":
                market.wait(what)
            case "cancel":
                market.cancel(str(what))
            case _:
                market.submit(what["side"], what["quantity"], what["order_type"], **levels(market, what))
        yield market, name


def levels(market: Market, what: dict[str, Any]) -> dict[str, Any]:
    """Return prices that fit the order's type."""
    kind = what["order_type"]
    plan = {"reduce_only": what["reduce_only"], "time_in_force": what["time_in_force"]}
    if kind in {LIMIT, STOP_LIMIT}:
        plan["limit_price"] = what["near"]
    if kind in {STOP, STOP_LIMIT}:
        plan["stop_price"] = what["far"]
    last = market.book.last_price
    assert last is not None
    entry = what["near"] if kind in {LIMIT, STOP_LIMIT} else what["far"] if kind is STOP else last
    above, below = entry * 2, entry / 2
    has_profit, has_loss = what["exits"]
    if not what["reduce_only"]:
        is_buy = what["side"] is BUY
        plan["take_profit"] = (above if is_buy else below) if has_profit else None
        plan["stop_loss"] = (below if is_buy else above) if has_loss else None
    return plan


@given(ACTIONS, RULES, st.integers(0, 99))
def test_money_and_quantities_are_conserved_whatever_happens(
    actions: list[tuple[str, Any]], rules: Rules, seed: int
) -> None:
    for market, _ in run(actions, rules, seed):
        book, done = market.book, market.executions
        signed = [one.quantity if one.side is BUY else -one.quantity for one in done]
        assert book.cash == book.realised - book.fees - book.cost
        assert book.quantity == sum(signed)
        assert book.fees == sum(one.fee for one in done)
        values = [quantity * one.price for quantity, one in zip(signed, done, strict=True)]
        assert book.cash == -sum(values) - book.fees
        for order in market.orders.values():
            own = [one for one in done if one.order_id == order.order_id]
            assert order.filled == sum(one.quantity for one in own)
            assert order.value == sum(one.quantity * one.price for one in own)
            assert order.parts == len(own)


@given(ACTIONS, RULES, st.integers(0, 99))
def test_every_order_is_either_in_the_book_or_ended_and_says_so(
    actions: list[tuple[str, Any]], rules: Rules, seed: int
) -> None:
    for market, _ in run(actions, rules, seed):
        in_book = {order.order_id: order for order in market.book.orders}
        assert len(in_book) == len(market.book.orders)
        for order in market.orders.values():
            assert (order.order_id in in_book) is (order.state in OPEN)
            assert in_book.get(order.order_id, order) == order
            assert 0 <= order.filled <= order.quantity
            assert (order.state is OrderState.FILLED) is (order.filled == order.quantity)
            assert (order.state is not OrderState.PARTIAL) or order.filled > 0


@given(ACTIONS, RULES, st.integers(0, 99))
def test_what_may_only_reduce_never_opens_or_turns_a_position(
    actions: list[tuple[str, Any]], rules: Rules, seed: int
) -> None:
    for market, _ in run(actions, rules, seed):
        held = Decimal(0)
        for one in market.executions:
            signed = one.quantity if one.side is BUY else -one.quantity
            if market.orders[one.order_id].reduce_only:
                assert held * signed < 0
                assert abs(signed) <= abs(held)
            held += signed


@given(ACTIONS, RULES, st.integers(0, 99))
def test_no_limit_order_trades_beyond_its_limit(
    actions: list[tuple[str, Any]], rules: Rules, seed: int
) -> None:
    for market, _ in run(actions, rules, seed):
        for one in market.executions:
            limit = market.orders[one.order_id].limit_price
            if limit is not None:
                assert one.price <= limit if one.side is BUY else one.price >= limit


@given(ACTIONS, RULES, st.integers(0, 99))
def test_the_same_seed_gives_the_same_books(actions: list[tuple[str, Any]], rules: Rules, seed: int) -> None:
    first, second = ([market for market, _ in run(actions, rules, seed)][-1] for _ in range(2))
    assert (first.book, first.executions, first.orders) == (second.book, second.executions, second.orders)


@given(st.integers(0, 99), numbers)
def test_an_order_in_parts_ends_after_ten_at_most(seed: int, quantity: Decimal) -> None:
    market = Market(Rules(partial_fills=1.0), uniform=random.Random(seed).uniform)
    order = market.must(BUY, quantity)
    for _ in range(9):
        market.wait(PART_PAUSE_MS)
    order = market.orders["1"]
    assert (order.state, order.filled) == (OrderState.FILLED, quantity)
    assert order.value == quantity * 100
