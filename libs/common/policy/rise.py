"""When something that happens now and then happens much more often than it usually does."""

from dataclasses import dataclass
from typing import Final

import msgspec

from libs.common.domain.clock import DAY_MS
from libs.common.policy.distribution import quantile

HISTORY_MS: Final = 7 * DAY_MS
"""What is usual is learned from so long: what goes on for most of a day becomes usual."""

WINDOWS_AT_MOST: Final = 2_016
"""Of the history: each is looked at in every pass, beside which no other duty of the reaper runs. It is shorter for windows
below five minutes."""

USUAL: Final = 0.9
"""Which of the windows of the history stands for what is usual."""

CALM: Final = 0.5
"""A rise is over below this share of what began it: one that hovers around its bound is told once."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """How often it happened."""

    window_ms: int
    since_ms: int
    """When counting began."""
    windows: dict[int, int] = {}
    """Window since the epoch -> how often; those without any are left out."""


@dataclass(frozen=True, slots=True)
class RiseRules:
    """What counts as a rise."""

    window_ms: int
    factor: float
    """So many times what is usual in a window."""
    least: int
    """Fewer in a window are never a rise."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How often something happened lately."""

    count: int
    """In the last window, which ends now."""
    usual: int
    """In a window, lately."""
    is_rising: bool


def counted(counts: Counts | None, at_ms: int, window_ms: int, times: int = 1) -> Counts:
    """Return the counts with one more, or several of one window.

    Args:
        counts: As they were; None, or of windows of another length: they begin anew.
        at_ms: When it happened: later than what was counted before, but for a clock that stepped back.
        window_ms: The length of a window.
        times: How often.
    """
    if counts is None or counts.window_ms != window_ms:
        counts = Counts(window_ms=window_ms, since_ms=at_ms)
    window = at_ms // window_ms
    oldest = window - _history_ms(window_ms) // window_ms
    # Later ones are of a clock that has stepped back since.
    kept = {one: number for one, number in counts.windows.items() if oldest <= one <= window}
    return Counts(
        window_ms=window_ms,
        since_ms=min(counts.since_ms, at_ms),
        windows={**kept, window: kept.get(window, 0) + times},
    )


def rate(counts: Counts | None, now_ms: int, rules: RiseRules, *, is_raised: bool) -> Rate:
    """Return how often it happens, and whether that is a rise.

    Args:
        counts: What was counted; None where nothing was.
        now_ms: The time, by the clock of what was counted.
        rules: What counts as a rise.
        is_raised: Whether it was rising before.
    """
    if counts is None or counts.window_ms != rules.window_ms:
        return Rate(0, 0, is_rising=False)
    window, into_ms = divmod(now_ms, rules.window_ms)
    # Of the window before as much as is not older than a window, as if it had come evenly.
    left = counts.windows.get(window - 1, 0) * (rules.window_ms - into_ms) // rules.window_ms
    count = counts.windows.get(window, 0) + left
    first = max(counts.since_ms, now_ms - _history_ms(rules.window_ms)) // rules.window_ms
    past = [counts.windows.get(one, 0) for one in range(first, window - 1)]
    usual = quantile(past, USUAL)
    bound = max(rules.least, rules.factor * usual)
    return Rate(count, usual, is_rising=count >= bound * (CALM if is_raised else 1.0))


def _history_ms(window_ms: int) -> int:
    return min(HISTORY_MS, WINDOWS_AT_MOST * window_ms)
