"""The ingress's metrics."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.common.telemetry.labelled import labelled_counter

BUCKETS_S: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5,
)  # fmt: skip
"""From a quarter of a millisecond: the usual floor of 5 ms would hide all of an ingress that is well."""


class IngressMetrics:
    """What became of posts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._posts = labelled_counter(
            registry,
            "bascule_posts_total",
            "Posts answered, by HTTP status and reason code.",
            "status",
            "reason",
        )
        self._admitted = self._posts("200", "admitted")
        self._duplicates = self._posts("200", "duplicate")
        self._seconds = Histogram(
            "bascule_post_seconds",
            "From the start of a post to its answer being handed to the network.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._abandoned = Counter(
            "bascule_posts_abandoned_total",
            "Posts whose sender left before they were complete.",
            registry=registry,
        )
        self._unrecorded = Counter(
            "bascule_refusals_unrecorded_total",
            "Refused posts that could not be kept for operators.",
            registry=registry,
        )
        self._open = Gauge(
            "bascule_door_open",
            "1 while alerts are taken; 0 until Redis has been found fit, and while its memory is full.",
            registry=registry,
        )
        self._memory = Gauge(
            "bascule_redis_memory_share",
            "What Redis uses of its limit, or of its machine's memory without one; at limits.memory alerts are refused.",
            registry=registry,
        )

    def admitted(self) -> None:
        """Count an alert that became durable."""
        self._admitted.inc()

    def duplicate(self) -> None:
        """Count an alert that was durable before."""
        self._duplicates.inc()

    def refused(self, status: int, code: str) -> None:
        """Count a post that is not taken; codes are a fixed set."""
        self._posts(str(status), code).inc()

    def answered(self, took_s: float) -> None:
        """Note how long a post took, whatever its answer."""
        self._seconds.observe(took_s)

    def abandoned(self) -> None:
        """Count a post whose sender left."""
        self._abandoned.inc()

    def unrecorded(self) -> None:
        """Count a refusal that could not be kept."""
        self._unrecorded.inc()

    def opened(self) -> None:
        """Note that alerts are taken from now on."""
        self._open.set(1)

    def closed(self) -> None:
        """Note that alerts are refused until Redis is fit again, or has room."""
        self._open.set(0)

    def watch_memory(self, share: Callable[[], float]) -> None:
        """Show from now on what share of its memory Redis uses."""
        self._memory.set_function(share)
