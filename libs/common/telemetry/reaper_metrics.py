"""The reaper's metrics."""

from prometheus_client import CollectorRegistry, Counter


class ReaperMetrics:
    """What its passes found."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.promoted = Counter(
            "bascule_lanes_promoted_total", "Parked lanes that came due.", registry=registry
        )
        self.reclaimed = Counter(
            "bascule_lanes_reclaimed_total", "Lanes whose holder stopped renewing.", registry=registry
        )
        self.graces = Counter(
            "bascule_graces_total",
            "Times that all leases started afresh, after Redis was away.",
            registry=registry,
        )
        self.healed = Counter(
            "bascule_tokens_reissued_total", "Lost tokens found by the audit.", registry=registry
        )
        self.expired = Counter(
            "bascule_expired_in_place_total",
            "Instructions that expired behind a waiting head.",
            registry=registry,
        )
        self.retired = Counter(
            "bascule_consumers_retired_total", "Consumers of gone processes.", registry=registry
        )
        self.trimmed = Counter(
            "bascule_entries_trimmed_total",
            "Journal entries and dead letters past their retention.",
            registry=registry,
        )
        self.failures = Counter(
            "bascule_reaper_failures_total", "Passes that failed.", ("duty",), registry=registry
        )
