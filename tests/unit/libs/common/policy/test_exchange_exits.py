"""Take-profits and stop-losses at the simulated exchange."""

from decimal import Decimal, localcontext
from typing import Any

import pytest

from libs.common.domain.lifecycle import OrderState
from libs.common.policy.order_checks import Rules
from tests.unit.libs.common.policy.exchange_market import BUY, LIMIT, SELL, STOP, Market, halves

pytestmark = pytest.mark.usefixtures("exact_sums")


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
