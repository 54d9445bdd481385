"""One pass of each duty: what it moves, what it says, and when it wants to come again."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from structlog.typing import EventDict

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import LaneName
from libs.common.runtime.load_settings import load_settings
from libs.common.runtime.settings import Settings
from libs.common.store.client import connect
from libs.common.store.head import Head
from libs.common.store.keys import Keys
from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from services.reaper.__main__ import duties
from services.reaper.duty import DutyLoop
from services.reaper.promote import SOONEST_S
from services.reaper.reclaim import Reclaim
from services.reaper.retire import IDLE_MS
from tests.integration.libs.common.store.lua.rig import DAY_MS, LEASE_MS
from tests.integration.services.reaper.rig import INTERVAL_MS, ReaperRig
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

DEMO = Path(__file__).parents[4] / "config" / "demo.yaml"


@pytest.fixture
def settings() -> Settings:
    return load_settings(DEMO, {})


def said(events: list[EventDict], event: str) -> list[EventDict]:
    return [one for one in events if one["event"] == event]


# Promote.


async def test_promote_sleeps_until_the_next_lane_is_due_and_never_longer_than_its_interval(rig: ReaperRig):
    assert await rig.promote() == INTERVAL_MS / 1_000
    await rig.park(await rig.hold(), 120)
    assert await rig.promote() == 0.12
    rig.now_ms += 117
    assert await rig.promote() == SOONEST_S  # 3 ms would be a busy loop
    rig.now_ms += 3
    await rig.promote()
    assert rig.count("lanes_promoted") == 1
    assert len(rig.tokens()) == 1
    await rig.park(await rig.take(), 60_000)
    assert await rig.promote() == INTERVAL_MS / 1_000


async def test_lanes_that_come_due_one_by_one_are_promoted_one_by_one(rig: ReaperRig):
    for number in range(5):
        await rig.park(await rig.hold(f"S{number}"), 100 * (number + 1))
    for number in range(5):
        pause_s = await rig.promote()
        assert rig.count("lanes_promoted") == number
        rig.now_ms += round(pause_s * 1_000)
    await rig.promote()
    assert rig.count("lanes_promoted") == 5


# Reclaim.


async def test_reclaim_comes_again_when_the_next_lease_runs_out(rig: ReaperRig):
    # It ages by Redis' own clock meanwhile, so it is long.
    lease_ms, interval_ms = 600_000, 60_000
    metrics = ReaperMetrics(CollectorRegistry())
    reclaim = Reclaim(rig.upkeep, metrics, lease_ms=lease_ms, interval_ms=interval_ms)
    hold = await rig.hold()
    assert await reclaim.run_once() == interval_ms / 1_000
    rig.lapse(hold.held.token, lease_ms - 30_000)
    assert 0 < await reclaim.run_once() <= 30
    assert rig.fence() == f"{hold.held.token}|{hold.holder}"


async def test_reclaim_gives_the_lanes_of_a_dead_worker_to_others_and_says_so(
    rig: ReaperRig, events: list[EventDict]
):
    assert await rig.reclaim() == INTERVAL_MS / 1_000
    hold, living = await rig.hold(), await rig.hold("ETH", holder="b")
    rig.lapse(hold.held.token)
    rig.now_ms += INTERVAL_MS
    await rig.reclaim()
    assert rig.count("lanes_reclaimed") == 1
    assert said(events, "lanes_reclaimed") == [
        {"event": "lanes_reclaimed", "lanes": 1, "dropped": 0, "log_level": "warning"}
    ]
    assert said(events, "instruction_reclaimed") == [
        {
            "event": "instruction_reclaimed",
            "alert_id": hold.head.alert_id,
            "account": "desk",
            "strategy": None,
            "symbol": "BTC",
            "elapsed_ms": INTERVAL_MS,
            "lost_holders": 1,
            "log_level": "warning",
        }
    ]
    assert (await rig.take("b")).head.lost_holders == 1
    assert rig.fence("desk:ETH") == f"{living.held.token}|b"


async def test_after_redis_was_away_leases_start_afresh_and_that_is_said(
    rig: ReaperRig, events: list[EventDict]
):
    await rig.reclaim()
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    rig.now_ms += LEASE_MS
    await rig.reclaim()
    assert rig.fence() == f"{hold.held.token}|a"
    assert rig.count("lanes_reclaimed") == 0
    assert rig.count("graces") == 2
    assert said(events, "leases_started_afresh")[-1]["leases"] == 1
    rig.now_ms += INTERVAL_MS
    await rig.reclaim()
    assert rig.fence() == f"{hold.held.token}|a"


async def test_a_pass_in_which_nothing_lapsed_says_nothing(rig: ReaperRig, events: list[EventDict]):
    await rig.reclaim()
    await rig.hold()
    events.clear()
    rig.now_ms += INTERVAL_MS
    await rig.reclaim()
    assert events == []


async def test_lanes_that_cannot_be_reclaimed_are_said_and_do_not_keep_others(
    rig: ReaperRig, events: list[EventDict]
):
    await rig.reclaim()
    bad, good = await rig.hold("BAD"), await rig.hold()
    rig.redis.set(rig.keys.lane(LaneName("desk:BAD")), "junk")
    for hold in (bad, good):
        rig.lapse(hold.held.token)
    rig.now_ms += INTERVAL_MS
    await rig.reclaim()
    assert rig.count("lanes_reclaimed") == 1
    assert [one["lanes"] for one in said(events, "lanes_not_reclaimed")] == [1]


# Audit.


async def test_the_audit_reissues_a_lost_token_and_says_so(rig: ReaperRig, events: list[EventDict]):
    await rig.admit()
    rig.redis.xtrim(rig.keys.ready, maxlen=0, approximate=False)
    assert await rig.audit() == INTERVAL_MS / 1_000
    assert rig.count("tokens_reissued") == 1
    assert said(events, "tokens_reissued")[0]["lanes"] == 1
    assert isinstance((await rig.take()).head, Head)
    events.clear()
    await rig.audit()
    assert (rig.count("tokens_reissued"), events) == (1, [])


async def test_the_audit_expires_what_waits_behind_a_head_that_waits(rig: ReaperRig, events: list[EventDict]):
    hold = await rig.hold(max_age_ms=600_000)
    body = b'{"alert_id":"a","account":"desk","market":"BTC","symbol":"BTCUSDT","action":"buy","strategy":"cross"}'
    behind = await rig.admit(max_age_ms=1_000, body=body)
    await rig.park(hold, 300_000)
    rig.now_ms += 1_000
    await rig.audit()
    assert rig.instruction(behind)["state"] == "EXPIRED"
    assert rig.instruction(hold.head.alert_id)["state"] == "ACTIVE"
    assert rig.count("expired_in_place") == 1
    assert said(events, "expired_in_place")[0]["instructions"] == 1
    assert said(events, "instruction_ended") == [
        {
            "event": "instruction_ended",
            "state": "EXPIRED",
            "reason": "too_old",
            "alert_id": behind,
            "account": "desk",
            "strategy": "cross",
            "symbol": "BTCUSDT",
            "elapsed_ms": 1_000,
            "log_level": "warning",
        }
    ]


async def test_what_a_reaper_does_to_a_traced_instruction_is_a_span_of_its_trace(rig: ReaperRig):
    def traced(digit: str) -> bytes:
        return b'{"traceparent":"00-%b-%b-01"}' % (digit.encode() * 32, digit.encode() * 16)

    await rig.reclaim()
    lost = await rig.hold("ETH", body=traced("a"))
    await rig.go(lost)
    rig.lapse(lost.held.token)
    waits = await rig.hold("BTC", max_age_ms=600_000)
    late = await rig.admit("BTC", max_age_ms=1_000, body=traced("c"))
    await rig.park(waits, 300_000)
    rig.now_ms += INTERVAL_MS
    await rig.reclaim()
    rig.now_ms += 1_000
    await rig.audit()
    reclaimed, expired = rig.kept.spans
    assert [span.name for span in rig.kept.spans] == ["reclaim alerts", "expire alerts"]
    for span, digit in ((reclaimed, "a"), (expired, "c")):
        assert (span.trace_id, span.parent_id) == (digit * 32, digit * 16)
        assert span.links == ((digit * 32, digit * 16),)
        assert span.attributes["bascule.account"] == "desk"
    assert reclaimed.attributes["bascule.alert_id"] == lost.head.alert_id
    assert (reclaimed.attributes["bascule.lost_holders"], reclaimed.has_failed) == (1, False)
    assert (expired.attributes["bascule.alert_id"], expired.attributes["bascule.market"]) == (late, "BTC")
    assert (expired.attributes["bascule.outcome"], expired.attributes["bascule.reason"]) == (
        "EXPIRED",
        "too_old",
    )
    assert expired.has_failed


async def test_lanes_that_cannot_be_audited_are_said_once_and_do_not_keep_others(
    rig: ReaperRig, events: list[EventDict]
):
    for market in ("BAD", "BTC"):
        hold = await rig.hold(market, max_age_ms=600_000)
        await rig.admit(market, max_age_ms=1_000)
        await rig.park(hold, 300_000)
    rig.redis.delete(rig.keys.lane(LaneName("desk:BAD")))
    rig.redis.set(rig.keys.lane(LaneName("desk:BAD")), "junk")
    rig.now_ms += 1_000
    for _ in range(3):
        await rig.audit()
    assert rig.count("expired_in_place") == 1
    assert [one["lanes"] for one in said(events, "lanes_not_audited")] == [1]
    rig.redis.delete(rig.keys.lane(LaneName("desk:BAD")))
    await rig.audit()
    assert [one["lanes"] for one in said(events, "lanes_not_audited")] == [1, 0]


# Retire and trim.


async def test_retire_deletes_the_consumer_of_a_process_that_is_gone_and_no_other(
    rig: ReaperRig, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.reaper.retire.IDLE_MS", 10)
    assert IDLE_MS > 2 * LEASE_MS
    await rig.settle(await rig.hold(), "SKIPPED", order=None)
    await rig.hold(holder="b")
    await eventually(
        lambda: min(one["idle"] for one in rig.redis.xinfo_consumers(rig.keys.ready, "workers")) > 20
    )
    assert await rig.retire() == 10.0
    assert [one["name"] for one in rig.redis.xinfo_consumers(rig.keys.ready, "workers")] == ["b"]
    assert rig.count("consumers_retired") == 1


async def test_trim_drops_what_is_past_its_retention_and_nothing_younger(rig: ReaperRig):
    now_ms = await rig.upkeep.time_ms()
    for days, key in ((8, rig.keys.journal), (6, rig.keys.journal), (31, rig.keys.dead), (29, rig.keys.dead)):
        # Whole nodes of a journal go at once.
        with rig.redis.pipeline() as pipeline:
            for number in range(200):
                pipeline.xadd(key, {"event": "x"}, id=f"{now_ms - days * DAY_MS}-{number + 1}")
            pipeline.execute()
    assert await rig.trim() == 30.0
    assert rig.redis.xlen(rig.keys.journal) == 200
    assert rig.redis.xlen(rig.keys.dead) == 200
    assert rig.count("entries_trimmed") == 400


# All together.


async def test_every_duty_runs_in_a_loop_of_its_own_and_stops_on_the_event(
    redis_server: RedisServer, clock: ManualClock, rig: ReaperRig, settings: Settings
):
    client = connect(redis_server.url, timeout_s=5)
    metrics = ReaperMetrics(CollectorRegistry())
    loops = [DutyLoop(duty, clock, metrics) for duty in duties(settings, Upkeep(client, Keys()), metrics)]
    assert sorted(loop.name for loop in loops) == ["audit", "promote", "reclaim", "retire", "trim"]
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(loop.run(stopping)) for loop in loops]
    await eventually(lambda: all(loop.is_well for loop in loops))
    # A stream that is gone takes its group along: all of them go on, and the audit makes it again.
    rig.redis.delete(rig.keys.ready)
    await eventually(lambda: rig.redis.exists(rig.keys.ready))
    await rig.admit()
    stopping.set()
    await asyncio.wait_for(asyncio.gather(*tasks), 5)
    await client.aclose()


async def test_while_redis_is_away_passes_fail_as_passing(settings: Settings):
    client = connect("unix:///nowhere/redis.sock", timeout_s=1)
    for duty in duties(settings, Upkeep(client, Keys()), ReaperMetrics(CollectorRegistry())):
        with pytest.raises(StoreUnavailable):
            await duty.run_once()
    await client.aclose()
