"""Clocks of reapers beside that of Redis."""

from structlog.typing import EventDict

from libs.common.policy.alarms import AlarmKind
from services.reaper.skew import GONE_MS, Skew
from tests.integration.services.reaper.watchdog import Watchdog, said
from tests.support.clock import ManualClock


def skew(watchdog: Watchdog, clock: ManualClock, machine: str) -> Skew:
    return Skew(
        watchdog.rig.upkeep,
        watchdog.raising(AlarmKind.SKEW),
        clock,
        watchdog.metrics,
        shard=0,
        machine=machine,
        most_ms=60_000,
    )


async def test_a_machine_whose_clock_is_off_is_told_and_another_one_does_not_clear_it(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    now_ms = await watchdog.now_ms()
    slow, right = ManualClock(now_ms - 600_000), ManualClock(now_ms)
    await skew(watchdog, slow, "slow").run_once()
    await skew(watchdog, right, "right").run_once()

    assert set(await watchdog.raised()) == {"slow"}
    slow.step_wall(600_000)
    await skew(watchdog, slow, "slow").run_once()

    assert said(events) == [("alarm_raised", "slow"), ("alarm_cleared", "slow")]
    found_s = watchdog.registry.get_sample_value("bascule_redis_clock_skew_seconds")
    assert found_s is not None
    assert abs(found_s) < 60


async def test_the_alarm_of_a_machine_that_is_gone_is_cleared_by_another(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    now_ms = await watchdog.now_ms()
    long_ago = f"{now_ms - GONE_MS - 1}|{now_ms - GONE_MS - 1}|words"
    watchdog.rig.redis.hset(watchdog.rig.keys.alarms, "skew:gone", long_ago)

    await skew(watchdog, ManualClock(now_ms), "right").run_once()

    assert said(events) == [("alarm_cleared", "gone")]
