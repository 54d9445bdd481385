"""The ingress's metrics."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from libs.common.telemetry.unlocked import Histogram, LabelledCounter

BUCKETS_S: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5,
)  # fmt: skip
"""From a quarter of a millisecond: the usual floor of 5 ms would hide all of an ingress that is well."""

WATCHED: Final = (
    ("401", "unauthorized"),
    ("401", "bad_signature"),
    ("401", "no_certificate"),
    ("429", "too_many"),
    ("500", "internal"),
    ("503", "not_durable"),
    ("503", "memory_full"),
    ("503", "lane_full"),
)
"""Shown from the start, so that the first of them is a rise: a series that appears with its first count is none."""


class IngressMetrics:
    """What became of posts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._posts = LabelledCounter(
            registry,
            "bascule_posts_total",
            "Posts answered, by HTTP status and reason code.",
            "status",
            "reason",
        )
        for status, reason in WATCHED:
            self._posts.of(status, reason)
        self._admitted = self._posts.of("200", "admitted")
        self._duplicates = self._posts.of("200", "duplicate")
        self._seconds = Histogram(
            registry,
            "bascule_post_seconds",
            "From the start of a post to its answer being handed to the network.",
            BUCKETS_S,
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
        open_doors = Gauge(
            "bascule_door_open",
            "1 while alerts are taken; 0 until Redis has been found fit, and while its memory is full. Of several shards: all.",
            registry=registry,
        )
        open_doors.set_function(
            lambda: float(bool(self._doors) and all(is_open() for is_open, _ in self._doors))
        )
        memory = Gauge(
            "bascule_redis_memory_share",
            "What Redis uses of its limit, or of its machine's memory without one; at limits.memory alerts are refused. Of several shards: the fullest.",
            registry=registry,
        )
        memory.set_function(lambda: max((share() for _, share in self._doors), default=0.0))
        self._doors: list[tuple[Callable[[], bool], Callable[[], float]]] = []

    def admitted(self) -> None:
        """Count an alert that became durable."""
        self._admitted.inc()

    def duplicate(self) -> None:
        """Count an alert that was durable before."""
        self._duplicates.inc()

    def refused(self, status: int, code: str) -> None:
        """Count a post that is not taken; codes are a fixed set."""
        self._posts.of(str(status), code).inc()

    def answered(self, took_s: float) -> None:
        """Note how long a post took, whatever its answer."""
        self._seconds.observe(took_s)

    def abandoned(self) -> None:
        """Count a post whose sender left."""
        self._abandoned.inc()

    def unrecorded(self) -> None:
        """Count a refusal that could not be kept."""
        self._unrecorded.inc()

    def watch_door(self, is_open: Callable[[], bool], share: Callable[[], float]) -> None:
        """Show from now on whether a shard takes alerts, and what share of its memory it uses; of several the worst."""
        self._doors.append((is_open, share))
