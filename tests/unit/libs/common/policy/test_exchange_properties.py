"""What holds at the simulated exchange whatever happens, and what a book is worth."""

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderType, Side
from libs.common.policy.book import DAY_MS
from libs.common.policy.exchange import PART_PAUSE_MS
from libs.common.policy.order_checks import Rules
from tests.unit.libs.common.policy.exchange_market import BUY, LIMIT, OPEN, SELL, STOP, STOP_LIMIT, Market

pytestmark = pytest.mark.usefixtures("exact_sums")


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
