"""The relay's metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from libs.common.telemetry.ingress_metrics import BUCKETS_S
from libs.common.telemetry.unlocked import LabelledCounter

PASSED_ON: Final = "passed_on"
"""The reason code of an answer that is the upstream's."""


class RelayMetrics:
    """What became of posts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._posts = LabelledCounter(
            registry,
            "bascule_relay_posts_total",
            "Posts answered, by HTTP status and reason code; `passed_on` is the upstream's own answer.",
            "status",
            "reason",
        )
        self._seconds = Histogram(
            "bascule_relay_post_seconds",
            "From the start of a post to its answer being handed to the network.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._abandoned = Counter(
            "bascule_relay_posts_abandoned_total",
            "Posts whose sender left before they were complete.",
            registry=registry,
        )

    def passed_on(self, status: int) -> None:
        """Count a post that the upstream answered."""
        self._posts.of(str(status), PASSED_ON).inc()

    def refused(self, status: int, code: str) -> None:
        """Count a post that the relay answered itself; codes are a fixed set."""
        self._posts.of(str(status), code).inc()

    def answered(self, took_s: float) -> None:
        """Note how long a post took, whatever its answer."""
        self._seconds.observe(took_s)

    def abandoned(self) -> None:
        """Count a post whose sender left."""
        self._abandoned.inc()
