"""What the census shows of lanes, letters, breakers and halts that a test brings about."""

from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.policy.halts import HaltMode, Scope
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard, Shards
from libs.common.telemetry.census_metrics import GAUGES, LABELLED, CensusMetrics
from services.reaper.census import INTERVAL_S, Census
from tests.integration.services.reaper.rig import ReaperRig
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


class CensusRig:
    def __init__(self, shards: Shards, clock: ManualClock | None = None, *, replicas: int = 0) -> None:
        self.registry = CollectorRegistry()
        self.clock = ManualClock() if clock is None else clock
        metrics = CensusMetrics(self.registry, dead_letter_reasons=[reason.value for reason in Reason])
        self.census = Census(shards, metrics, self.clock, durability="none", replicas=replicas)

    def __getitem__(self, name: str) -> float | None:
        """Return a sample: its name without the prefix, and after a space the value of its label."""
        name, _, value = name.partition(" ")
        labels = {"dead_letters_total": "reason"} | {
            metric.removeprefix("bascule_"): label for metric, _, label in LABELLED.values()
        }
        return self.registry.get_sample_value(f"bascule_{name}", {labels[name]: value} if value else {})

    def shown(self) -> set[str]:
        return {family.name for family in self.registry.collect() if family.type == "gauge"}


@pytest.fixture
async def shards(rig: ReaperRig) -> AsyncIterator[Shards]:
    shards = Shards.open(rig.server.url, 1, timeout_s=5, connections=1)
    yield shards
    await shards.aclose()


@pytest.fixture
def census(shards: Shards) -> CensusRig:
    return CensusRig(shards)


async def test_an_idle_bridge_shows_every_figure(rig: ReaperRig, census: CensusRig):
    assert await census.census.run_once() == INTERVAL_S
    assert census.shown() >= {name for name, *_ in (*GAUGES.values(), *LABELLED.values())} - _unknown_to(rig)
    for name in ("instructions_waiting", "oldest_waiting_seconds", "workers_live", "dead_letters"):
        assert census[name] == 0, name
    assert (census["redis_up"], census["redis_durable"], census["stream_pending"]) == (1, 1, 0)
    assert census["dead_letters_total too_old"] == 0


async def test_nothing_is_shown_before_the_first_census(census: CensusRig):
    assert not census.shown()


async def test_lanes_are_shown_by_state_and_parked_ones_by_what_they_wait_for(
    rig: ReaperRig, census: CensusRig
):
    await rig.park(await rig.hold("A"), 60_000, reason=Reason.RATE_LIMIT)
    await rig.hold("B", alerts=3)
    await rig.admit_each("C", "D", "C")
    await census.census.run_once()
    assert [census[f"lanes {state}"] for state in ("ready", "held", "parked")] == [2, 1, 1]
    assert census["lanes_parked rate_limit"] == 1
    assert census["instructions_waiting"] == 7
    assert census["stream_pending"] == 1
    if not _unknown_to(rig):
        assert census["stream_lag"] == 2


async def test_the_oldest_wait_is_in_seconds(rig: ReaperRig, census: CensusRig):
    await rig.admit()
    await census.census.run_once()
    oldest_s = census["oldest_waiting_seconds"]
    assert oldest_s is not None
    assert 0 <= oldest_s < 60


async def test_letters_are_counted_by_reason_from_the_first_census_on_whoever_left_them(
    rig: ReaperRig, census: CensusRig
):
    await _reject(rig, Reason.RISK)
    await census.census.run_once()
    assert (census["dead_letters"], census["dead_letters_total risk"]) == (1, 0)
    for reason in (Reason.RISK, Reason.TOO_OLD, Reason.RISK):
        await _reject(rig, reason)
    for _ in range(2):
        await census.census.run_once()
        assert census["dead_letters"] == 4
        assert census["dead_letters_total risk"] == 2
        assert census["dead_letters_total too_old"] == 1


async def test_letters_beyond_a_page_are_counted_too(rig: ReaperRig, census: CensusRig):
    await census.census.run_once()
    with rig.redis.pipeline() as pipeline:
        for number in range(1_200):
            pipeline.xadd(rig.keys.dead, {"reason": "risk" if number % 3 else "of no version"})
        pipeline.execute()
    await census.census.run_once()
    assert (census["dead_letters_total risk"], census["dead_letters_total other"]) == (800, 400)
    rig.redis.delete(rig.keys.dead)


