"""The reaper's metrics."""

from prometheus_client import CollectorRegistry, Counter

from libs.common.telemetry.unlocked import LabelledCounter


class ReaperMetrics:
    """What its passes found."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._promoted = Counter(
            "bascule_lanes_promoted_total", "Parked lanes that came due.", registry=registry
        )
        self._reclaimed = Counter(
            "bascule_lanes_reclaimed_total", "Lanes whose holder stopped renewing.", registry=registry
        )
        self._graces = Counter(
            "bascule_graces_total",
            "Times that all leases started afresh, after Redis was away.",
            registry=registry,
        )
        self._reissued = Counter(
            "bascule_tokens_reissued_total", "Lost tokens found by the audit.", registry=registry
        )
        self._expired = Counter(
            "bascule_expired_in_place_total",
            "Instructions that expired behind a waiting head.",
            registry=registry,
        )
        self._retired = Counter(
            "bascule_consumers_retired_total", "Consumers of gone processes.", registry=registry
        )
        self._trimmed = Counter(
            "bascule_entries_trimmed_total",
            "Journal entries and dead letters past their retention.",
            registry=registry,
        )
        self._passes = LabelledCounter(
            registry, "bascule_duty_passes_total", "Passes that were made.", "duty"
        )
        self._failures = LabelledCounter(
            registry, "bascule_duty_failures_total", "Passes that failed.", "duty"
        )

    def promoted(self, lanes: int) -> None:
        """Count parked lanes that came due."""
        self._promoted.inc(lanes)

    def reclaimed(self, lanes: int) -> None:
        """Count lanes whose holder stopped renewing."""
        self._reclaimed.inc(lanes)

    def grace(self) -> None:
        """Count that all leases started afresh."""
        self._graces.inc()

    def reissued(self, tokens: int) -> None:
        """Count lost tokens that the audit found."""
        self._reissued.inc(tokens)

    def expired(self, instructions: int) -> None:
        """Count instructions that expired behind a waiting head."""
        self._expired.inc(instructions)

    def retired(self, consumers: int) -> None:
        """Count consumers of gone processes."""
        self._retired.inc(consumers)

    def trimmed(self, entries: int) -> None:
        """Count entries past their retention."""
        self._trimmed.inc(entries)

    def passed(self, duty: str, passes: int = 1) -> None:
        """Count passes that were made; none, to have the duty shown before the first."""
        self._passes.of(duty).inc(passes)

    def failed(self, duty: str, passes: int = 1) -> None:
        """Count passes that failed; none, to have the duty shown before the first failure."""
        self._failures.of(duty).inc(passes)
