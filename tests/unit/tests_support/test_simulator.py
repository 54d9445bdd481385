"""The exchange in memory: ids, faults, look-ups."""

import random
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.faults import Fault, Faults
from libs.common.policy.order_checks import Rules
from services.worker.brokers.port import Deduplication
from tests.support.simulator import Accepted, Duplicate, Faulted, PlaceAnswer, Refused, Simulator

BTC, ETH = Market("BTC/USDT"), Market("ETH/USDT")
A, B = ClientOrderId("a"), ClientOrderId("b")
NOW = 1_780_000_000_000
BUY = OrderPlan(side=Side.BUY, quantity=Decimal(1))
RESTING = OrderPlan(side=Side.BUY, quantity=Decimal(1), type=OrderType.LIMIT, limit_price=Decimal(90))


def simulator(**settings: Any) -> Simulator:
    made = Simulator(uniform=random.Random(1).uniform, **settings)
    for market in (BTC, ETH):
        made.set_price(market, Decimal(100), at_ms=NOW)
    return made


def place(
    venue: Simulator, order_id: ClientOrderId = A, plan: OrderPlan = BUY, *, at_ms: int = NOW, **more: Any
) -> PlaceAnswer:
    return venue.place(BTC, order_id, plan, at_ms=at_ms, **more)


def executed(venue: Simulator) -> list[ClientOrderId | None]:
    return [execution.client_order_id for _, execution in venue.executions]


def test_an_accepted_order_is_executed_and_found_by_both_ids() -> None:
    venue = simulator()
    answer = place(venue)
    assert isinstance(answer, Accepted)
    assert answer.order.state is OrderState.FILLED
    assert venue.find(A, at_ms=NOW) == venue.find_by_id(answer.order.order_id, at_ms=NOW) == answer.order
    assert venue.market_of(answer.order.order_id) == BTC
    assert venue.book(BTC, at_ms=NOW).quantity == 1
    assert venue.find(B, at_ms=NOW) is None


@pytest.mark.parametrize(
    ("mode", "plan", "count"),
    [
        (Deduplication.NONE, BUY, 2),
        (Deduplication.NONE, RESTING, 2),
        (Deduplication.OPEN, BUY, 2),
        (Deduplication.OPEN, RESTING, 1),
        (Deduplication.LIFETIME, BUY, 1),
        (Deduplication.LIFETIME, RESTING, 1),
    ],
)
def test_an_id_is_taken_again_as_the_deduplication_says(
    mode: Deduplication, plan: OrderPlan, count: int
) -> None:
    venue = simulator(deduplication=mode)
    first, second = place(venue, plan=plan), place(venue, plan=plan)
    assert isinstance(first, Accepted)
    if count == 1:
        assert second == Duplicate(first.order)
    else:
        assert isinstance(second, Accepted)
        assert second.order.order_id != first.order.order_id
        assert venue.find(A, at_ms=NOW) == second.order
    orders = len(executed(venue)) + len(venue.open_orders(at_ms=NOW))
    assert orders == count


def test_a_duplicate_is_answered_with_the_first_as_it_stands_now() -> None:
    venue = simulator()
    place(venue, plan=RESTING)
    venue.set_price(BTC, Decimal(90), at_ms=NOW)
    again = place(venue, plan=RESTING)
    assert isinstance(again, Duplicate)
    assert again.order.state is OrderState.FILLED


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_BEFORE, Fault.SERVER_ERROR, Fault.MAINTENANCE])
def test_before_accepting_a_fault_leaves_nothing(fault: Fault) -> None:
    venue = simulator()
    venue.fail_next(fault)
    assert place(venue) == Faulted(fault)
    assert venue.find(A, at_ms=NOW) is None
    assert isinstance(place(venue), Accepted)


@pytest.mark.parametrize("fault", [Fault.TIMEOUT_AFTER, Fault.SERVER_ERROR_AFTER])
def test_after_accepting_a_fault_hides_the_answer_only(fault: Fault) -> None:
    venue = simulator()
    venue.fail_next(fault)
    assert place(venue) == Faulted(fault)
    assert executed(venue) == [A]
    assert isinstance(place(venue), Duplicate)


def test_a_late_order_is_accepted_once_its_time_has_come() -> None:
    venue = simulator(faults=Faults(late_by_ms=500))
    venue.fail_next(Fault.LATE_ACCEPT)
    assert place(venue, expires_at_ms=NOW + 501) == Faulted(Fault.LATE_ACCEPT)
    assert venue.find(A, at_ms=NOW + 499) is None
    assert venue.find(A, at_ms=NOW + 500) is not None
    assert executed(venue) == [A]


