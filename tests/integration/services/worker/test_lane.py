"""How long a worker keeps a lane, and what it does with one that fails on it."""

import asyncio
from itertools import pairwise

import pytest

from libs.common.domain.ids import LaneName, Token
from libs.common.store.head import Held
from services.worker.turn import ASK_AFTER_MS, HAND_BACK_AFTER, HAND_BACK_AFTER_MS
from tests.integration.services.worker.rig import (
    DESK,
    LEASE_MS,
    MARGIN_MS,
    POISON_LIMIT,
    WINDOW_MS,
    Worker,
    WorkerRig,
    lose_answers,
)
from tests.support.eventually import eventually
from tests.support.scripted_broker import ScriptedBroker, executes_and_fails, fails, waits_for


async def test_instructions_of_a_lane_execute_in_the_order_of_arrival(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alerts = [await rig.admit() for _ in range(10)]
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert rig.is_at_rest()


async def test_a_lane_is_handed_back_after_32_instructions(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    for _ in range(HAND_BACK_AFTER + 3):
        await rig.admit()
    first = await worker.run_lane()
    assert len(broker.executed) == HAND_BACK_AFTER == 32
    assert rig.waiting() == 3
    # At once, with a new token for whoever comes.
    assert rig.parked() == {}
    assert (await rig.worker("b").run_lane()).held.token != first.held.token
    assert len(broker.executed) == HAND_BACK_AFTER + 3
    assert rig.is_at_rest()


async def test_the_call_that_ends_an_instruction_hands_the_lane_back(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    for _ in range(HAND_BACK_AFTER + 1):
        await rig.admit()
    apart = lose_answers(worker.lanes.yield_, 1)
    first = await worker.run_lane()
    assert (rig.waiting(), apart) == (1, [])
    assert (await rig.worker("b").run_lane()).held.token != first.held.token
    assert rig.is_at_rest()


@pytest.mark.parametrize("is_wanted", [True, False])
async def test_a_lane_is_handed_back_after_a_second_where_others_wait_for_a_slot(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, is_wanted: bool
):
    async def slow() -> None:
        rig.clock.advance(ASK_AFTER_MS // 2)

    broker.before_sending = slow
    for _ in range(5):
        await rig.admit()
    if is_wanted:
        await rig.admit("ETHUSDT")
    await worker.run_lane()
    assert len(broker.executed) == (2 if is_wanted else 5)
    assert rig.waiting() == (3 if is_wanted else 0)


async def test_a_lane_that_nobody_wants_is_handed_back_after_ten_seconds(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    async def slow() -> None:
        rig.clock.advance(HAND_BACK_AFTER_MS // 4)

    broker.before_sending = slow
    for _ in range(5):
        await rig.admit()
    await worker.run_lane()
    assert len(broker.executed) == 4
    assert rig.waiting() == 1


async def test_a_head_that_was_handed_back_unsent_counts_no_lost_holder(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit()
    worker.recall.is_draining = True
    for _ in range(5):
        await worker.run_lane()
    assert broker.requests == []
    assert rig.instruction(alert).get("lost_holders", "0") == "0"
    assert rig.instruction(alert)["running"] == ""


async def test_a_draining_worker_finishes_what_was_sent_and_hands_the_rest_back(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    answers = asyncio.Event()
    broker.then(waits_for(answers))
    sent, rest = await rig.admit(), await rig.admit()
    task = asyncio.create_task(worker.run_lane())
    await eventually(lambda: broker.requests)
    worker.recall.is_draining = True
    answers.set()
    await task
    assert rig.ended(sent) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(sent)]
    await rig.worker("b").run_lane()
    assert rig.ended(rest) == ("EXECUTED", "filled")


async def test_a_lane_is_handed_back_while_a_suspect_wants_to_be_alone(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await rig.admit()
    worker.solo.is_wanted = True
    await worker.run_lane()
    assert broker.requests == []
    assert rig.fence() is not None


async def test_a_token_without_work_is_closed(rig: WorkerRig, worker: Worker):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    await worker.run_lane()
    assert rig.is_at_rest()


async def test_a_token_that_is_not_current_runs_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await rig.admit()
    late = worker.leases.take(Held(LaneName("desk:BTC"), Token("1-1")), rig.clock.monotonic_ms())
    await worker.runner.run(late)
    assert broker.requests == []
    assert worker.count("bascule_lanes_lost_total") == 1


async def test_records_that_contradict_one_another_end_as_an_error_and_not_as_a_loop(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit()
    # An order that its instruction does not know of: open says attempt 1, begin says attempt 2.
    rig.redis.hset(
        rig.keys.order(rig.order_id(alert)), mapping={"state": "NOT_EXECUTED", "attempt": "1", "nonce": "n"}
    )
    await worker.run_lane()
    assert broker.requests == []
    assert worker.count("bascule_lane_failures_total") == 1
    assert rig.history(alert)[-1] == ("PARKED", "failed")
    assert rig.instruction(alert)["lost_holders"] == "1"


# Unexpected errors.


async def test_after_an_unexpected_error_of_the_broker_the_lane_is_parked_blamed_and_the_order_looked_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(executes_and_fails(KeyError("a bug of the adapter")))
    alert = await rig.admit()
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": 100}
    assert rig.instruction(alert)["lost_holders"] == "1"
    assert rig.order_state(alert) == ("SENDING", 1)
    await rig.until_due()
    await worker.run_lane()
    assert broker.looked_up == broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert "a bug of the adapter" in str(rig.redis.xrange(rig.keys.journal))


async def test_an_error_before_anything_is_sent_backs_off_and_ends_dead_at_the_poison_limit(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    def breaks(_: object) -> None:
        raise ZeroDivisionError

    rig.accounts[DESK] = rig.account(limits_of=breaks)
    alert = await rig.admit()
    waits = []
    for _ in range(POISON_LIMIT):
        await worker.run_lane()
        waits.append(await rig.until_due())
    assert waits == [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000, 5_000, 5_000]
    assert rig.instruction(alert)["state"] == "ACTIVE"
    await worker.run_lane()
    assert rig.ended(alert) == ("DEAD", "poison")
    assert broker.requests == []
    assert rig.is_at_rest()


async def test_an_order_that_fails_without_an_answer_is_never_sent_again_before_its_look_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(*[fails(KeyError("each time"))] * 30)
    await rig.admit(max_age_ms=30_000)
    await rig.run_to_rest()
    sent = broker.sent_at_ms
    assert len(sent) > 1
    assert all(later - earlier > WINDOW_MS + MARGIN_MS for earlier, later in pairwise(sent))
    assert broker.executed == []


async def test_an_error_of_one_head_is_not_held_against_the_next(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(executes_and_fails(KeyError("a bug")))
    await rig.admit()
    after = await rig.admit()
    await rig.run_to_rest()
    assert rig.instruction(after).get("lost_holders", "0") == "0"
    assert len(broker.executed) == 2


async def test_a_lane_of_a_wrong_type_is_left_to_its_lease_and_does_not_end_the_worker(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BAD"})
    rig.redis.hset(rig.keys.lanes, "desk:BAD", f"{token}|")
    rig.redis.set(rig.keys.lane(LaneName("desk:BAD")), "junk")
    alert = await rig.admit()
    await worker.run_lane()
    await worker.run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert rig.redis.xpending(rig.keys.ready, "workers")["pending"] == 1


async def test_a_lane_whose_lease_is_lost_while_redis_is_away_is_dropped(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await rig.admit()
    lose_answers(worker.lanes.open, 1_000_000)
    lease = await worker.take()
    task = asyncio.create_task(worker.runner.run(lease))
    await asyncio.sleep(0)
    assert not task.done()
    lease.is_lost = True
    await asyncio.wait_for(task, 5)
    assert broker.requests == []


# Alone.


@pytest.mark.parametrize(("lost_holders", "is_alone"), [(2, False), (3, True)])
async def test_from_three_lost_holders_on_a_head_is_executed_alone(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, lost_holders: int, is_alone: bool
):
    answers = asyncio.Event()
    broker.then(waits_for(answers))
    beside = [await rig.admit("ETH") for _ in range(2)]
    other = asyncio.create_task(worker.run_lane())
    await eventually(lambda: broker.requests)
    suspect = await rig.admit("BTC")
    rig.lose_holders(suspect, lost_holders)
    lane = asyncio.create_task(worker.run_lane())
    if not is_alone:
        await asyncio.wait_for(lane, 5)
        answers.set()
        await other
        assert broker.executed == [rig.order_id(one) for one in (suspect, *beside)]
        return
    await eventually(lambda: worker.solo.is_wanted)
    assert len(broker.requests) == 1
    answers.set()
    await asyncio.gather(other, lane)
    # The neighbour finished what was sent, and was handed back before its next head.
    assert broker.executed == [rig.order_id(beside[0]), rig.order_id(suspect)]
    assert rig.waiting("desk:ETH") == 1
    assert not worker.solo.is_wanted
    await worker.run_lane()
    assert rig.is_at_rest()


async def test_of_two_suspects_one_at_a_time_is_executed(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    answers = asyncio.Event()
    broker.then(waits_for(answers))
    for market in ("BTC", "ETH"):
        rig.lose_holders(await rig.admit(market), 3)
    lanes = [asyncio.create_task(worker.run_lane()) for _ in range(2)]
    await asyncio.wait(lanes, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    await eventually(lambda: broker.requests)
    assert len(broker.requests) == 1
    answers.set()
    await asyncio.gather(*lanes)
    assert len(broker.executed) == 1
    await worker.run_lane()
    assert len(broker.executed) == 2


async def test_a_suspect_whose_lease_was_lost_while_it_waited_to_be_alone_is_not_sent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    answers = asyncio.Event()
    broker.then(waits_for(answers))
    await rig.admit("ETH")
    other = asyncio.create_task(worker.run_lane())
    await eventually(lambda: broker.requests)
    suspect = await rig.admit("BTC")
    rig.lose_holders(suspect, 3)
    lane = asyncio.create_task(worker.run_lane())
    await eventually(lambda: worker.solo.is_wanted)
    rig.clock.advance(LEASE_MS)
    await rig.reclaim("desk:BTC")
    answers.set()
    await asyncio.gather(other, lane)
    assert rig.order(suspect) == {}
    assert rig.instruction(suspect)["lost_holders"] == "4"


async def test_while_redis_is_away_a_suspect_that_wants_to_be_alone_waits_for_the_others(
    rig: WorkerRig, worker: Worker
):
    rig.lose_holders(await rig.admit("BTC"), 3)
    worker.solo.lane_started()
    lane = asyncio.create_task(worker.run_lane())
    await eventually(lambda: worker.solo.is_wanted)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(lane), 0.05)
    worker.solo.lane_ended()
    await asyncio.wait_for(lane, 5)
    assert rig.is_at_rest()


async def test_the_wait_until_a_worker_first_comes_to_it_is_noted_once(rig: WorkerRig, worker: Worker):
    await rig.admit()
    rig.clock.advance(400)
    worker.recall.is_draining = True
    await worker.run_lane()  # handed back at once
    rig.clock.advance(5_000)
    worker.recall.is_draining = False
    await rig.worker("b").run_lane()
    assert worker.count("bascule_queue_wait_seconds_count") == 1
    assert rig.worker("b").count("bascule_queue_wait_seconds_count") == 0
