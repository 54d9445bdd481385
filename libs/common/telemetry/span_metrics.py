"""The metrics of tracing; shown where it is on."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter

from libs.common.telemetry.unlocked import LabelledCounter

QUEUE_FULL: Final = "queue_full"
NOT_EXPORTED: Final = "not_exported"
"""The collector did not take them."""
EXPORTER_LOST: Final = "exporter_lost"
"""They were with an exporter that ended."""


class SpanMetrics:
    """What became of spans."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._exported = Counter(
            "bascule_spans_exported_total", "Spans that a collector took.", registry=registry
        )
        self._dropped = LabelledCounter(
            registry, "bascule_spans_dropped_total", "Spans that no collector got, by reason.", "reason"
        )
        for reason in (QUEUE_FULL, NOT_EXPORTED, EXPORTER_LOST):
            self._dropped.of(reason)

    def exported(self, spans: int) -> None:
        """Count spans that a collector took."""
        self._exported.inc(spans)

    def dropped(self, reason: str, spans: int = 1) -> None:
        """Count spans that are lost; reasons are a fixed set."""
        self._dropped.of(reason).inc(spans)
