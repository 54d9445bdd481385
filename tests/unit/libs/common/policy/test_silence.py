"""When a strategy counts as silent."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.policy.length_in_words import in_words
from libs.common.policy.silence import (
    DAYS_KEPT,
    FORGET_MS,
    HOUR_MS,
    LEAST_ALERTS,
    WEEKS_KEPT,
    Habit,
    Learning,
    SilenceRules,
    Silent,
    Talking,
    UsualHours,
    awaited,
    heard,
    judge,
)

MINUTE_MS = 60_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
MONDAY = datetime(2026, 6, 1, tzinfo=UTC)
RULES = SilenceRules(factor=3.0, least_ms=30 * MINUTE_MS, learn_ms=6 * DAY_MS)


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)


def habit_of(times: Iterable[int]) -> Habit:
    habit = None
    for time in times:
        habit = heard(habit, time)
    assert habit is not None
    return habit


def every(interval: timedelta, days: int = 28) -> list[int]:
    return [ms(MONDAY + interval * n) for n in range(int(timedelta(days=days) / interval))]


def on_exchange_hours(interval: timedelta, days: int = 28) -> list[int]:
    """Return bars from 13:30 to 20:00 UTC, Monday to Friday."""
    found = []
    for day in range(days):
        start = MONDAY + timedelta(days=day, hours=13, minutes=30)
        if start.weekday() < 5:
            found += [ms(start + interval * n) for n in range(int(timedelta(hours=6.5) / interval))]
    return found


def told_after(times: list[int]) -> int:
    """Return how long after its last alert a strategy is called silent, in ms."""
    habit = habit_of(times)
    after = range(MINUTE_MS, 20 * DAY_MS, 5 * MINUTE_MS)
    return next(one for one in after if isinstance(judge(habit, times[-1] + one, RULES), Silent))


@pytest.mark.parametrize(
    ("times", "at_least", "at_most"),
    [
        (every(timedelta(minutes=1)), timedelta(minutes=30), timedelta(minutes=40)),
        (every(timedelta(minutes=15)), timedelta(minutes=40), timedelta(minutes=60)),
        (every(timedelta(hours=1)), timedelta(hours=2), timedelta(hours=4)),
        (every(timedelta(hours=4)), timedelta(hours=4), timedelta(hours=13)),
        (every(timedelta(days=1)), timedelta(days=1), timedelta(days=3, hours=1)),
        (every(timedelta(days=3.5), 56), timedelta(days=3.5), timedelta(days=11)),
    ],
)
def test_a_strategy_is_called_silent_some_pauses_after_its_last_alert(
    times: list[int], at_least: timedelta, at_most: timedelta
) -> None:
    assert at_least <= timedelta(milliseconds=told_after(times)) <= at_most


def test_one_that_trades_in_market_hours_is_missed_within_hours_of_the_session_and_at_no_other_time() -> None:
    times = on_exchange_hours(timedelta(minutes=5), 26)  # until a Friday's close
    habit = habit_of(times)
    next_session = ms(MONDAY + timedelta(days=28, hours=13, minutes=30))

    assert isinstance(judge(habit, next_session, RULES), Talking)
    assert isinstance(judge(habit, next_session + 3 * HOUR_MS, RULES), Silent)


@settings(max_examples=60, deadline=None)
@given(
    interval=st.timedeltas(timedelta(minutes=3), timedelta(days=4)),
    is_market=st.booleans(),
    jitter=st.integers(0, 30),
)
def test_whoever_keeps_its_usual_times_is_never_called_silent(
    interval: timedelta, is_market: bool, jitter: int
) -> None:
    if is_market:
        interval = min(interval, timedelta(hours=6))
    times = on_exchange_hours(interval, 42) if is_market else every(interval, 42)
    habit = None
    for n, time in enumerate(times):
        at_ms = time + n * 7_919 % (jitter + 1) * 1_000
        # Often enough: what is judged right before an alert holds for all of the pause.
        if habit is not None and time - habit.last_at_ms > RULES.least_ms:
            assert not isinstance(judge(habit, at_ms, RULES), Silent), in_words(at_ms - habit.last_at_ms)
        habit = heard(habit, at_ms)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(MINUTE_MS, 3 * DAY_MS), min_size=2, max_size=60))
def test_whoever_is_quiet_for_weeks_is_called_silent_once_it_is_known(gaps: list[int]) -> None:
    times = [ms(MONDAY)]
    for gap in gaps:
        times.append(times[-1] + gap)
    habit = habit_of(times)
    is_known = len(times) >= LEAST_ALERTS and times[-1] - times[0] >= RULES.learn_ms

    found = judge(habit, times[-1] + FORGET_MS, RULES)

    assert isinstance(found, Silent if is_known else Learning)


def test_a_set_time_holds_by_the_clock_from_the_first_moment_on() -> None:
    habit = awaited(ms(MONDAY))

    assert isinstance(judge(habit, ms(MONDAY) + HOUR_MS - 1, RULES, HOUR_MS), Talking)
    assert judge(habit, ms(MONDAY) + HOUR_MS, RULES, HOUR_MS) == Silent(HOUR_MS, "an alert every 1 h")


@pytest.mark.parametrize("alerts", [1, LEAST_ALERTS - 1])
def test_of_a_few_alerts_nothing_is_learned(alerts: int) -> None:
    times = [ms(MONDAY) + n * 2 * DAY_MS for n in range(alerts)]

    assert judge(habit_of(times), times[-1] + WEEK_MS, RULES) == Learning()


def test_before_it_was_heard_for_long_enough_nothing_is_told() -> None:
    times = every(timedelta(minutes=1), 2)

    assert judge(habit_of(times), times[-1] + DAY_MS, RULES) == Learning()


def test_one_odd_day_in_ten_changes_nothing() -> None:
    times = [one for one in every(timedelta(minutes=15)) if one // DAY_MS % 14 != 0]

    assert told_after(times) < 2 * HOUR_MS


def test_an_alert_from_before_the_last_one_adds_no_pause() -> None:
    habit = habit_of([ms(MONDAY), ms(MONDAY) + HOUR_MS])

    later = heard(habit, ms(MONDAY) + 1)

    assert (later.last_at_ms, later.gaps, later.alerts) == (habit.last_at_ms, habit.gaps, 3)


def test_what_is_kept_of_a_strategy_is_bounded() -> None:
    habit = habit_of(every(timedelta(hours=2), 365))

    assert len(habit.gaps) == DAYS_KEPT
    assert len(habit.hours) <= WEEKS_KEPT + 1
    assert habit.alerts == 365 * 12


@given(
    st.integers(0, (1 << 168) - 1),
    st.integers(0, 10 * WEEK_MS),
    st.integers(0, WEEK_MS),
    st.integers(0, WEEK_MS),
)
def test_usual_hours_add_up(hours: int, start: int, first: int, second: int) -> None:
    clock = UsualHours(hours)
    middle, end = start + first, start + first + second

    assert clock.between(start, middle) + clock.between(middle, end) == clock.between(start, end)
    assert 0 <= clock.between(start, end) <= end - start
    assert clock.between(start, start + WEEK_MS) == hours.bit_count() * HOUR_MS
    assert UsualHours((1 << 168) - 1).between(start, end) == end - start
