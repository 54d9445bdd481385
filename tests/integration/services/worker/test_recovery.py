"""Heads that Redis may have forgotten the orders of: nothing is sent twice, and what executed is taken for it."""

from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.ids import AlertId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, OrderType
from libs.common.policy.risk_rules import RiskBook, RiskRules
from libs.common.store.scripts import Script
from tests.integration.services.worker.plans import BTC, FLIP, moves_position, rests, second, sent
from tests.integration.services.worker.rig import DESK, LEASE_MS, Worker, WorkerRig
from tests.support.legal_moves import LegalMoves
from tests.support.rollback import Rollback
from tests.support.scripted_broker import ScriptedBroker, look_up_fails, refused, reports

LIMIT: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(90)}


class Died(BaseException):
    """A process does no more."""


async def incarnate(rig: WorkerRig, run_id: str, *, keeps_all: bool = False) -> None:
    args = [str(rig.clock.now_ms()), run_id, "1" if keeps_all else "0", "0", str(LEASE_MS), "", "0", "0"]
    await Script("incarnate").run(rig.client, rig.keys.fixed, args)


async def lose_all_since(rig: WorkerRig, rollback: Rollback) -> None:
    """Let Redis come back as it was when `rollback` was told to keep it."""
    rollback.fall_back()
    rig.moves = LegalMoves(rig.redis, rig.keys.prefix)
    await incarnate(rig, "b")


async def forget(rig: WorkerRig, worker: Worker, **asked: Any) -> AlertId:
    """Execute an alert, and let Redis forget all of it but that it was admitted."""
    await incarnate(rig, "a")
    alert = await rig.admit(**asked)
    rollback = Rollback(rig.redis)
    rollback.keep()
    await worker.run_lane()
    await lose_all_since(rig, rollback)
    return alert


async def test_an_order_that_redis_forgot_is_adopted_and_not_sent_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await forget(rig, worker)
    assert broker.executed == [rig.order_id(alert)]
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.order_state(alert) == ("FILLED", 1)
    assert [event for event, _ in rig.history(alert)] == ["QUEUED", "SUSPECTED", "EXECUTED"]


async def test_what_was_never_sent_is_sent_once_the_last_forgotten_request_is_over(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit()
    await incarnate(rig, "b")
    back_at_ms = rig.clock.now_ms()
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert broker.sent_at_ms[0] > back_at_ms + LEASE_MS
    assert len(broker.looked_up) >= 3
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_request_that_arrives_after_the_fail_over_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit()
    rollback = Rollback(rig.redis)
    rollback.keep()
    await worker.die_while_placing(arrives=False)
    await lose_all_since(rig, rollback)
    await rig.worker("b").run_lane()
    broker.execute(broker.requests[0])
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_what_was_admitted_after_the_fail_over_is_sent_at_once(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    await rig.admit("ETH")
    await incarnate(rig, "b")
    rig.clock.advance(1)
    alert = await rig.admit()
    await rig.run_to_rest()
    assert broker.executed[0] == rig.order_id(alert)
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_a_redis_that_keeps_every_write_makes_nobody_look_anything_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a", keeps_all=True)
    alert = await rig.admit()
    await incarnate(rig, "b", keeps_all=True)
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert)]
    assert broker.looked_up == []


async def test_what_executed_is_told_as_executed_though_its_alert_is_too_old_by_now(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await forget(rig, worker, max_age_ms=1_000)
    rig.clock.advance(5_000)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


async def test_what_was_never_sent_and_is_too_old_by_then_expires(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit(max_age_ms=1_000)
    await incarnate(rig, "b")
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert broker.executed == []


async def test_what_its_venue_had_refused_ends_as_refused_when_it_is_refused_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused())
    alert = await forget(rig, worker)
    broker.then(refused())
    await rig.run_to_rest()
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    assert broker.executed == []


async def test_a_resting_order_that_redis_forgot_is_followed_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(reports(OrderState.ACCEPTED))
    alert = await forget(rig, worker, **LIMIT)
    assert rig.redis.zrange(rig.keys.following, 0, -1) == []
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "accepted")
    assert rig.redis.zrange(rig.keys.following, 0, -1) == [rig.order_id(alert)]
    assert '"limit_price":"90"' in rig.order(alert)["plan"].replace(" ", "")
    rig.redis.delete(rig.keys.following, rig.keys.order(rig.order_id(alert)))


