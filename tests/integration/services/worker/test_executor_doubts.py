"""What becomes of an order whose outcome is unknown, and who goes on with it."""

from decimal import Decimal

import pytest

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.wire import codec
from tests.integration.services.worker.rig import DESK, MARGIN_MS, WINDOW_MS, Worker, WorkerRig
from tests.support.scripted_broker import (
    ScriptedBroker,
    answer_lost,
    knows_nothing,
    look_up_fails,
    lost,
    refused,
    unavailable,
)

# Unknown outcomes.


async def test_an_order_of_unknown_outcome_that_the_venue_has_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    alert = await rig.admit()
    await worker.run_lane()
    assert broker.executed == broker.looked_up == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.order_state(alert) == ("FILLED", 1)
    assert [event for event, _ in rig.history(alert)] == ["QUEUED", "SENDING", "UNKNOWN", "EXECUTED"]


async def test_an_order_that_the_venue_does_not_know_is_sent_again_only_after_its_expiry_and_three_misses(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    sent_at_ms = rig.clock.now_ms()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    # Not before the last moment at which a slow clock may still let it trade, nor at that moment.
    assert rig.parked() == {"desk:BTC": WINDOW_MS + MARGIN_MS + 1}
    await rig.until_due()
    assert (len(broker.looked_up), len(broker.requests)) == (1, 1)
    await worker.run_lane()
    assert len(broker.looked_up) == 1 + 3
    assert rig.slept_ms == [50, 100]
    assert rig.clock.now_ms() > sent_at_ms + WINDOW_MS + MARGIN_MS
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert)] * 2
    assert rig.order_state(alert) == ("FILLED", 2)
    assert ("PARKED", "resolving") in rig.history(alert)


async def test_an_order_that_arrives_after_all_but_within_its_expiry_is_adopted_and_not_sent_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    rig.clock.advance(WINDOW_MS)
    broker.execute(broker.requests[0])
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_an_order_that_shows_up_at_the_third_look_up_after_its_expiry_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    broker.then_find(knows_nothing, knows_nothing, knows_nothing)
    alert = await rig.admit()
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1)
    assert len(broker.looked_up) == 4


async def test_misses_before_the_expiry_do_not_count(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    for _ in range(5):
        # Promoted early by hand: a look-up now proves nothing.
        rig.redis.zadd(rig.keys.parked, {"desk:BTC": rig.clock.now_ms()})
        await rig.promote()
        await worker.run_lane()
    assert rig.order(alert)["misses"] == "0"
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert len(broker.requests) == 1


async def test_an_order_that_never_arrived_ends_expired_once_the_alert_is_old(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit(max_age_ms=WINDOW_MS)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    assert len(broker.requests) == 1
    assert len(broker.looked_up) == 1 + 3


async def test_what_waits_behind_an_unknown_order_is_not_sent_before_it_is_known(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    first, second = [await rig.admit() for _ in range(2)]
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]


# Refusals after a doubt.


async def test_a_refusal_of_the_second_attempt_is_looked_up_before_it_is_believed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # The first attempt traded, and the venue was slow to know of it: it refuses the second as a duplicate.
    broker.then(answer_lost(), refused("duplicate"))
    broker.then_find(*[knows_nothing] * 4)
    alert = await rig.admit()
    await rig.run_to_rest()
    assert len(broker.requests) == 2
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_a_refusal_of_the_second_attempt_that_the_venue_confirms_is_believed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable(), refused())
    alert = await rig.admit()
    await worker.run_lane()
    assert broker.looked_up == [rig.order_id(alert)]
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    assert rig.order_state(alert) == ("REJECTED", 2)


async def test_a_refusal_of_the_second_attempt_that_cannot_be_looked_up_counts_as_unknown(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost(), refused("duplicate"))
    broker.then_find(*[knows_nothing] * 4, *[look_up_fails] * 4)
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 2)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


# Taking over.


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_new_holder_looks_an_order_up_that_it_finds_sending(
    rig: WorkerRig, broker: ScriptedBroker, arrives: bool
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=arrives)
    assert rig.order_state(alert) == ("SENDING", 1)
    await rig.reclaim()
    b = rig.worker("b")
    await b.run_lane()
    assert len(broker.requests) == 1
    assert broker.looked_up == [rig.order_id(alert)]
    await rig.run_to_rest(b)
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 1 if arrives else 2)
    assert rig.instruction(alert)["lost_holders"] == "1"


async def test_a_new_holder_goes_on_with_the_next_attempt_after_one_that_was_not_executed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    rig.jitter = 1.0
    broker.then(*[unavailable()] * 3)
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    lease = await worker.take()
    await worker.lanes.open.submit(lease.held)  # and dies
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert broker.looked_up == []
    assert rig.order_state(alert) == ("FILLED", 4)


async def test_an_order_that_is_recorded_as_filled_is_settled_without_sending(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit()
    await worker.die_while_placing(arrives=True)
    report = OrderReport(order_id="venue-1", state=OrderState.FILLED, filled_quantity=Decimal(1))
    rig.redis.hset(
        rig.keys.order(rig.order_id(alert)),
        mapping={"state": "FILLED", "answer": codec.ORDER_REPORT.encode(report)},
    )
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert (len(broker.requests), broker.looked_up) == (1, [])
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.is_at_rest()


async def test_what_was_certainly_not_executed_is_planned_anew_by_whoever_goes_on(
    rig: WorkerRig, broker: ScriptedBroker
):
    rig.accounts[DESK] = rig.account(default_quantity=Decimal(1))
    broker.then(*[unavailable()] * 3)
    await rig.admit(quantity=None)
    await rig.worker("a").run_lane()
    rig.accounts[DESK] = rig.account(default_quantity=Decimal(5))
    await rig.run_to_rest(rig.worker("b"))
    quantities = [one.plan.quantity for one in broker.requests]
    assert (quantities[0], quantities[-1], len(quantities)) == (Decimal(1), Decimal(5), 4)
