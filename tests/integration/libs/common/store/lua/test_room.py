"""Admission to lanes and a Redis that are full."""

from typing import Any

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AlertId, LaneName
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.policy.limits import Limit
from libs.common.policy.room import HOLDS_MS, REOPENS_AT, Room
from libs.common.store.client import connect
from libs.common.store.flight_time import FlightTime
from libs.common.store.intake import Admitted, Conflict, Duplicate, Intake, LaneFull, MemoryFull, Verdict
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig
from tests.support.clock import ManualClock
from tests.support.fullness import use_memory
from tests.support.redis_server import RedisServer


async def submit(rig: Rig, market: str = "BTC", **options: Any) -> Verdict:
    return await rig.do(rig.intake.admissions.submit(rig.admission(market, **options)))


@pytest.fixture
def small(rig: Rig) -> Rig:
    """Lanes of two instructions at most, and memory for all."""
    rig.room = Room(memory=0.95, backlog=2)
    return rig


@pytest.fixture
def full(rig: Rig) -> Rig:
    """A Redis that uses 85 % of its memory, and may use 80 %."""
    rig.room = Room(memory=0.8, backlog=100)
    use_memory(rig.redis, 0.85)
    return rig


# Lanes.


async def test_a_lane_takes_as_many_instructions_as_it_may_and_no_more(small: Rig):
    verdicts = await small.do(
        *[small.intake.admissions.submit(small.admission(market)) for market in ("BTC", "BTC", "BTC", "ETH")]
    )
    assert verdicts[2] == LaneFull(LaneName("desk:BTC"), 2)
    assert [type(verdict) for verdict in verdicts] == [Admitted, Admitted, LaneFull, Admitted]
    with small.nothing_written():
        assert await submit(small) == LaneFull(LaneName("desk:BTC"), 2)


async def test_one_full_lane_refuses_an_alert_with_all_of_its_accounts(small: Rig):
    await small.admit_each("BTC", "BTC", accounts=("fund",))
    with small.nothing_written():
        assert await submit(small, accounts=("desk", "fund", "prop")) == LaneFull(LaneName("fund:BTC"), 2)


async def test_what_a_full_lane_refuses_costs_no_rate_and_no_key(small: Rig):
    await small.admit_each("BTC", "BTC")
    limit = Limit(interval_us=60_000_000, burst=1)
    with small.nothing_written():
        assert isinstance(await submit(small, sender_id="x", limit=limit), LaneFull)
    small.redis.delete(small.keys.lane(LaneName("desk:BTC")))
    assert isinstance(await submit(small, sender_id="x", limit=limit), Admitted)


async def test_a_full_lane_tells_repeats_and_conflicts_as_ever(small: Rig):
    first = await small.admit(sender_id="x")
    await small.admit()
    assert await submit(small, sender_id="x") == Duplicate(first)
    assert await submit(small, sender_id="x", digest="other") == Conflict(first)


async def test_the_alert_that_took_the_last_place_is_admitted_when_its_call_comes_again(small: Rig):
    await small.admit()
    last = small.admission()
    answer = await small.lose_reply("admit", lambda: small.intake.admissions.submit(last))
    assert answer == Admitted(last.alert_id)


async def test_a_place_that_is_free_again_is_taken(small: Rig):
    hold = await small.hold(alerts=2)
    assert isinstance(await submit(small), LaneFull)
    await small.go(hold)
    await small.settle(hold)
    assert isinstance(await submit(small), Admitted)


async def test_an_account_that_declines_needs_no_place(small: Rig):
    await small.admit_each("BTC", "BTC")
    verdict = await submit(
        small, accounts=("desk", "fund"), declined={"desk": ("SKIPPED", "not_allowed", "words")}
    )
    assert isinstance(verdict, Admitted)


async def test_who_sets_no_bounds_is_held_to_none(small: Rig):
    await small.admit_each("BTC", "BTC")
    use_memory(small.redis, 0.99)
    small._made.clear()
    small.room = None
    assert isinstance(await submit(small), Admitted)


# Memory.


async def test_from_its_share_of_memory_on_nothing_is_admitted_and_nothing_written(full: Rig):
    with full.nothing_written():
        assert await submit(full, limit=Limit(interval_us=1_000, burst=1)) == MemoryFull()
    assert full.room is not None
    assert full.room.is_full
    assert full.room.share == pytest.approx(0.85, abs=0.03)


