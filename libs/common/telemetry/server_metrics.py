"""The metrics of an HTTP server, below what its app counts."""

from prometheus_client import CollectorRegistry

from libs.common.telemetry.unlocked import LabelledCounter


class ServerMetrics:
    """What became of connections and requests that never reached the app."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._closed = LabelledCounter(
            registry,
            "bascule_connections_closed_total",
            "Connections the server closed early: `full` at once, `displaced` for another one, `late` with a request, "
            "`unread` when their answers were not taken.",
            "reason",
        )
        self._refused = LabelledCounter(
            registry,
            "bascule_requests_unreadable_total",
            "Requests that were refused before any path was looked at, by reason code.",
            "reason",
        )

    def closed(self, reason: str) -> None:
        """Count a connection that the server closed early; reasons are a fixed set."""
        self._closed.of(reason).inc()

    def refused(self, code: str) -> None:
        """Count a request that was not read to the end of its headers; codes are a fixed set."""
        self._refused.of(code).inc()
