"""By when a call must be executed so that its caller still waits for it, in Redis' own time."""

from typing import Final

from libs.common.domain.clock import Clock

SLACK_MS: Final = 500
"""How much later a call may be executed than its time-out says: for rounding, and clocks that drift apart."""


class FlightTime:
    """Knows Redis' clock from its last answer.

    A call that stood in a socket while Redis stood still is executed when Redis goes on, long after its caller was
    told that it failed. What must not happen then carries a time that only Redis can hold against its own.
    """

    def __init__(self, clock: Clock, timeout_ms: int) -> None:
        """Args:
        clock: Monotonic.
        timeout_ms: After this time a call counts as failed.
        """
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._ahead_ms: int | None = None

    def not_after_ms(self) -> int | None:
        """Return the latest time for a call made now; None before the first answer."""
        if self._ahead_ms is None:
            return None
        return self._clock.monotonic_ms() + self._ahead_ms + self._timeout_ms + SLACK_MS

    def departs(self) -> int:
        """Return the time of departure, for `learn`."""
        return self._clock.monotonic_ms()

    def learn(self, redis_now_ms: int, departed_ms: int) -> None:
        """Note what Redis' clock said to a call.

        Held against the departure, the bound is too generous by the way there, so that no call is late by mistake. Of all
        answers the one with the shortest way counts, until another shows that one of the clocks has moved.
        """
        at_most_ms = redis_now_ms - departed_ms
        at_least_ms = redis_now_ms - self._clock.monotonic_ms()
        if self._ahead_ms is None or not at_least_ms <= self._ahead_ms <= at_most_ms:
            self._ahead_ms = at_most_ms
