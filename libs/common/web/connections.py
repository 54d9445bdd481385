"""How many connections a server holds at once, and which of them makes room for a new one."""

import resource
import time
from typing import Final, Protocol

from libs.common.telemetry.server_metrics import ServerMetrics

RESERVED_DESCRIPTORS: Final = 64
"""Kept free of connections: for Redis, logs, and the ops port."""

MAX_CONNECTIONS: Final = 4_096
"""Where the system would allow more: each may hold some hundred kilobytes."""

_FEWEST_CONNECTIONS: Final = 16


class Closable(Protocol):
    """A connection, as far as it is chosen among others."""

    idle_since: int
    """Which answer of the server it was that left nothing more to do; 0 while something is under way."""

    def look(self, now_s: float) -> None:
        """Close it, if it has owed the same thing for too long."""

    def close_early(self, reason: str) -> None:
        """Close it at once, whatever is under way."""


class Connections:
    """All connections of one server, within its bounds."""

    def __init__(self, metrics: ServerMetrics, max_connections: int | None = None) -> None:
        """Args:
        metrics: Count what is closed and refused.
        max_connections: None takes what the descriptors of the process allow.
        """
        self.metrics = metrics
        self.open: set[Closable] = set()
        # Those that never sent a whole request, oldest first.
        self._strangers: dict[Closable, None] = {}
        self._max = max_connections

    def opened(self, connection: Closable) -> None:
        """Take a new connection; where there is no room, one goes: the oldest stranger, the longest idle, or itself."""
        if len(self.open) >= self._limit():
            other = next(iter(self._strangers), None) or self._longest_idle()
            if other is None:
                connection.close_early("full")
                return
            other.close_early("displaced")
        self.open.add(connection)
        self._strangers[connection] = None

    def proved(self, connection: Closable) -> None:
        """Note that it sent a whole request."""
        self._strangers.pop(connection, None)

    def closed(self, connection: Closable) -> None:
        """Forget a connection."""
        self.open.discard(connection)
        self._strangers.pop(connection, None)

    def look(self) -> None:
        """Close what is late. To be called a few times a second."""
        now_s = time.monotonic()
        for connection in list(self.open):
            connection.look(now_s)

    def _limit(self) -> int:
        if self._max is not None:
            return self._max
        # Asked each time: it is cheap, and operators may change it while the process runs.
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return MAX_CONNECTIONS
        return min(MAX_CONNECTIONS, max(_FEWEST_CONNECTIONS, soft - RESERVED_DESCRIPTORS))

    def _longest_idle(self) -> Closable | None:
        idle = [connection for connection in self.open if connection.idle_since]
        return min(idle, key=lambda connection: connection.idle_since, default=None)
