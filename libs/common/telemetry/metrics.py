"""Every Prometheus metric of every service, declared once with its unit.

One class per service; its constructor registers the metrics and binds the children that are known beforehand,
so that the hot path looks nothing up. Symbols are never labels: there is no bound on them.
"""

from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

ADMISSION_BUCKETS_S: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5,
)  # fmt: skip
"""From a quarter of a millisecond: the usual floor of 5 ms would hide all of an ingress that is well."""


def new_registry() -> CollectorRegistry:
    """Return a registry that already tells about the process itself."""
    # A second series for each counter that nobody reads.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it so
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


class IngressMetrics:
    """What the ingress counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "bascule_ingress_requests",
            "Posts answered, by HTTP status and reason code.",
            ("status", "reason"),
            registry=registry,
        )
        self.seconds: Final = Histogram(
            "bascule_ingress_request_seconds",
            "From the start of a post to its answer being handed to the network, seconds.",
            buckets=ADMISSION_BUCKETS_S,
            registry=registry,
        )
        self.batch_items: Final = Histogram(
            "bascule_ingress_batch_items",
            "Alerts that shared one round trip to Redis.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.admitted: Final = self._requests.labels("200", "admitted")
        self.duplicates: Final = self._requests.labels("200", "duplicate")
        self.unauthorized: Final = self._requests.labels("401", "unauthorized")
        self.unrecorded: Final = Counter(
            "bascule_ingress_refusals_unrecorded",
            "Refused posts that could not be kept for operators.",
            registry=registry,
        )
        self.disconnects: Final = Counter(
            "bascule_ingress_disconnects",
            "Senders that left before their post was complete.",
            registry=registry,
        )
        self.is_open: Final = Gauge(
            "bascule_ingress_is_open",
            "1 while alerts are taken; 0 until Redis has been found fit.",
            registry=registry,
        )

    def refused(self, status: int, code: str) -> Counter:
        """Return the counter of one kind of refusal; codes are a fixed set."""
        return self._requests.labels(str(status), code)
