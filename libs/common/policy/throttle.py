"""Whether one more may come in now, under a rate: the generic cell rate algorithm."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Let:
    """It may."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """It may not yet."""

    retry_after_ms: int


Throttling = Let | Throttled


class Throttle:
    """Lets in so many in a time, any number of them at once after a pause."""

    def __init__(self, count: int, per_ms: int) -> None:
        """Args:
        count: How many, at least 1.
        per_ms: In which time.
        """
        self._interval_ms = per_ms / count
        self._per_ms = per_ms
        self._full_at_ms = 0.0

    def ask(self, now_ms: int) -> Throttling:
        """Count one in, or say when to come back.

        Args:
            now_ms: By a clock that never steps back.
        """
        next_ms = max(self._full_at_ms, now_ms) + self._interval_ms
        ahead_ms = next_ms - now_ms - self._per_ms
        # A hair of rounding must not cost the last of the count.
        if ahead_ms > 1e-6 * self._per_ms:
            return Throttled(max(1, round(ahead_ms)))
        self._full_at_ms = next_ms
        return Let()