def test_a_late_order_that_has_expired_is_never_accepted() -> None:
    venue = simulator(faults=Faults(late_by_ms=500))
    venue.fail_next(Fault.LATE_ACCEPT)
    place(venue, expires_at_ms=NOW + 500)
    assert venue.find(A, at_ms=NOW + 10_000) is None
    assert not venue.executions


def test_a_throttled_order_is_told_when_to_come_back() -> None:
    venue = simulator(faults=Faults(throttled=1.0, retry_after_ms=700))
    assert place(venue) == Faulted(Fault.THROTTLED, 700)
    assert venue.look_up_fault() == Faulted(Fault.THROTTLED, 700)
    assert not venue.executions


def test_faults_that_are_asked_for_come_in_turn_and_before_those_that_are_drawn() -> None:
    venue = simulator(faults=Faults(throttled=1.0))
    venue.fail_next(Fault.REFUSED, 2)
    assert [type(place(venue)) for _ in range(3)] == [Refused, Refused, Faulted]


def test_a_request_is_refused_from_its_expiry_on() -> None:
    venue = simulator()
    refused = place(venue, expires_at_ms=NOW)
    assert isinstance(refused, Refused)
    assert refused.code == "expired"
    assert isinstance(place(venue, expires_at_ms=NOW + 1), Accepted)


def test_what_the_rules_refuse_leaves_its_id_free() -> None:
    venue = simulator(market_rules={ETH: Rules(is_open=lambda at_ms: False)})
    refused = venue.place(ETH, A, BUY, at_ms=NOW)
    assert isinstance(refused, Refused)
    assert refused.code == "market_closed"
    assert isinstance(place(venue), Accepted)


def test_a_look_up_lags() -> None:
    venue = simulator(faults=Faults(look_up_lag_ms=300))
    answer = place(venue, plan=RESTING)
    assert isinstance(answer, Accepted)
    for at_ms, is_known in ((NOW + 299, False), (NOW + 300, True)):
        assert (venue.find(A, at_ms=at_ms) is not None) is is_known
        assert (venue.find_by_id(answer.order.order_id, at_ms=at_ms) is not None) is is_known
        assert bool(venue.open_orders(BTC, at_ms=at_ms)) is is_known
    # Its later fill is told at once.
    venue.set_price(BTC, Decimal(90), at_ms=NOW + 301)
    found = venue.find(A, at_ms=NOW + 301)
    assert found is not None
    assert found.state is OrderState.FILLED


def test_open_orders_are_listed_by_market_and_cancelled_by_id() -> None:
    venue = simulator()
    here, there = place(venue, A, RESTING), venue.place(ETH, B, RESTING, at_ms=NOW)
    assert isinstance(here, Accepted)
    assert isinstance(there, Accepted)
    assert venue.open_orders(BTC, at_ms=NOW) == ((BTC, here.order),)
    assert len(venue.open_orders(at_ms=NOW)) == 2
    (cancelled,) = venue.cancel(BTC, [here.order.order_id, there.order.order_id], at_ms=NOW)
    assert cancelled == venue.find(A, at_ms=NOW)
    assert cancelled.state is OrderState.CANCELED
    assert venue.open_orders(at_ms=NOW) == ((ETH, there.order),)


def test_the_balance_counts_what_is_open_at_the_last_price() -> None:
    venue = simulator(cash=Decimal(1_000))
    place(venue)
    venue.set_price(BTC, Decimal(130), at_ms=NOW)
    balance = venue.balance(at_ms=NOW)
    assert (balance.equity, balance.day_pnl) == (1_030, 30)
    assert venue.price(BTC) == 130
    assert venue.price(Market("X")) is None


def test_time_alone_lets_the_parts_of_an_order_follow() -> None:
    venue = simulator(rules=Rules(partial_fills=1.0))
    place(venue)
    for at_ms in range(NOW, NOW + 10_000, 250):
        venue.find(A, at_ms=at_ms)
    found = venue.find(A, at_ms=NOW + 10_000)
    assert found is not None
    assert (found.state, found.filled) == (OrderState.FILLED, 1)
    assert len(venue.executions) > 1


def test_the_same_seed_plays_the_same_game() -> None:
    def game() -> list[Any]:
        venue = simulator(faults=Faults(timeout_before=0.3, timeout_after=0.3, refused=0.1))
        answers = [place(venue, ClientOrderId(f"o{number}")) for number in range(50)]
        return [answers, venue.executions, venue.latency_ms()]

    assert game() == game()
