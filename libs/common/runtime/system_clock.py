"""The machine's clocks."""

import time


class SystemClock:
    """A `Clock` that tells the real time."""

    def now_ms(self) -> int:
        """Return the wall clock, milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        """Return milliseconds that never step back, from an arbitrary start."""
        return time.monotonic_ns() // 1_000_000
