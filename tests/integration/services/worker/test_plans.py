"""Instructions of several steps: what is closed before something is opened."""

from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, Side
from libs.common.domain.venue import Balance
from libs.common.policy.risk_rules import RiskBook, RiskRules
from tests.integration.services.worker.plans import BTC, FLIP, moves_position, second, sent
from tests.integration.services.worker.rig import DESK, Worker, WorkerRig, lose_answers
from tests.support.scripted_broker import ScriptedBroker, Step, answer_lost, fills, refused, reports


async def test_a_flip_closes_and_then_opens(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.positions[BTC] = Decimal(-2)
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert sent(broker) == [(Side.BUY, Decimal(2), True), (Side.BUY, Decimal(3), False)]
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.is_at_rest()


async def test_a_target_on_the_other_side_of_zero_is_reached_by_two_orders(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(5)
    alert = await rig.admit(action=Action.TARGET, quantity="1", position=MarketPosition.SHORT)
    await worker.run_lane()
    assert sent(broker) == [(Side.SELL, Decimal(5), True), (Side.SELL, Decimal(1), False)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


@pytest.mark.parametrize("losses", range(4))
async def test_a_lost_answer_of_redis_sends_no_order_of_a_flip_twice(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, losses: int
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    batches: list[Any] = [worker.orders.begin, worker.orders.resolve, worker.orders.settle, worker.lanes.open]
    lose_answers(batches[losses], 2)
    alert = await rig.admit(**FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert broker.positions[BTC] == 3


@pytest.mark.parametrize("arrives", [True, False])
@pytest.mark.parametrize("leg", [0, 1])
async def test_a_worker_that_dies_while_it_sends_leaves_a_flip_that_another_one_completes(
    rig: WorkerRig, broker: ScriptedBroker, leg: int, arrives: bool
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    alert = await rig.admit(max_age_ms=600_000, **FLIP)
    broker.then(*[fills] * leg)
    await rig.worker("dies").die_while_placing(arrives=arrives)
    await rig.reclaim()
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert broker.positions[BTC] == 3
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_nothing_is_opened_while_the_close_is_not_filled(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.PARTIAL, filled=Decimal(1)))
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.history(alert)[-1] == ("PARKED", "awaiting_fill")
    broker.known[rig.order_id(alert)] = OrderReport(
        order_id="1", state=OrderState.FILLED, filled_quantity=Decimal(2)
    )
    await rig.run_to_rest()
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_close_that_is_not_filled_in_time_ends_the_flip_and_is_followed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.ACCEPTED))
    alert = await rig.admit(max_age_ms=5_000, **FLIP)
    await rig.run_to_rest()
    assert len(broker.requests) == 1
    assert rig.ended(alert) == ("EXPIRED", "not_confirmed")
    assert rig.redis.zscore(rig.keys.following, rig.order_id(alert))
    assert rig.redis.pttl(rig.keys.order(rig.order_id(alert))) == -1


@pytest.mark.parametrize(
    "step",
    [
        reports(OrderState.CANCELED),
        reports(OrderState.EXPIRED, filled=Decimal(1)),
        reports(OrderState.REJECTED, filled=Decimal(1)),
        refused(),
    ],
)
async def test_a_close_that_ends_without_being_filled_opens_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, step: Step
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(step)
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.ended(alert) == ("REJECTED", "not_confirmed")


@pytest.mark.parametrize(
    ("says", "order", "fills"),
    [
        (OrderReport(order_id="1", state=OrderState.ACCEPTED), "PARTIAL", ["1"]),
        (OrderReport(order_id="1", state=OrderState.REJECTED), "CANCELED", ["1"]),
        (OrderReport(order_id="1", state=OrderState.CANCELED, filled_quantity=Decimal("1.5")), "CANCELED", ["1", "0.5"]),
        (OrderReport(order_id="1", state=OrderState.FILLED), "FILLED", ["1", "1"]),
    ],
)  # fmt: skip
async def test_what_a_close_has_filled_once_stays_filled_whatever_the_venue_says_later(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, says: OrderReport, order: str, fills: list[str]
):
    rig.accounts[DESK] = rig.account(is_reconciled=True)
    broker.positions[BTC] = Decimal(-2)
    broker.then(reports(OrderState.PARTIAL, filled=Decimal(1)))
    alert = await rig.admit(**FLIP)
    await worker.run_lane()
    broker.always_find(lambda venue, order_id: says)
    await rig.until_due()
    await worker.run_lane()
    broker.always_find(None)
    assert rig.order_state(alert) == (order, 1)
    noted = [fields for _, fields in rig.redis.xrange(rig.keys.fills(DESK))]
    assert [one["quantity"] for one in noted if one["order"] == rig.order_id(alert)] == fills


async def test_a_close_whose_answer_was_lost_is_found_before_anything_is_opened(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    broker.then(answer_lost())
    alert = await rig.admit(**FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]


async def test_the_opening_order_of_an_old_flip_is_not_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)

    async def fills_slowly(venue: ScriptedBroker, request: OrderRequest) -> OrderReport:
        report = venue.execute(request)
        rig.clock.advance(4_000)
        return report

    broker.then(fills_slowly)
    alert = await rig.admit(max_age_ms=3_000, **FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXPIRED", "too_old")


@pytest.mark.parametrize(
    ("held", "action", "end"),
    [
        (0, Action.CLOSE_LONG, "nothing_to_close"),
        (-1, Action.CLOSE_LONG, "nothing_to_close"),
        (1, Action.CLOSE_SHORT, "nothing_to_close"),
        (0, Action.CLOSE_ALL, "nothing_to_close"),
    ],
)
async def test_with_nothing_to_close_an_instruction_is_skipped(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, held: int, action: Action, end: str
):
    broker.positions[BTC] = Decimal(held)
    alert = await rig.admit(action=action, quantity=None)
    await worker.run_lane()
    assert broker.requests == []
    assert rig.ended(alert) == ("SKIPPED", end)
    assert rig.letters() == []


async def test_a_close_never_turns_a_position_around(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.positions[BTC] = Decimal("0.3")
    await rig.admit(action=Action.CLOSE_LONG, quantity="5")
    await worker.run_lane()
    assert sent(broker) == [(Side.SELL, Decimal("0.3"), True)]


async def test_the_opening_order_of_a_flip_is_judged_again_where_another_worker_goes_on(
    rig: WorkerRig, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(-2)
    moves_position(broker)
    broker.balance = Balance(equity=Decimal(1_000), day_pnl=Decimal(0))
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_daily_loss=Decimal(100))))
    alert = await rig.admit(max_age_ms=600_000, **FLIP)
    await rig.worker("dies").die_while_placing(arrives=True)
    await rig.reclaim()
    broker.balance = Balance(equity=Decimal(500), day_pnl=Decimal(-500))
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("REJECTED", "risk")
