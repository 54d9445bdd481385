"""A clock that tests move by hand."""

from libs.common.domain.clock import Clock

START_MS = 1_780_000_000_000
"""An arbitrary moment of 2026."""


class ManualClock:
    """A `Clock` that stands still until it is told otherwise."""

    def __init__(self, now_ms: int = START_MS, monotonic_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def advance(self, by_ms: int) -> None:
        """Let time pass on both clocks."""
        if by_ms < 0:
            raise ValueError(f"time does not pass backwards: {by_ms} ms; use step_wall")
        self._now_ms += by_ms
        self._monotonic_ms += by_ms

    def step_wall(self, by_ms: int) -> None:
        """Set the wall clock forward or back, as an administrator or NTP would; the monotonic one stays."""
        self._now_ms += by_ms


_: type[Clock] = ManualClock
