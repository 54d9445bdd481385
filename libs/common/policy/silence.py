"""When a strategy has been quiet for longer than it usually is, by the times of its alerts.

What is usual is learned in two ways. The hours of the week in which a strategy was heard during the last five weeks are its
usual hours; a gap is measured in these, so that nights and weekends outside a market's hours take no time. And of each
day the longest gaps that ended on it are kept, for four weeks of such days: their upper range is its usual gap.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from libs.common.domain.clock import DAY_MS
from libs.common.policy.distribution import quantile
from libs.common.policy.length_in_words import in_words

HOUR_MS: Final = 3_600_000
WEEK_HOURS: Final = 168
WEEKS_KEPT: Final = 5
"""The one that runs and four before it: hours that are not usual any more are forgotten within them."""
DAYS_KEPT: Final = 28
GAPS_OF_A_DAY: Final = 3
"""The longest by the clock; which of them is the longest in usual hours is not known until these are learned."""
USUAL: Final = 0.9
"""Which of the longest gaps of its days is a strategy's usual one: one day in ten may be an odd one."""
LEAST_ALERTS: Final = 8
"""Fewer say nothing of a habit."""
FORGET_MS: Final = 35 * DAY_MS
"""After so long nobody waits for a strategy any more."""


class Habit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the times at which a strategy was heard."""

    first_at_ms: int
    """When it was first heard, or first waited for."""
    last_at_ms: int
    alerts: int = 0
    hours: dict[int, str] = {}
    """Week since the epoch -> the hours of that week in which it was heard: 168 bits as hexadecimal digits."""
    gaps: dict[int, tuple[tuple[int, int], ...]] = {}
    """Day since the epoch -> from when to when the longest gaps lasted that ended on it, ms."""


@dataclass(frozen=True, slots=True)
class SilenceRules:
    """What counts as silence where nothing is set."""

    factor: float
    """So many usual gaps."""
    least_ms: int
    """Shorter is never silence."""
    learn_ms: int
    """How long a strategy must have been heard before its habit counts."""


@dataclass(frozen=True, slots=True)
class Silent:
    """It should have been heard."""

    quiet_ms: int
    """By the clock."""
    expected: str
    """What was expected, in words."""


@dataclass(frozen=True, slots=True)
class Talking:
    """It was heard lately enough."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Too little is known of it to tell."""


Judgement = Silent | Talking | Learning


class UsualHours:
    """Measures time by a clock that runs in some hours of the week alone."""

    def __init__(self, hours: int) -> None:
        """Args:
        hours: A bit for each of the 168 hours since the week began, as weeks are counted from the epoch.
        """
        self._runs = [bool(hours >> hour & 1) for hour in range(WEEK_HOURS)]
        self._before = [0]
        for runs in self._runs:
            self._before.append(self._before[-1] + runs)

    def between(self, from_ms: int, to_ms: int) -> int:
        """Return how long it ran between two times, ms."""
        return self._until(to_ms) - self._until(from_ms)

    def _until(self, at_ms: int) -> int:
        hours, rest_ms = divmod(at_ms, HOUR_MS)
        weeks, hour = divmod(hours, WEEK_HOURS)
        return (weeks * self._before[-1] + self._before[hour]) * HOUR_MS + rest_ms * self._runs[hour]


def awaited(at_ms: int) -> Habit:
    """Return the habit of a strategy that was never heard, and is waited for from now on."""
    return Habit(first_at_ms=at_ms, last_at_ms=at_ms)


def not_later(habit: Habit, now_ms: int) -> Habit:
    """Return the habit as of a clock that has stepped back: nobody was heard later than now."""
    if habit.last_at_ms <= now_ms:
        return habit
    return msgspec.structs.replace(habit, first_at_ms=min(habit.first_at_ms, now_ms), last_at_ms=now_ms)


def heard(habit: Habit | None, at_ms: int) -> Habit:
    """Return the habit with one more alert.

    Args:
        habit: As it was; None for the first alert.
        at_ms: When it came. One from before the last adds no gap.
    """
    if habit is None:
        habit = awaited(at_ms)
    week, hour = divmod(at_ms // HOUR_MS, WEEK_HOURS)
    hours = habit.hours
    before = int(hours.get(week, "0"), 16)
    if not before >> hour & 1:
        newest = max(week, *hours) if hours else week
        kept = {one: bits for one, bits in hours.items() if one > newest - WEEKS_KEPT}
        hours = {**kept, week: f"{before | 1 << hour:x}"}
    gaps = habit.gaps
    if habit.alerts and at_ms > habit.last_at_ms:
        gaps = _with_gap(gaps, (habit.last_at_ms, at_ms))
    return Habit(
        first_at_ms=habit.first_at_ms if habit.alerts else at_ms,
        last_at_ms=max(habit.last_at_ms, at_ms),
        alerts=habit.alerts + 1,
        hours=hours,
        gaps=gaps,
    )


def judge(habit: Habit, now_ms: int, rules: SilenceRules, set_ms: int | None = None) -> Judgement:
    """Return whether a strategy is silent.

    Args:
        habit: When it was heard.
        now_ms: The time, by the clock of the habit's times.
        rules: What counts where nothing is set.
        set_ms: So long a silence is one, by the clock, whatever was learned.
    """
    quiet_ms = now_ms - habit.last_at_ms
    if set_ms is not None:
        return Silent(quiet_ms, f"an alert every {in_words(set_ms)}") if quiet_ms >= set_ms else Talking()
    known_ms = habit.last_at_ms - habit.first_at_ms
    if habit.alerts < LEAST_ALERTS or known_ms < rules.learn_ms or not habit.gaps:
        return Learning()
    if quiet_ms < rules.least_ms:
        return Talking()
    clock = UsualHours(_bits(habit))
    usual_ms = usual_gap_ms(habit, clock)
    if clock.between(habit.last_at_ms, now_ms) >= max(rules.least_ms, rules.factor * usual_ms):
        return Silent(quiet_ms, f"an alert within {in_words(usual_ms)} of its usual hours")
    # Its hours may be known in part only, and a new gap may fall between them.
    longest_ms = max(end - start for day in habit.gaps.values() for start, end in day)
    if quiet_ms >= max(rules.least_ms, rules.factor * longest_ms):
        return Silent(quiet_ms, f"an alert within {in_words(longest_ms)}, its longest gap so far")
    return Talking()


def usual_gap_ms(habit: Habit, clock: UsualHours) -> int:
    """Return the usual gap between two alerts, in usual hours; 0 where none is known."""
    longest = [max(clock.between(*gap) for gap in day) for day in habit.gaps.values()]
    return quantile(longest, USUAL) if longest else 0


def _bits(habit: Habit) -> int:
    bits = 0
    for week in habit.hours.values():
        bits |= int(week, 16)
    return bits


def _with_gap(
    gaps: dict[int, tuple[tuple[int, int], ...]], gap: tuple[int, int]
) -> dict[int, tuple[tuple[int, int], ...]]:
    start, end = gap
    day = end // DAY_MS
    known = gaps.get(day, ())
    if len(known) == GAPS_OF_A_DAY and end - start <= known[-1][1] - known[-1][0]:
        return gaps
    longest = sorted((*known, gap), key=lambda one: one[0] - one[1])[:GAPS_OF_A_DAY]
    found = {**gaps, day: tuple(longest)}
    for old in sorted(found)[:-DAYS_KEPT]:
        del found[old]
    return found
