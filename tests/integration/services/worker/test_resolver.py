"""Finding out what became of an order, and what a venue must promise before one is sent again."""

from itertools import pairwise

import pytest

from libs.common.domain.errors import OrderOutcomeUnknown
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.order import OrderReport
from services.worker.brokers.port import Capabilities, Deduplication, LookUp
from services.worker.resolver import HOLD_MS, MISSES_NEEDED
from tests.integration.services.worker.rig import LEASE_MS, MARGIN_MS, WINDOW_MS, Worker, WorkerRig
from tests.support.scripted_broker import (
    HOLDS_NOTHING,
    NEVER_DEDUPLICATES,
    ScriptedBroker,
    answer_lost,
    executes_and_fails,
    knows_nothing,
    look_up_fails,
    lost,
)

NO_PROMISE = [
    HOLDS_NOTHING,
    Capabilities(Deduplication.NONE, honours_expiry=False, look_up=LookUp.LAGGING),
    Capabilities(Deduplication.OPEN, honours_expiry=True, look_up=LookUp.NONE),
]
PROMISES = [
    NEVER_DEDUPLICATES,
    Capabilities(Deduplication.LIFETIME, honours_expiry=False, look_up=LookUp.AUTHORITATIVE),
    Capabilities(Deduplication.LIFETIME, honours_expiry=False, look_up=LookUp.NONE),
]


@pytest.mark.parametrize("capabilities", NO_PROMISE)
async def test_an_order_that_could_trade_twice_is_held_and_never_sent_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, capabilities: Capabilities
):
    broker.capabilities = capabilities
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    for _ in range(20):
        await worker.run_lane()
        assert rig.parked() == {"desk:BTC": HOLD_MS}
        await rig.until_due()
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert rig.instruction(alert)["state"] == "ACTIVE"


async def test_a_held_order_that_the_venue_comes_to_know_is_adopted(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = HOLDS_NOTHING
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()
    await worker.run_lane()
    broker.execute(broker.requests[0])
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


@pytest.mark.parametrize("capabilities", PROMISES)
async def test_an_order_is_sent_again_where_the_venue_honours_expiry_or_never_executes_an_id_twice(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, capabilities: Capabilities
):
    broker.capabilities = capabilities
    broker.then(lost())
    alert = await rig.admit()
    await rig.run_to_rest()
    assert [one.client_order_id for one in broker.requests] == [rig.order_id(alert)] * 2
    assert broker.sent_at_ms[1] > broker.requests[0].expires_at_ms + MARGIN_MS


async def test_a_venue_whose_look_up_lags_is_given_its_lag_before_a_miss_counts(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.capabilities = Capabilities(
        Deduplication.NONE, honours_expiry=True, look_up=LookUp.LAGGING, look_up_lag_ms=5_000
    )
    broker.then(answer_lost())
    broker.then_find(*[knows_nothing] * 3)
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": WINDOW_MS + MARGIN_MS + 5_000 + 1}
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]


async def test_a_look_up_that_fails_once_is_asked_again_at_once(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    broker.then_find(look_up_fails, look_up_fails)
    alert = await rig.admit()
    await worker.run_lane()
    assert len(broker.looked_up) == 3
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_while_look_ups_are_not_answered_the_lane_is_parked_for_ever_longer_and_settles_later(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    broker.always_find(look_up_fails)
    alert = await rig.admit()
    start_ms, waits = rig.clock.now_ms(), list[int]()
    while rig.clock.now_ms() < start_ms + 120_000:
        await worker.run_lane()
        assert len(broker.looked_up) == 3 * (len(waits) + 1)
        waits.append(await rig.until_due())
    assert waits == sorted(waits)
    assert waits[0] == 250 + 500
    assert waits[-1] == 250 + HOLD_MS
    assert len(waits) < 20
    assert len(broker.requests) == 1
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    # One line of history, however long it takes.
    assert [event for event, _ in rig.history(alert)].count("PARKED") == 1
    broker.always_find(None)
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


async def test_a_look_up_that_is_not_answered_is_no_miss(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(answer_lost())
    alert = await rig.admit()
    broker.then_find(*[look_up_fails] * 3)
    await worker.run_lane()
    rig.clock.advance(WINDOW_MS + MARGIN_MS + 1)
    await rig.promote()
    broker.then_find(knows_nothing, knows_nothing, *[look_up_fails] * 3)
    await worker.run_lane()
    assert rig.order(alert)["misses"] == "2"
    assert len(broker.requests) == 1
    await rig.until_due()
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert)]


async def test_misses_found_by_one_worker_count_for_the_next(rig: WorkerRig, broker: ScriptedBroker):
    broker.then(lost())
    alert = await rig.admit()
    await rig.worker("a").run_lane()
    await rig.until_due()
    broker.then_find(knows_nothing, knows_nothing, *[look_up_fails] * 3)
    await rig.worker("a").run_lane()
    await rig.until_due()
    asked = len(broker.looked_up)
    await rig.worker("b").run_lane()
    assert len(broker.looked_up) == asked + MISSES_NEEDED - 2
    assert rig.order_state(alert) == ("FILLED", 2)


async def test_a_resolver_whose_lane_is_taken_over_says_nothing_more_about_the_order(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    await rig.until_due()

    def is_taken_over(_: ScriptedBroker, __: ClientOrderId) -> OrderReport | None:
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "9999999999999-0|other")
        return None

    broker.then_find(knows_nothing, knows_nothing, is_taken_over)
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    assert rig.order(alert)["misses"] == "2"
    assert len(broker.requests) == 1
    assert worker.count("bascule_lanes_lost_total") == 1


async def test_a_second_doubt_is_waited_out_like_the_first(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost(), lost(), executes_and_fails(OrderOutcomeUnknown("again")))
    alert = await rig.admit()
    await rig.run_to_rest()
    assert rig.order_state(alert) == ("FILLED", 3)
    assert broker.executed == [rig.order_id(alert)]
    sent = broker.sent_at_ms
    assert all(later - earlier > WINDOW_MS + MARGIN_MS for earlier, later in pairwise(sent))


async def test_no_request_outlives_the_lease_it_was_sent_under(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await rig.admit()
    begun_at_ms = rig.clock.now_ms()
    await worker.run_lane()
    assert broker.requests[0].expires_at_ms <= begun_at_ms + LEASE_MS - 1_000
