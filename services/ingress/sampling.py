"""Keeps floods out of the log."""

from libs.common.domain.clock import Clock


class Sampler:
    """Lets one of many equal log lines through in a time, and says how many it stands for."""

    def __init__(self, clock: Clock, *, every_ms: int = 1_000) -> None:
        self._clock = clock
        self._every_ms = every_ms
        self._next_ms = clock.monotonic_ms()
        self._count = 0

    def take(self) -> int:
        """Count one occurrence; return how many to log now, 0 for none."""
        self._count += 1
        now_ms = self._clock.monotonic_ms()
        if now_ms < self._next_ms:
            return 0
        self._next_ms = now_ms + self._every_ms
        count, self._count = self._count, 0
        return count
