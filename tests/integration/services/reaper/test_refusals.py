"""Counts of refused posts, and the rise that they show."""

from structlog.typing import EventDict

from libs.common.domain.clock import DAY_MS
from libs.common.policy.alarms import AlarmKind
from libs.common.runtime.durations import DurationMs
from libs.common.runtime.watchdog_settings import RefusalSettings
from services.reaper.refusals import Refusals
from tests.integration.services.reaper.watchdog import Watchdog, said


def refusals(watchdog: Watchdog) -> Refusals:
    raising, turn = watchdog.raising(AlarmKind.REFUSALS), watchdog.turn("one")
    shard = watchdog.shards.first
    return Refusals(
        shard, watchdog.watch, raising, turn, RefusalSettings(window_ms=DurationMs(60_000), least=5)
    )


def refuse(watchdog: Watchdog, count: int, *, at_ms: int | None = None) -> None:
    for n in range(count):
        place = "*" if at_ms is None else f"{at_ms}-{n}"
        fields = {"event": f"e{n}", "webhook": "default", "status": "422", "code": "invalid_action"}
        watchdog.rig.redis.xadd(watchdog.rig.keys.refused, fields, id=place)


async def test_a_rise_is_told_once_with_its_commonest_codes(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    duty = refusals(watchdog)
    await duty.run_once()
    assert await watchdog.raised() == {}
    refuse(watchdog, 5)
    for _ in range(2):
        await duty.run_once()

    [detail] = (await watchdog.raised()).values()
    assert detail == "5 posts refused in 1 min, usually at most 0; most: invalid_action (5)"
    assert said(events) == [("alarm_raised", "")]


async def test_after_a_clock_stepped_back_a_rise_is_told_all_the_same(watchdog: Watchdog) -> None:
    duty = refusals(watchdog)
    ahead_ms = await watchdog.now_ms() + 30 * DAY_MS
    refuse(watchdog, 1, at_ms=ahead_ms)
    await duty.run_once()
    # What a stream without an earlier time left makes of the time now.
    refuse(watchdog, 5, at_ms=ahead_ms + 1)
    await duty.run_once()

    [detail] = (await watchdog.raised()).values()
    assert detail.startswith("6 posts refused")
