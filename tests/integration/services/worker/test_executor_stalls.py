"""What a worker sends and writes that stalled, lost its lane, or lost an answer of Redis."""

from collections.abc import Sequence
from typing import Any

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.orders import Intent, Settlement
from services.worker.leases import YOUNG_MS
from tests.integration.services.worker.rig import LEASE_MS, WINDOW_MS, Worker, WorkerRig, lose_answers
from tests.support.scripted_broker import ScriptedBroker, knows_nothing


async def test_a_worker_that_stalls_past_its_lease_sends_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def stall() -> None:
        rig.clock.advance(LEASE_MS)

    broker.before_sending = stall
    alert = await rig.admit()
    await worker.run_lane()
    assert (len(broker.unsent), broker.requests) == (1, [])
    # Nobody had taken the lane yet: it parks, and goes on under a new lease.
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    broker.before_sending = None
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_stalled_worker_whose_lane_was_taken_over_sends_and_writes_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def stall() -> None:
        broker.before_sending = None
        rig.clock.advance(LEASE_MS)
        await rig.reclaim()
        broker.always_find(knows_nothing)
        await rig.worker("b").run_lane()  # finds SENDING, and waits until the request can arrive no more

    broker.before_sending = stall
    alert = await rig.admit()
    await worker.run_lane()
    assert worker.count("bascule_lanes_lost_total") == 1
    await rig.run_to_rest(rig.worker("b"))
    assert len(broker.unsent) == 1
    assert broker.executed == [rig.order_id(alert)]
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_worker_that_is_told_that_its_lane_is_lost_sends_nothing_though_its_clock_would_allow_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # Between the intent and the first byte the group was made again, and another worker took the lane over.
    async def lose_the_lane() -> None:
        broker.before_sending = None
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "9999999999999-0|other")
        await worker.heartbeat.beat()

    broker.before_sending = lose_the_lane
    alert = await rig.admit()
    worker_lease = await worker.run_lane()
    assert worker_lease.is_lost
    assert (len(broker.unsent), broker.requests) == (1, [])
    assert rig.order_state(alert) == ("SENDING", 1)


async def test_a_lease_counts_from_the_call_that_renewed_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # begin renews it, so that a lane that waited long in its process still has a whole window before it.
    async def stall() -> None:
        rig.clock.advance(WINDOW_MS - 1)

    broker.before_sending = stall
    await rig.admit()
    lease = await worker.take()
    rig.clock.advance(LEASE_MS - 1)
    await worker.runner.run(lease)
    assert len(broker.requests) == 1
    assert broker.unsent == []


async def test_only_a_lease_that_is_not_young_is_renewed_by_an_order(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    asked: list[bool] = []
    begin, settle = worker.orders.begin._send, worker.orders.settle._send

    async def watched(items: Sequence[Intent]) -> Any:
        asked.extend(one.is_lease_young for one in items)
        return await begin(items)

    async def settling(items: Sequence[Settlement]) -> Any:
        asked.extend(one.intent.is_lease_young for one in items if one.intent is not None)
        return await settle(items)

    async def passing() -> None:
        rig.clock.advance(YOUNG_MS // 2 + 1)

    worker.orders.begin._send, worker.orders.settle._send, broker.before_sending = watched, settling, passing
    for _ in range(4):
        await rig.admit()
    await worker.run_lane()
    assert asked == [True, True, False, True]
    assert len(broker.requests) == 4


async def test_a_lease_that_is_young_no_longer_when_an_order_is_asked_for_again_is_renewed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # The first call never arrived, so the second one is the first that Redis hears of.
    asked: list[bool] = []
    send = worker.orders.begin._send

    async def away_at_first(items: Sequence[Intent]) -> Any:
        asked.append(items[0].is_lease_young)
        if len(asked) == 1:
            rig.clock.advance(LEASE_MS - WINDOW_MS)
            raise StoreUnavailable("Redis is away")
        return await send(items)

    async def stall() -> None:
        rig.clock.advance(WINDOW_MS - 1)

    worker.orders.begin._send, broker.before_sending = away_at_first, stall
    await rig.admit()
    await worker.run_lane()
    assert asked == [True, False]
    # It has a whole lease from then on.
    assert (len(broker.requests), broker.unsent) == (1, [])


async def test_a_go_that_comes_after_its_request_would_have_expired_sends_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    # The lease was renewed meanwhile; only the request's own time is over.
    lost_answers = lose_answers(worker.orders.begin, 1, lambda: rig.clock.advance(WINDOW_MS))
    alert = await rig.admit()
    await worker.run_lane()
    assert lost_answers == [1]
    assert len(broker.unsent) == 1
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("FILLED", 2)
    assert broker.requests[0].expires_at_ms > rig.clock.now_ms()


async def test_a_lost_answer_of_begin_gets_the_same_go_and_sends_once(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    lose_answers(worker.orders.begin, 3)
    alert = await rig.admit()
    await worker.run_lane()
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_a_lost_answer_of_settle_settles_once_and_goes_on_with_the_next_head(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alerts = [await rig.admit() for _ in range(3)]
    lose_answers(worker.orders.settle, 2)
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert rig.is_at_rest()
