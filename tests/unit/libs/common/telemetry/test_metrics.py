"""Metrics as their registries declare them, and as `docs/metrics.md` shows them to users."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from libs.common.telemetry.census_metrics import GAUGES, LABELLED, LETTERS, CensusFigures, CensusMetrics
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.relay_metrics import RelayMetrics
from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.telemetry.span_metrics import SpanMetrics
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from libs.common.telemetry.worker_metrics import WorkerMetrics
from tests.support.tree import ROOT

DOCUMENT = ROOT / "docs" / "metrics.md"

SERVICES: Mapping[str, tuple[Callable[[CollectorRegistry], object], ...]] = {
    "Ingress": (IngressMetrics, ServerMetrics),
    "Worker": (WorkerMetrics,),
    "Reaper": (ReaperMetrics, CensusMetrics, WatchdogMetrics),
    "Relay": (RelayMetrics, ServerMetrics),
    "All that are traced": (SpanMetrics,),
}

UNITS = {
    "_timestamp_seconds": "seconds since the epoch",
    "_seconds": "seconds",
    "_share": "0 to 1",
    "_share_left": "0 to 1",
    "_up": "0 or 1",
    "_durable": "0 or 1",
    "_open": "0 or 1",
    "_rising": "0 or 1",
    "_valid": "0 or 1",
}
CENSUS_LABELS = {name: label for name, _, label in LABELLED.values()} | {LETTERS[0]: LETTERS[2]}


@dataclass(frozen=True)
class Row:
    """One metric, as the document shows it."""

    name: str
    type: str
    labels: str
    unit: str
    meaning: str


def declared(*makers: Callable[[CollectorRegistry], object]) -> Iterator[Row]:
    """Yield what these declare."""
    registry = CollectorRegistry()
    for make in makers:
        made = make(registry)
        if isinstance(made, WatchdogMetrics):
            # Nothing is shown of a certificate before it was seen.
            made.certificate(0.0, 1.0, is_valid=True)
    collectors: list[Any] = list(registry._collector_to_names)
    for collector in collectors:
        for family in collector.describe():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = getattr(collector, "_labelnames", None) or [CENSUS_LABELS.get(name, "")]
            unit = next((unit for end, unit in UNITS.items() if name.endswith(end)), "count")
            shown = ", ".join(f"`{label}`" for label in labels if label)
            yield Row(name, family.type, shown, unit, family.documentation)


def documented(service: str) -> list[Row]:
    """Return the rows of a service's section."""
    section = DOCUMENT.read_text().partition(f"## {service}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"(?m)^\| `(\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*) \|$", section)
    return [Row(*(cell.strip() for cell in row)) for row in cells]


@pytest.mark.parametrize("service", SERVICES)
def test_the_document_shows_every_metric_as_it_is_declared(service: str):
    by_name = lambda row: row.name  # noqa: E731
    assert documented(service) == sorted(declared(*SERVICES[service]), key=by_name)


def test_every_module_of_metrics_is_looked_at():
    modules = {path.stem for path in (ROOT / "libs" / "common" / "telemetry").glob("*_metrics.py")}
    assert {make.__module__.rpartition(".")[2] for makers in SERVICES.values() for make in makers} == modules


@pytest.mark.parametrize("service", SERVICES)
def test_names_begin_with_ours_and_counters_end_as_counters(service: str):
    for row in declared(*SERVICES[service]):
        assert re.fullmatch(r"bascule_[a-z_]+", row.name)
        assert row.name.endswith("_total") == (row.type == "counter")
        assert row.meaning.endswith("."), row
        assert "symbol" not in row.labels, "there is no bound on them"


def test_the_census_shows_each_of_its_figures_and_nothing_that_is_not_known():
    registry = CollectorRegistry()
    metrics = CensusMetrics(registry, dead_letter_reasons=["risk"])
    assert {family.name for family in registry.collect()} == {"bascule_dead_letters"}
    assert registry.get_sample_value("bascule_dead_letters_total", {"reason": "risk"}) == 0
    assert {*GAUGES, *LABELLED} == set(CensusFigures.__dataclass_fields__)
    known: dict[str, Any] = {name: {"a": 2.0} for name in LABELLED} | dict.fromkeys(GAUGES, 1.0)
    metrics.show(CensusFigures(**known))
    shown = {family.name for family in registry.collect()}
    assert shown == {name for name, *_ in (*GAUGES.values(), *LABELLED.values())}
