"""What becomes of one instruction, by what the venue makes of its order."""

from decimal import Decimal

import pytest

from libs.common.domain.errors import BrokerThrottled, OrderOutcomeUnknown
from libs.common.domain.lifecycle import OrderState
from libs.common.telemetry.worker_metrics import ORDER_OUTCOMES
from services.worker.attempts import THROTTLED_MS
from tests.integration.services.worker.rig import WINDOW_MS, Worker, WorkerRig
from tests.support.scripted_broker import (
    ScriptedBroker,
    executes_and_fails,
    fails,
    refused,
    reports,
    unavailable,
)

# Certain ends.


async def test_an_order_that_the_venue_fills_ends_executed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(quantity="0.25")
    await worker.run_lane()
    [request] = broker.requests
    assert (request.client_order_id, request.plan.quantity) == (rig.order_id(alert), Decimal("0.25"))
    assert request.expires_at_ms == rig.clock.now_ms() + WINDOW_MS
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.order_state(alert) == ("FILLED", 1)
    assert worker.count("bascule_instructions_ended_total", state="EXECUTED", reason="filled") == 1
    assert rig.is_at_rest()


@pytest.mark.parametrize(
    ("state", "end"),
    [
        (OrderState.ACCEPTED, ("EXECUTED", "accepted")),
        (OrderState.PARTIAL, ("EXECUTED", "accepted")),
        (OrderState.CANCELED, ("REJECTED", "venue_rejected")),
        (OrderState.EXPIRED, ("REJECTED", "venue_rejected")),
    ],
)
async def test_an_instruction_ends_by_the_state_that_the_venue_reports(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, state: OrderState, end: tuple[str, str]
):
    broker.then(reports(state))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == end
    assert rig.order_state(alert) == (state, 1)


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED])
async def test_an_order_of_which_a_part_was_filled_before_it_ended_is_executed_and_leaves_nothing_to_replay(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, state: OrderState
):
    broker.then(reports(state, filled=Decimal("0.5")))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "partly_filled")
    assert rig.letters() == []


async def test_a_refusal_of_the_first_attempt_is_believed_and_leaves_a_dead_letter_with_the_venues_words(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused("no_margin", "buy more first"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    assert rig.order_state(alert) == ("REJECTED", 1)
    assert "buy more first" in rig.letters()[0]["detail"]
    assert broker.looked_up == []


async def test_a_refusal_for_want_of_a_price_says_so(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    broker.then(refused("no_price"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.ended(alert) == ("REJECTED", "no_price")


# Certainly not executed.


async def test_an_order_that_was_not_taken_is_sent_again_in_place_under_the_same_id(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable())
    alert = await rig.admit()
    await worker.run_lane()
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert)] * 2
    assert rig.slept_ms == [100]
    assert rig.order_state(alert) == ("FILLED", 2)
    assert [event for event, _ in rig.history(alert)] == [
        "QUEUED",
        "SENDING",
        "NOT_EXECUTED",
        "SENDING",
        "EXECUTED",
    ]
    assert broker.looked_up == []


async def test_a_longer_back_off_parks_the_lane_and_the_next_holder_goes_on_with_the_next_attempt(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(unavailable(), unavailable(), unavailable())
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.slept_ms == [100, 200]
    assert rig.parked() == {"desk:BTC": 400}
    assert rig.order_state(alert) == ("NOT_EXECUTED", 3)
    assert await rig.until_due() == 400
    await rig.worker("b").run_lane()
    assert rig.order_state(alert) == ("FILLED", 4)
    assert broker.executed == [rig.order_id(alert)]
    assert ("PARKED", "back_off") in rig.history(alert)


async def test_a_venue_that_never_takes_the_order_is_asked_until_the_alert_is_too_old(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(*[unavailable()] * 40)
    alert = await rig.admit(max_age_ms=20_000)
    start_ms = rig.clock.now_ms()
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert rig.clock.now_ms() >= start_ms + 20_000
    assert broker.executed == []


async def test_a_throttled_order_is_not_sent_before_the_venue_wants_to_hear_from_us(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=7_000)))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": 7_000}
    await rig.until_due()
    await worker.run_lane()
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_venue_that_throttles_for_longer_than_the_alert_lives_lets_it_expire_in_time(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=3_600_000)))
    alert, behind = await rig.admit(max_age_ms=20_000), await rig.admit(max_age_ms=30_000)
    await worker.run_lane()
    assert await rig.until_due() == 20_000
    await worker.run_lane()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert await rig.until_due() == 10_000
    await worker.run_lane()
    assert rig.ended(behind) == ("EXPIRED", "too_old")
    assert len(broker.requests) == 1


async def test_a_venue_that_throttles_without_a_time_is_left_alone_for_a_second(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(fails(BrokerThrottled("429", retry_after_ms=None)))
    await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": THROTTLED_MS}


async def test_a_request_that_came_too_late_is_sent_again_while_the_alert_is_young(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(refused("expired"))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.order_state(alert) == ("FILLED", 2)
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_an_alert_that_is_too_old_expires_before_anything_is_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(max_age_ms=1_000)
    rig.clock.advance(1_000)
    await worker.run_lane()
    assert rig.ended(alert) == ("EXPIRED", "too_old")
    assert broker.requests == []
    assert rig.letters()[0]["state"] == "EXPIRED"


async def test_what_becomes_of_orders_is_counted_at_each_turn(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(
        fails(BrokerThrottled("429", retry_after_ms=1)),
        refused("no_money"),
        executes_and_fails(OrderOutcomeUnknown("lost")),
    )
    for _ in range(3):
        await rig.admit()
    await rig.run_to_rest()
    counts = {name: worker.count("bascule_orders_total", outcome=name) for name in ORDER_OUTCOMES}
    assert {name: count for name, count in counts.items() if count} == {
        "rejected": 1,
        "unknown": 1,
        "resolved": 1,
        "filled": 2,
    }
