"""Says once that Redis is away and once that it is back, whatever number of loops of a process notice."""

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreUnavailable
from libs.common.telemetry.logs import get_logger


def is_outage(error: Exception) -> bool:
    """Return whether an error says of Redis no more than that it did not answer: `redis_lost` is said of it.

    That somebody is not let in is another matter, which nobody else may tell of.
    """
    return type(error) is StoreUnavailable


class Outage:
    """Of one shard in one process: begins with the first loop that fails, and ends when all that failed have succeeded."""

    def __init__(self, clock: Clock, *, shard: int) -> None:
        """Args:
        clock: Monotonic, for how long it lasted.
        shard: Stands on both lines.
        """
        self._clock = clock
        self._shard = shard
        self._waiting: set[str] = set()
        """Loops whose last call failed."""
        self._lost_at_ms = 0
        self._answered_at_ms: int | None = None
        """The first answer since the last failure."""

    def covers(self, who: str, error: Exception) -> bool:
        """Note that a loop failed; return whether that is said here, so that the loop need not.

        Args:
            who: The loop; it must tell of its next success with `answered`.
            error: Why.
        """
        if not is_outage(error):
            self.answered(who)
            return False
        if not self._waiting:
            self._lost_at_ms = self._clock.monotonic_ms()
            get_logger().warning("redis_lost", shard=self._shard, loop=who, error=str(error))
        self._waiting.add(who)
        self._answered_at_ms = None
        return True

    def answered(self, who: str) -> None:
        """Note that a loop succeeded."""
        if who not in self._waiting:
            return
        self._waiting.discard(who)
        now_ms = self._clock.monotonic_ms()
        if self._answered_at_ms is None:
            self._answered_at_ms = now_ms
        if not self._waiting:
            get_logger().info(
                "redis_back", shard=self._shard, away_ms=self._answered_at_ms - self._lost_at_ms
            )
