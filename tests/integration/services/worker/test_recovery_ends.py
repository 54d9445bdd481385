"""Suspect heads come to an end, or to an operator: none of them is executed, parked and looked at for ever."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.domain.alert import Action, QuantityUnit
from libs.common.domain.errors import BrokerThrottled, BrokerUnavailable, LookUpUnavailable
from libs.common.domain.ids import AlertId, ClientOrderId, Market
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance
from libs.common.policy.risk_rules import RiskBook, RiskRules
from libs.common.store.decisions import Decided, Decision, Decisions, Verdict
from libs.common.store.records import Records
from tests.integration.services.worker.plans import BTC, FLIP, moves_position, rests, second
from tests.integration.services.worker.rig import DESK, POISON_LIMIT, Worker, WorkerRig
from tests.integration.services.worker.test_recovery import LIMIT, forget, incarnate, lose_all_since
from tests.support.rollback import Rollback
from tests.support.scripted_broker import HOLDS_NOTHING, ScriptedBroker, look_up_fails, reports

PERCENT: dict[str, Any] = {"quantity": "10", "unit": QuantityUnit.PERCENT_OF_EQUITY}


async def decide(rig: WorkerRig, order_id: ClientOrderId, verdict: Verdict, **options: Any) -> None:
    """Say as an operator what became of an order; its lane goes on."""
    [order] = await Records(rig.client, rig.keys).orders([order_id])
    decisions = Decisions(rig.client, rig.keys, now_ms=rig.clock.now_ms())
    assert await decisions.decide(Decision(order, verdict, "me@host", "seen", **options)) == Decided()
    await rig.promote()


async def step(rig: WorkerRig, times: int) -> None:
    """Run whatever is ready, and pass the time to what is parked."""
    for _ in range(times):
        await (rig.worker("b").run_lane() if rig.redis.xlen(rig.keys.ready) else rig.until_due())


async def flip_with_its_first_order_resting(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
) -> AlertId:
    moves_position(broker)
    broker.positions[BTC] = Decimal(-2)
    await incarnate(rig, "a")
    broker.then(reports(OrderState.ACCEPTED))
    alert = await rig.admit(**FLIP, max_age_ms=20_000)
    await worker.run_lane()
    assert rig.order_state(alert) == ("ACCEPTED", 1)
    return alert


@pytest.mark.parametrize(
    ("becomes", "ended"),
    [
        (OrderState.CANCELED, ("REJECTED", "not_confirmed")),
        (OrderState.ACCEPTED, ("EXPIRED", "not_confirmed")),
    ],
)
async def test_a_flip_whose_first_order_rests_ends_when_that_one_does_or_with_its_time(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, becomes: OrderState, ended: tuple[str, str]
):
    alert = await flip_with_its_first_order_resting(rig, worker, broker)
    await incarnate(rig, "b")
    broker.known[rig.order_id(alert)] = OrderReport(order_id="venue-1", state=becomes)
    await rig.run_to_rest(rig.worker("b"))
    assert rig.ended(alert) == ended
    assert broker.executed == [rig.order_id(alert)]
    assert worker.count("bascule_lane_failures_total") == 0
    rig.redis.delete(rig.keys.following, rig.keys.order(rig.order_id(alert)))


@pytest.mark.parametrize("refuses_by_then", [False, True])
async def test_the_second_order_of_a_flip_whose_first_rested_is_looked_up_before_anything_is_judged(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, refuses_by_then: bool
):
    alert = await flip_with_its_first_order_resting(rig, worker, broker)
    rollback = Rollback(rig.redis)
    rollback.keep()
    broker.known[rig.order_id(alert)] = OrderReport(
        order_id="venue-1", state=OrderState.FILLED, filled_quantity=Decimal(2)
    )
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]
    await lose_all_since(rig, rollback)
    if refuses_by_then:
        rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_order_quantity=Decimal(1))))
    await rig.promote()
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_flip_whose_first_rested_does_not_end_by_its_age_while_its_venue_says_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await flip_with_its_first_order_resting(rig, worker, broker)
    await incarnate(rig, "b")
    broker.always_find(look_up_fails)
    await step(rig, 60)
    assert rig.instruction(alert)["state"] == "ACTIVE"
    broker.always_find(None)
    await rig.run_to_rest(rig.worker("b"))
    assert rig.ended(alert) == ("EXPIRED", "not_confirmed")
    rig.redis.delete(rig.keys.following, rig.keys.order(rig.order_id(alert)))


@pytest.mark.parametrize("is_planned", [True, False])
async def test_a_suspect_cancel_has_no_order_to_look_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch, is_planned: bool
):
    broker.capabilities = HOLDS_NOTHING
    broker.resting = [rests("r1")]
    await incarnate(rig, "a")
    alert = await rig.admit(action=Action.CANCEL, quantity=None)
    if is_planned:

        async def fails(*_: Any) -> Sequence[str]:
            raise BrokerUnavailable("connection refused")

        with monkeypatch.context() as patched:
            patched.setattr(broker, "cancel_open", fails)
            await worker.run_lane()
        assert rig.instruction(alert)["plan"]
    back_at_ms = rig.clock.now_ms()
    await incarnate(rig, "b")
    await rig.run_to_rest(rig.worker("b"))
    assert broker.cancelled == [(BTC, ("r1",))]
    assert broker.looked_up == []
    assert rig.ended(alert) == ("EXECUTED", "canceled")
    assert rig.clock.now_ms() - back_at_ms < 5_000


async def test_a_resting_order_without_a_plan_that_its_venue_forgot_can_be_decided(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.balance = Balance(equity=Decimal(1000), currency="USD")
    broker.then(reports(OrderState.ACCEPTED))
    alert = await forget(rig, worker, **PERCENT, **LIMIT, max_age_ms=600_000)
    await step(rig, 3)
    broker.known.clear()
    await step(rig, 20)
    assert rig.order_state(alert) == ("ACCEPTED", 1)
    assert rig.worker("b").count("bascule_orders_held_total", account="desk") > 0
    await decide(rig, rig.order_id(alert), Verdict.NOT_EXECUTED)
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("CANCELED", 1)
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")


async def test_a_part_that_was_filled_of_an_order_without_a_plan_stays_filled(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.balance = Balance(equity=Decimal(1000), currency="USD")
    broker.then(reports(OrderState.PARTIAL, filled=Decimal("0.4")))
    alert = await forget(rig, worker, **PERCENT, **LIMIT)
    await step(rig, 3)
    assert rig.order_state(alert) == ("PARTIAL", 1)
    told = OrderReport(order_id="venue-1", state=OrderState.ACCEPTED, filled_quantity=Decimal("0.4"))
    broker.known[rig.order_id(alert)] = told
    await step(rig, 4)
    assert rig.order_state(alert) == ("PARTIAL", 1)
    broker.known[rig.order_id(alert)] = msgspec.structs.replace(told, state=OrderState.REJECTED)
    await rig.run_to_rest(rig.worker("b"))
    assert rig.order_state(alert) == ("CANCELED", 1)
    assert rig.ended(alert) == ("EXECUTED", "partly_filled")
    assert rig.worker("b").count("bascule_lane_failures_total") == 0


async def test_a_market_that_its_venue_never_tells_does_not_keep_an_order_from_being_looked_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
):
    async def never(_: Market) -> None:
        raise LookUpUnavailable("404 unknown market")

    alert = await forget(rig, worker, **LIMIT, max_age_ms=5_000)
    monkeypatch.setattr(broker, "instrument", never)
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_what_never_comes_to_two_orders_has_no_second_one_to_look_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = HOLDS_NOTHING
    broker.balance = Balance(equity=Decimal(1000), currency="USD")
    broker.prices[BTC] = Decimal(100)
    alert = await forget(rig, worker, **PERCENT)
    await rig.run_to_rest(rig.worker("b"))
    assert set(broker.looked_up) == {rig.order_id(alert)}
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_at_a_venue_without_promises_what_was_only_queued_is_held_for_an_operator(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = HOLDS_NOTHING
    await incarnate(rig, "a")
    alert = await rig.admit(max_age_ms=600_000)
    await incarnate(rig, "b")
    await step(rig, 10)
    assert rig.order_state(alert) == ("SENDING", 1)
    assert broker.executed == []
    await decide(rig, rig.order_id(alert), Verdict.NOT_EXECUTED)
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]


async def test_a_suspect_head_that_only_a_newer_worker_can_read_comes_to_an_operator_with_its_time(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit(max_age_ms=10_000)
    lane = rig.keys.lane("desk:BTC")
    [(entry, fields)] = rig.redis.xrange(lane)
    rig.redis.xdel(lane, entry)
    rig.redis.xadd(lane, {**fields, "version": SCHEMA_VERSION + 1})
    await incarnate(rig, "b")
    await step(rig, 3)
    assert not rig.order(alert)
    await step(rig, 30)
    assert rig.order_state(alert) == ("SENDING", 1)
    assert rig.order(alert)["market"] == "BTC"
    assert rig.instruction(alert)["waits_for"] == "resolving"
    await decide(rig, rig.order_id(alert), Verdict.NOT_EXECUTED)
    await rig.run_to_rest(rig.worker("b"))
    assert rig.ended(alert) == ("EXPIRED", "newer_version")


@pytest.mark.parametrize(
    ("asked", "waits_for_operator"), [({}, False), (FLIP, True)], ids=["one order", "maybe two"]
)
async def test_a_suspect_head_whose_plan_nobody_can_read_is_given_up_once_no_order_of_it_is_in_doubt(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, asked: dict[str, Any], waits_for_operator: bool
):
    broker.positions[BTC] = Decimal(-2)
    await incarnate(rig, "a")
    alert = await rig.admit(**asked)
    rollback = Rollback(rig.redis)

    async def keeps(broker: ScriptedBroker, request: OrderRequest) -> OrderReport:
        rollback.keep()
        return broker.execute(request)

    broker.then(keeps)
    await worker.run_lane()
    await lose_all_since(rig, rollback)
    rig.redis.hset(rig.keys.instruction(alert, DESK), "plan", "junk")
    report = '{"order_id":"1","state":"FILLED","filled_quantity":"1"}'
    rig.redis.hset(rig.keys.order(rig.order_id(alert)), mapping={"state": "FILLED", "answer": report})
    await rig.reclaim()
    if waits_for_operator:
        await step(rig, 2 * POISON_LIMIT + 10)
        assert rig.instruction(alert)["state"] == "ACTIVE"
        await decide(rig, second(alert), Verdict.FILLED, quantity=Decimal(3))
    await rig.run_to_rest(rig.worker("b"))
    assert rig.ended(alert) == ("DEAD", "poison")


async def test_a_plan_that_was_made_anew_in_what_was_lost_is_not_gone_by(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    moves_position(broker)
    broker.positions[BTC] = Decimal(-2)
    await incarnate(rig, "a")
    broker.then(is_throttled)
    alert = await rig.admit(**FLIP, max_age_ms=60_000)
    await worker.run_lane()
    rollback = Rollback(rig.redis)
    rollback.keep()
    # A stop at the venue closed it meanwhile: what then opens goes by the id of what was to close.
    broker.positions[BTC] = Decimal(0)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]

    await lose_all_since(rig, rollback)
    await rig.promote()
    await rig.run_to_rest(rig.worker("b"))

    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("DEAD", "outcome_unknown")


async def is_throttled(broker: ScriptedBroker, request: OrderRequest) -> OrderReport:
    raise BrokerThrottled("slow down", retry_after_ms=1_000)