async def test_a_resting_order_of_which_nobody_knows_what_it_was_is_waited_for(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(2)
    broker.then(reports(OrderState.ACCEPTED))
    alert = await forget(rig, worker, action=Action.SELL, reduce_only=True, **LIMIT)
    await rig.worker("b").run_lane()
    await rig.until_due()
    await rig.worker("b").run_lane()
    assert rig.parked()
    broker.known[rig.order_id(alert)] = OrderReport(
        order_id="venue-1", state=OrderState.FILLED, filled_quantity=Decimal(1)
    )
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


async def test_a_close_that_redis_forgot_closes_nothing_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.positions[BTC] = Decimal(2)
    alert = await forget(rig, worker, action=Action.CLOSE_ALL, quantity=None)
    # Its venue still tells the old position, as one that lags does.
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_flip_that_redis_forgot_is_not_made_twice(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    moves_position(broker)
    broker.positions[BTC] = Decimal(-2)
    alert = await forget(rig, worker, **FLIP)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_flip_of_which_only_the_first_order_is_found_is_given_up_and_its_lane_goes_on(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    moves_position(broker)
    broker.positions[BTC] = Decimal(-2)
    await incarnate(rig, "a")
    alert, next_one = await rig.admit(**FLIP), await rig.admit()
    rollback = Rollback(rig.redis)
    rollback.keep()

    async def dies(_: ScriptedBroker, __: OrderRequest) -> OrderReport:
        raise Died

    broker.then(reports(OrderState.FILLED), dies)
    with pytest.raises(Died):
        await worker.run_lane()
    await lose_all_since(rig, rollback)
    await rig.run_to_rest(rig.worker("b"))
    assert rig.ended(alert) == ("DEAD", "outcome_unknown")
    assert broker.executed == [rig.order_id(alert), rig.order_id(next_one)]
    [letter] = rig.letters()
    assert rig.order_id(alert) in letter["detail"]


@pytest.mark.parametrize("has_left", [True, False])
async def test_a_flip_whose_plan_is_known_goes_on_with_its_second_order(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, has_left: bool
):
    moves_position(broker)
    broker.positions[BTC] = Decimal(-2)
    await incarnate(rig, "a")
    alert = await rig.admit(**FLIP)
    rollback = Rollback(rig.redis)

    async def keeps(broker: ScriptedBroker, request: OrderRequest) -> OrderReport:
        rollback.keep()
        return broker.execute(request)

    async def second_one(broker: ScriptedBroker, request: OrderRequest) -> OrderReport:
        if has_left:
            broker.execute(request)
        raise Died

    broker.then(keeps, second_one)
    with pytest.raises(Died):
        await worker.run_lane()
    await lose_all_since(rig, rollback)
    await rig.reclaim()
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert), second(alert)]
    assert sent(broker)[-1][1] == Decimal(3)
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_an_order_that_was_planned_for_its_look_up_alone_is_judged_before_it_is_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(risk=RiskBook(RiskRules(max_order_quantity=Decimal(2))))
    await incarnate(rig, "a")
    alert = await rig.admit(quantity="5")
    await incarnate(rig, "b")
    await rig.run_to_rest()
    assert rig.ended(alert) == ("REJECTED", "risk")
    assert broker.requests == []


async def test_a_venue_that_does_not_answer_is_asked_again_and_nothing_is_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await forget(rig, worker)
    broker.always_find(look_up_fails)
    for _ in range(5):
        await worker.run_lane()
        await rig.until_due()
    assert broker.executed == [rig.order_id(alert)]
    broker.always_find(None)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_forgotten_cancel_is_made_again(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.resting = [rests("r1")]
    alert = await forget(rig, worker, action=Action.CANCEL, quantity=None)
    broker.resting = [rests("r1")]
    await rig.run_to_rest()
    assert broker.cancelled == [(BTC, ("r1",))] * 2
    assert rig.ended(alert) == ("EXECUTED", "canceled")


async def test_a_suspect_head_of_an_account_nobody_has_is_kept_for_an_operator(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit(max_age_ms=1_000)
    await incarnate(rig, "b")
    account = rig.accounts.pop(DESK)
    rig.clock.advance(5_000)
    await worker.run_lane()
    assert rig.order_state(alert) == ("SENDING", 1)
    assert rig.parked()
    rig.accounts[DESK] = account
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")


async def test_a_suspect_head_that_lost_ten_holders_is_looked_up_before_it_is_given_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await forget(rig, worker)
    rig.lose_holders(alert, 10)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_suspect_head_that_nobody_can_read_ends_as_a_dead_letter(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit(body=b"junk")
    await incarnate(rig, "b")
    await rig.run_to_rest()
    assert rig.ended(alert) == ("DEAD", "malformed")
