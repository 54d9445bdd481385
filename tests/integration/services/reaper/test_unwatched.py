"""Alarms that were raised by what is watched no more."""

from structlog.typing import EventDict

from libs.common.policy.alarms import AlarmKind
from services.reaper.unwatched import Unwatched
from tests.integration.services.reaper.watchdog import Watchdog, said


async def test_an_alarm_of_what_is_watched_no_more_is_cleared(
    watchdog: Watchdog, events: list[EventDict]
) -> None:
    raising = {kind: watchdog.raising(kind) for kind in AlarmKind}
    await raising[AlarmKind.SKEW].raise_("here", "2 s ahead")
    await raising[AlarmKind.SILENCE].raise_("trend", "not heard for 5 h")
    del raising[AlarmKind.SILENCE]

    await Unwatched(watchdog.alarms, raising).run_once()

    assert list(await watchdog.raised()) == ["trend"]
    assert said(events)[-1] == ("alarm_cleared", "here")
