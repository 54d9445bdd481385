"""Time, as something that is passed in."""

from typing import Final, Protocol

DAY_MS: Final = 86_400_000


class Clock(Protocol):
    """Where a process takes its time from; tests pass one that they move by hand."""

    def now_ms(self) -> int:
        """Return the wall clock, milliseconds since the epoch, UTC."""
        ...

    def monotonic_ms(self) -> int:
        """Return milliseconds that never step back, from an arbitrary start."""
        ...
