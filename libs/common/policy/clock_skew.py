"""How far a machine's clock is from that of Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CALM: Final = 0.5
"""A skew is over below this share of its bound: one that hovers around it is told once."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One asking for Redis' time; all by the wall clock, ms since the epoch."""

    sent_ms: int
    redis_ms: int
    received_ms: int

    @property
    def trip_ms(self) -> int:
        """Return how long the answer took."""
        return self.received_ms - self.sent_ms


def skew_ms(samples: Sequence[Sample]) -> float | None:
    """Return by how much the clock of Redis is ahead of ours, ms, taken from the quickest answer.

    It is wrong by half of that answer's trip at most.

    Returns:
        Below 0 where ours is ahead; None where our clock was set back in the middle of each.
    """
    usable = [sample for sample in samples if sample.trip_ms >= 0]
    if not usable:
        return None
    best = min(usable, key=lambda sample: sample.trip_ms)
    return best.redis_ms - (best.sent_ms + best.received_ms) / 2


def is_skewed(skew_ms: float, *, most_ms: int, was_skewed: bool) -> bool:
    """Return whether clocks are too far apart.

    Args:
        skew_ms: How far.
        most_ms: How far they may be apart.
        was_skewed: Whether they were before.
    """
    return abs(skew_ms) > most_ms * (CALM if was_skewed else 1.0)