async def test_an_open_breaker_grows_older_through_trials_that_fail(rig: ReaperRig, census: CensusRig):
    def breaker(state: str, reset_in_ms: int) -> None:
        seconds, micros = rig.redis.time()
        reset_at_ms = seconds * 1_000 + micros // 1_000 + reset_in_ms
        rig.redis.hset(rig.keys.breakers, "desk:BTC", f"{state}|3|{reset_at_ms}|0")

    await census.census.run_once()
    assert census["breaker_open_seconds"] == 0
    breaker("open", 10_000)
    await census.census.run_once()
    assert census["breakers open"] == 1
    census.clock.advance(20_000)
    breaker("open", -5_000)  # half-open: its trial is under way
    await census.census.run_once()
    assert (census["breakers half_open"], census["breaker_open_seconds"]) == (1, 20)
    breaker("open", 10_000)
    census.clock.advance(5_000)
    await census.census.run_once()
    assert census["breaker_open_seconds"] == 25
    breaker("open", -600_000)  # nobody has traded there since
    await census.census.run_once()
    assert (census["breakers half_open"], census["breaker_open_seconds"]) == (1, 0)
    breaker("paused", 10_000)
    await census.census.run_once()
    assert (census["breakers paused"], census["breaker_open_seconds"]) == (1, 0)


async def test_halts_are_shown_by_mode_and_so_are_those_that_nobody_can_read(
    rig: ReaperRig, census: CensusRig, shards: Shards
):
    parts = census.census._parts[0][0]
    await parts.halts.set(Scope(account=AccountName("desk")), HaltMode.PAUSE, by="me", reason="")
    rig.redis.hset(rig.keys.halts, "account=*;strategy=*;symbol=*", "what")
    await census.census.run_once()
    assert [census[f"halts {mode}"] for mode in (*HaltMode, "unreadable")] == [1, 0, 0, 1]
    rig.redis.delete(rig.keys.halts)


@pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)
async def test_too_few_replicas_keep_no_promise(rig: ReaperRig):
    with RedisServer(rig.server.binary, tcp=True, options={"repl-diskless-sync-delay": "0"}) as primary:
        shards = Shards.open(primary.url, 1, timeout_s=5, connections=1)
        census = CensusRig(shards, replicas=1)
        await census.census.run_once()
        assert census["redis_durable"] == 0
        with RedisServer(primary.binary) as replica:
            with replica.client() as direct:
                direct.replicaof("127.0.0.1", primary.port)

            async def is_durable() -> bool:
                await census.census.run_once()
                return census["redis_durable"] == 1

            await eventually(is_durable, 20)
        await eventually(lambda: _is_followed_by_nobody(primary))
        await census.census.run_once()
        assert census["redis_durable"] == 0
        await shards.aclose()


def _is_followed_by_nobody(primary: RedisServer) -> bool:
    with primary.client() as direct:
        return int(direct.info("replication")["connected_slaves"]) == 0


async def test_a_redis_that_is_away_shows_as_that_and_nothing_else(census: CensusRig, rig: ReaperRig):
    nowhere = Shards.open(f"redis://127.0.0.1:{free_port()}/0", 1, timeout_s=1, connections=1)
    census = CensusRig(nowhere)
    with pytest.raises(StoreUnavailable):
        await census.census.run_once()
    assert census.shown() == {"bascule_redis_up"}
    assert census["redis_up"] == 0
    await nowhere.aclose()


async def test_one_shard_that_is_away_leaves_the_figures_of_the_others(rig: ReaperRig, shards: Shards):
    nowhere = Shards.open(f"redis://127.0.0.1:{free_port()}/0", 1, timeout_s=1, connections=1)
    census = CensusRig(Shards([shards.first, Shard(1, Keys(1), nowhere.first.client)]))
    await rig.admit()
    with pytest.raises(StoreUnavailable, match="shard 1"):
        await census.census.run_once()
    assert (census["redis_up"], census["instructions_waiting"]) == (0, 1)
    await nowhere.aclose()


async def test_a_census_of_a_part_rests_as_long_as_any_other(rig: ReaperRig, shards: Shards):
    class Slow(ManualClock):
        def monotonic_ms(self) -> int:
            self.advance(100)
            return super().monotonic_ms()

    nowhere = Shards.open(f"redis://127.0.0.1:{free_port()}/0", 1, timeout_s=1, connections=1)
    census = CensusRig(Shards([shards.first, Shard(1, Keys(1), nowhere.first.client)]), Slow())
    with pytest.raises(StoreUnavailable):
        await census.census.run_once()
    assert 0 < await census.census.run_once() <= 30
    await nowhere.aclose()


@pytest.mark.leaves_keys("what it finds is no hash")
async def test_what_cannot_be_read_is_said_and_is_no_redis_that_is_away(rig: ReaperRig, census: CensusRig):
    rig.redis.set(rig.keys.halts, "what")
    with pytest.raises(StoreCorrupt):
        await census.census.run_once()
    assert census["redis_up"] == 1


def _unknown_to(rig: ReaperRig) -> set[str]:
    """Return the metrics that this version of Redis cannot fill."""
    version = str(rig.redis.info("server")["redis_version"])
    return {"bascule_stream_lag"} if version.startswith("6.") else set()


async def _reject(rig: ReaperRig, reason: Reason) -> None:
    await rig.settle(await rig.hold(), InstructionState.REJECTED, reason=reason, order=None)
