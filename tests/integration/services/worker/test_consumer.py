"""Which tokens a worker reads, which lanes it runs, and what it does when it cannot read."""

import asyncio

import pytest

from services.worker.slots import LONGEST_WAIT_MS, SHORTEST_WAIT_MS
from tests.integration.services.worker.rig import Worker, WorkerRig, running
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.scripted_broker import ScriptedBroker, waits_for


@pytest.fixture
def answers(broker: ScriptedBroker) -> asyncio.Event:
    """Holds back every answer of the venue until it is set."""
    answers = asyncio.Event()
    broker.then(*[waits_for(answers)] * 100)
    return answers


async def test_lanes_run_side_by_side(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    for number in range(8):
        await rig.admit(f"S{number}")
    async with running(worker.consumer(concurrency=8)) as consumer:
        await eventually(lambda: len(broker.requests) == 8)
        assert consumer.running == 8
        assert worker.count("bascule_lanes_held") == 8
        answers.set()
        await eventually(rig.is_at_rest)
        await eventually(lambda: consumer.running == 0)
    assert worker.count("bascule_lanes_held") == 0


async def test_no_more_tokens_are_read_than_slots_are_free(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    for number in range(5):
        await rig.admit(f"S{number}")
    async with running(worker.consumer(concurrency=2)):
        await eventually(lambda: len(broker.requests) == 2)
        pending = rig.redis.xpending(rig.keys.ready, "workers")
        assert (pending["pending"], rig.parked()) == (2, {})
        answers.set()
        await eventually(rig.is_at_rest)


async def test_one_account_uses_no_more_than_its_slots_and_what_is_over_runs_later(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    fund = rig.account("fund")
    rig.accounts[fund.name] = fund
    for number in range(4):
        await rig.admit(f"S{number}")
    async with running(worker.consumer(concurrency=4, slots_per_account=2)):
        await eventually(lambda: len(rig.parked()) == 2)
        assert set(rig.parked().values()) == {SHORTEST_WAIT_MS}
        late = await rig.admit("S9", account="fund")
        # The slow account leaves room for the other.
        await eventually(lambda: len(broker.requests) == 3)
        assert [one.account for one in broker.requests] == ["desk", "desk", "fund"]
        assert await rig.pass_time(LONGEST_WAIT_MS) == 2
        await eventually(lambda: len(rig.parked()) == 2)
        answers.set()
        await eventually(lambda: not rig.redis.xlen(rig.keys.ready))
        assert await rig.pass_time(LONGEST_WAIT_MS) == 2
        await eventually(rig.is_at_rest)
    assert len(broker.executed) == 5
    assert rig.ended(late, "fund") == ("EXECUTED", "filled")


async def test_a_lane_parked_for_want_of_a_slot_says_so(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    alerts = [await rig.admit(f"S{number}") for number in range(2)]
    async with running(worker.consumer(concurrency=4, slots_per_account=1)):
        await eventually(rig.parked)
        assert ("PARKED", "busy") in rig.history(alerts[1])
        answers.set()


async def test_a_token_without_a_lane_is_dropped(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    rig.redis.xadd(rig.keys.ready, {"junk": "1"})
    await rig.admit()
    async with running(worker.consumer()):
        await eventually(rig.is_at_rest)
    assert rig.redis.xpending(rig.keys.ready, "workers")["pending"] == 0
    assert len(broker.executed) == 1


async def test_tokens_that_are_ours_without_our_knowing_run_first_and_no_more_than_there_are_slots(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    for number in range(5):
        await rig.admit(f"S{number}")
    reader = worker.reader()
    assert len(await reader.read(5, 1)) == 5  # and the reply is lost
    async with running(worker.consumer(concurrency=2, slots_per_account=9)):
        await eventually(lambda: len(broker.requests) == 2 and len(rig.parked()) == 3)
        answers.set()
        await eventually(lambda: not rig.redis.xlen(rig.keys.ready))
        await rig.pass_time(SHORTEST_WAIT_MS)
        await eventually(lambda: not rig.redis.xlen(rig.keys.ready))
    await rig.run_to_rest()
    assert len(broker.executed) == 5


async def test_after_a_lost_reply_the_tokens_in_it_are_read_again_as_our_own(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    with Proxy(rig.server.url) as proxy:
        async with running(worker.consumer(url=proxy.url)) as consumer:
            await eventually(lambda: consumer.is_connected)
            proxy.lose_next_reply(b"BLOCK")
            for number in range(3):
                await rig.admit(f"S{number}")
            await eventually(rig.is_at_rest)
            assert consumer.is_connected
        await worker.stop()
        assert proxy.lost_replies == 1
    assert len(broker.executed) == 3


async def test_tokens_that_are_held_already_are_not_run_twice_after_a_read_error(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    alert = await rig.admit("S0")
    with Proxy(rig.server.url) as proxy:
        async with running(worker.consumer(url=proxy.url)) as consumer:
            await eventually(lambda: broker.requests)
            proxy.refuse()
            await eventually(lambda: not consumer.is_connected)
            proxy.pass_through()
            await eventually(lambda: consumer.is_connected)
            await rig.admit("S1")
            await eventually(lambda: len(broker.requests) == 2)
            assert consumer.running == 2
            answers.set()
            await eventually(rig.is_at_rest)
        await worker.stop()
    assert broker.executed.count(rig.order_id(alert)) == 1
    assert broker.looked_up == []


@pytest.mark.parametrize("what", ["group", "stream"])
async def test_a_consumer_group_destroyed_while_it_reads_is_created_again_and_nothing_trades_twice(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event, what: str
):
    held = await rig.admit("S0")
    async with running(worker.consumer()) as consumer:
        await eventually(lambda: broker.requests)
        if what == "group":
            rig.redis.xgroup_destroy(rig.keys.ready, "workers")
        else:
            rig.redis.delete(rig.keys.ready)
        await eventually(lambda: rig.redis.exists(rig.keys.ready) and rig.redis.xinfo_groups(rig.keys.ready))
        other = await rig.admit("S1")
        await eventually(lambda: len(broker.requests) == 2)
        answers.set()
        await eventually(rig.is_at_rest)
        assert consumer.is_connected
    assert sorted(broker.executed) == sorted(rig.order_id(alert) for alert in (held, other))


async def test_stopping_it_finishes_what_was_sent_and_hands_back_the_rest(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, answers: asyncio.Event
):
    for _ in range(3):
        for number in range(4):
            await rig.admit(f"S{number}")
    async with running(worker.consumer(concurrency=4)) as consumer:
        await eventually(lambda: len(broker.requests) == 4)
        consumer.stop()
        answers.set()
    assert len(broker.executed) == 4
    assert rig.redis.xpending(rig.keys.ready, "workers")["pending"] == 0
    assert rig.redis.xlen(rig.keys.ready) == 4
    await rig.run_to_rest(rig.worker("b"))
    assert len(broker.executed) == 12


async def test_its_loop_goes_on_while_it_drains(rig: WorkerRig, worker: Worker, broker: ScriptedBroker):
    answers = asyncio.Event()
    broker.then(waits_for(answers))
    await rig.admit()
    consumer = worker.consumer()
    running = asyncio.create_task(consumer.run())
    await eventually(lambda: broker.requests)
    consumer.stop()
    rig.clock.advance(15_000)
    await eventually(lambda: consumer.beat_at_ms == rig.clock.monotonic_ms())
    answers.set()
    await running


async def test_a_suspect_is_alone_among_the_lanes_of_its_consumer_and_the_others_go_on_after_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    suspect = await rig.admit("S0")
    rig.lose_holders(suspect, 3)
    others = [await rig.admit(f"S{number}") for number in range(1, 6)]
    consumer = worker.consumer(concurrency=6)
    beside: list[int] = []

    async def look() -> None:
        if worker.solo.is_wanted:
            beside.append(consumer.running)

    broker.before_sending = look
    async with running(consumer):
        await eventually(rig.is_at_rest)
    assert beside == [1]
    assert sorted(broker.executed) == sorted(rig.order_id(alert) for alert in (suspect, *others))


async def test_it_says_when_it_last_came_round_and_whether_it_reads(rig: WorkerRig, worker: Worker):
    with Proxy(rig.server.url) as proxy:
        consumer = worker.consumer(url=proxy.url)
        assert not consumer.is_connected
        async with running(consumer):
            await eventually(lambda: consumer.is_connected)
            rig.clock.advance(5_000)
            await eventually(lambda: consumer.beat_at_ms == rig.clock.monotonic_ms())
            proxy.refuse()
            await eventually(lambda: not consumer.is_connected)
            rig.clock.advance(5_000)
            await eventually(lambda: consumer.beat_at_ms == rig.clock.monotonic_ms())
            proxy.pass_through()
            await eventually(lambda: consumer.is_connected)
        await worker.stop()
