"""Alarms are raised and cleared once, whatever number of reapers sees the same."""

from libs.common.policy.alarms import AlarmKind, Change
from libs.common.store.alarms import Alarm, Alarms, Notice
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

KIND = AlarmKind.SILENCE


def alarms(rig: Rig) -> Alarms:
    return Alarms(rig.client, rig.keys, now_ms=rig.now_ms)


async def note(rig: Rig, change: Change, subject: str = "trend", detail: str = "why | so") -> bool:
    return await alarms(rig).note(KIND, subject, change, detail)


async def test_of_all_who_raise_an_alarm_one_alone_is_told_that_it_did(rig: Rig) -> None:
    told = [await note(rig, Change.RAISED) for _ in range(3)]

    assert told == [True, False, False]
    assert rig.journal() == [("ALARM", "raised")]
    assert await alarms(rig).raised() == [Alarm(KIND, "trend", "why | so", START_MS, START_MS)]


async def test_of_all_who_clear_an_alarm_one_alone_is_told_that_it_did(rig: Rig) -> None:
    await note(rig, Change.RAISED)
    told = [await note(rig, Change.CLEARED, detail="heard") for _ in range(2)]

    assert told == [True, False]
    assert rig.journal() == [("ALARM", "raised"), ("ALARM", "cleared")]
    assert await alarms(rig).raised() == []


async def test_what_was_never_raised_is_not_cleared(rig: Rig) -> None:
    assert not await note(rig, Change.CLEARED)
    assert rig.journal() == []


async def test_an_alarm_that_is_raised_again_is_confirmed_and_stays_as_it_was(rig: Rig) -> None:
    await note(rig, Change.RAISED)
    rig.now_ms += 5_000
    await note(rig, Change.RAISED, detail="other words")

    (alarm,) = await alarms(rig).raised()

    assert (alarm.detail, alarm.raised_at_ms, alarm.confirmed_at_ms) == (
        "why | so",
        START_MS,
        START_MS + 5_000,
    )


async def test_subjects_hold_what_they_hold(rig: Rig) -> None:
    for subject in ("", "a:b|c", "näher ✓"):
        await note(rig, Change.RAISED, subject)

    assert {one.subject for one in await alarms(rig).raised()} == {"", "a:b|c", "näher ✓"}


async def test_notices_are_listed_newest_first(rig: Rig) -> None:
    await note(rig, Change.RAISED)
    await note(rig, Change.CLEARED, detail="heard")

    newest, oldest = await alarms(rig).newest_notices(5)

    assert isinstance(newest, Notice)
    assert (newest.change, newest.subject, newest.detail) == ("cleared", "trend", "heard")
    assert oldest.change == "raised"
    assert await alarms(rig).newest_notices(1) == [newest]


async def test_an_alarm_whose_reply_was_lost_is_in_the_journal_once(rig: Rig) -> None:
    await rig.lose_reply("alarm", lambda: note(rig, Change.RAISED))

    assert rig.journal() == [("ALARM", "raised")]


async def test_at_the_memory_limit_alarms_are_raised_all_the_same(rig: Rig) -> None:
    with rig.memory_limit_reached():
        assert await note(rig, Change.RAISED)