async def test_redis_looks_at_its_memory_once_for_a_while_where_there_is_plenty(
    rig: Rig, redis_server: RedisServer
):
    clock, room = ManualClock(now_ms=START_MS), Room(memory=0.8, backlog=100)
    client = connect(redis_server.url, timeout_s=5)
    intake = Intake(client, rig.keys, flight_time=FlightTime(clock, 5_000), room=room, now_ms=START_MS)

    async def looked() -> int:
        before = looks(rig)
        await intake.admissions.submit(rig.admission())
        return looks(rig) - before - 1  # the first look of our own

    assert [await looked(), await looked()] == [1, 0]
    assert 0 < room.share < 0.5  # of the machine's memory
    clock.advance(HOLDS_MS)
    use_memory(rig.redis, 0.6)
    assert [await looked(), await looked()] == [1, 1]
    use_memory(rig.redis, 0.85)
    assert await intake.admissions.submit(rig.admission()) == MemoryFull()
    await client.aclose()


async def test_what_may_not_be_denied_is_admitted_at_the_very_limit(rig: Rig, redis_server: RedisServer):
    client = connect(redis_server.url, timeout_s=5)
    intake = Intake(client, rig.keys, is_denied_when_full=False, now_ms=START_MS)
    use_memory(rig.redis, 2)
    with pytest.raises(StoreUnavailable):
        await rig.intake.admissions.submit(rig.admission())
    assert isinstance(await intake.admissions.submit(rig.admission()), Admitted)
    await client.aclose()


def looks(rig: Rig) -> int:
    """Return how often a script has asked for the memory."""
    return int(rig.redis.info("commandstats").get("cmdstat_info", {}).get("calls", 0))


async def test_below_its_share_of_memory_alerts_are_admitted(full: Rig):
    use_memory(full.redis, 0.7)
    assert isinstance(await submit(full), Admitted)
    assert full.room is not None
    assert not full.room.is_full
    assert full.room.share == pytest.approx(0.7, abs=0.03)


async def test_once_full_it_takes_alerts_again_a_little_below_only(full: Rig):
    assert await submit(full) == MemoryFull()
    use_memory(full.redis, 0.8 * REOPENS_AT + 0.02)
    assert await submit(full) == MemoryFull()
    use_memory(full.redis, 0.8 * REOPENS_AT - 0.02)
    assert isinstance(await submit(full), Admitted)
    use_memory(full.redis, 0.8 * REOPENS_AT + 0.02)
    assert isinstance(await submit(full), Admitted)


async def test_a_full_redis_tells_repeats_and_conflicts_as_ever(rig: Rig):
    rig.room = Room(memory=0.8, backlog=100)
    first = await rig.admit(sender_id="x")
    use_memory(rig.redis, 0.85)
    assert await submit(rig, sender_id="y") == MemoryFull()
    assert await submit(rig, sender_id="x") == Duplicate(first)
    assert await submit(rig, sender_id="x", digest="other") == Conflict(first)


async def test_without_a_limit_it_is_the_machines_memory_that_counts(rig: Rig):
    found = rig.redis.info("memory")
    share = found["used_memory"] / found["total_system_memory"]
    rig.room = Room(memory=share * 20, backlog=100)
    assert isinstance(await submit(rig), Admitted)
    rig._made.clear()
    rig.room = Room(memory=share / 20, backlog=100)
    assert await submit(rig) == MemoryFull()


async def test_a_server_that_bars_info_is_held_to_no_share(full: Rig):
    full.redis.execute_command("ACL", "SETUSER", "default", "-info")
    try:
        verdict = await submit(full)
    finally:
        full.redis.execute_command("ACL", "SETUSER", "default", "+@all")
    assert isinstance(verdict, Admitted)


async def test_a_probe_is_refused_where_an_alert_would_be(full: Rig):
    with pytest.raises(StoreUnavailable, match=r"uses 8\d\.\d% of its memory, .* below 76\.0% of it"):
        await full.intake.probe()
    use_memory(full.redis, 0.7)
    await full.intake.probe()


async def test_while_admission_is_refused_workers_end_what_is_queued_with_dead_letters(rig: Rig):
    rig.room = Room(memory=0.8, backlog=100)
    await rig.admit_each("BTC", "ETH")
    use_memory(rig.redis, 0.85)
    assert await submit(rig) == MemoryFull()
    btc, eth = [Hold(held, await rig.open(held), "a") for held in await rig.read()]
    await rig.go(btc)
    await rig.settle(btc)
    await rig.settle(eth, InstructionState.REJECTED, reason=Reason.VENUE_REJECTED, order=None)
    assert rig.instruction(AlertId(btc.head.alert_id))["state"] == "EXECUTED"
    assert len(rig.redis.xrange(rig.keys.dead)) == 1
