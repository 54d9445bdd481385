"""What the counts of several services say together."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from cli.figures import Counts, Look, Service, add_up, figures_document, growth, parse_counts
from cli.figures_words import figures_lines
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.span_metrics import SpanMetrics
from libs.common.telemetry.worker_metrics import WorkerMetrics

INGRESS, WORKER, REAPER = (
    Service(name, f"http://127.0.0.1:{port}")
    for name, port in (("ingress", 9101), ("worker-1", 9111), ("reaper", 9103))
)


class Services:
    """The real metrics of three services and of tracing."""

    def __init__(self) -> None:
        self.registries = {one: CollectorRegistry() for one in (INGRESS, WORKER, REAPER)}
        self.ingress = IngressMetrics(self.registries[INGRESS])
        self.worker = WorkerMetrics(self.registries[WORKER])
        self.spans = SpanMetrics(self.registries[WORKER])
        self.reaper = ReaperMetrics(self.registries[REAPER])

    def counts(self, service: Service) -> Counts:
        return parse_counts(generate_latest(self.registries[service]).decode())

    def look(self, *services: Service, at_s: float = 0.0) -> Look:
        seen = services or tuple(self.registries)
        return Look(at_s, {one.url: self.counts(one) for one in seen})

    def work(self) -> None:
        """Count something everywhere."""
        for _ in range(4):
            self.ingress.admitted()
            self.ingress.answered(0.0007)
        self.ingress.duplicate()
        self.ingress.refused(401, "unauthorized")
        self.ingress.refused(401, "unauthorized")
        self.ingress.refused(401, "bad_signature")
        self.worker.order_became("filled")
        self.worker.waited("rate_limit")
        self.worker.waited("breaker_open")
        self.worker.reached(7)
        self.worker.placed("answered", 40_000)
        self.worker.placed("unknown", 40_000)
        self.worker.lane_lost()
        self.spans.dropped("queue_full", 5)
        self.reaper.reclaimed(3)


@pytest.fixture
def services() -> Services:
    return Services()


def document(look: Look, before: Look | None = None, silent: Any = None) -> dict[str, Any]:
    return figures_document(look, silent or {}, (INGRESS, WORKER, REAPER), before)


def test_each_figure_is_read_from_the_metric_that_counts_it(services: Services) -> None:
    services.work()

    found = document(services.look())

    assert found["posts"]["200"] == {"admitted": 4, "duplicate": 1}
    assert found["posts"]["401"] == {"bad_signature": 1, "no_certificate": 0, "unauthorized": 2}
    assert (found["duplicates"], found["credential_failures"], found["signature_failures"]) == (1, 2, 1)
    assert found["orders"]["filled"] == 1
    assert found["waits"] == {"breaker_open": 1, "rate_limit": 1}
    assert found["rate_limit_waits"] == 1
    assert (found["reclaims"], found["leases_lost"], found["spans_dropped"]) == (3, 1, 5)
    assert found["latencies"]["ingress"] == {
        "count": 4,
        "p50_ms": 0.75,
        "p99_ms": 0.995,
        "largest_bound_ms": 2_500,
    }
    assert found["latencies"]["broker_call"]["count"] == 2, "whatever their outcome"
    assert found["latencies"]["broker_call"]["p99_ms"] == 30_000
    assert found["latencies"]["alert_to_sent"] == {
        "count": 0,
        "p50_ms": None,
        "p99_ms": None,
        "largest_bound_ms": 300_000,
    }
    assert found["rates"] is None


def test_what_was_never_counted_is_0_where_its_service_tells_and_unknown_where_it_does_not(
    services: Services,
) -> None:
    alone = document(services.look(WORKER))

    assert (alone["waits"], alone["rate_limit_waits"], alone["leases_lost"]) == ({}, 0, 0)
    assert (alone["posts"], alone["duplicates"], alone["credential_failures"], alone["reclaims"]) == (
        None,
    ) * 4
    assert alone["latencies"]["ingress"] is None
    assert document(services.look(INGRESS))["spans_dropped"] is None, "it is not traced"


def test_services_are_added_up(services: Services) -> None:
    services.work()
    counts = services.counts(WORKER)

    total = add_up([counts, counts, services.counts(REAPER)])

    assert total["bascule_lanes_lost_total"] == {frozenset(): 2}
    assert total["bascule_lanes_reclaimed_total"] == {frozenset(): 3}


def test_rates_are_of_what_came_since_the_last_look(services: Services) -> None:
    services.work()
    before = services.look(at_s=10.0)
    services.ingress.admitted()
    services.worker.reached(40)

    rates = document(services.look(at_s=14.0), before)["rates"]

    assert rates["over_ms"] == 4_000
    assert rates["posts"]["200"] == {"admitted": 0.25, "duplicate": 0.0}
    assert rates["orders"]["filled"] == 0.0
    assert rates["latencies"]["queue_wait"]["count"] == 1
    assert 25 <= rates["latencies"]["queue_wait"]["p50_ms"] <= 50
    assert rates["latencies"]["ingress"]["p50_ms"] is None


def test_a_service_that_began_anew_counts_with_all_that_it_has(services: Services) -> None:
    services.work()
    before = services.look()
    new = Services()
    new.ingress.admitted()

    grown = growth(before, new.look())

    assert grown is not None
    assert grown["bascule_posts_total"][frozenset({("status", "200"), ("reason", "admitted")})] == 1
    assert all(value >= 0 for samples in grown.values() for value in samples.values())


def test_a_service_that_was_not_seen_before_has_no_rate(services: Services) -> None:
    services.work()

    assert document(services.look(WORKER), services.look(INGRESS))["rates"] is None
    both = document(services.look(at_s=1.0), services.look(INGRESS))["rates"]
    assert (both["posts"]["200"]["admitted"], both["orders"]) == (0.0, None)


@pytest.mark.parametrize(
    "text", ["", "<html>no</html>", "up 1\n", "bascule_x{ 1\n", "# TYPE a counter\na 1\n"]
)
def test_what_is_no_bridges_is_not_counted(text: str) -> None:
    with pytest.raises(ValueError, match="not a bridge's metrics"):
        parse_counts(text)


def test_people_see_counts_rates_and_who_is_missing(services: Services) -> None:
    services.work()
    before = services.look(INGRESS, WORKER)
    services.ingress.admitted()
    services.ingress.answered(0.0007)

    found = document(
        services.look(INGRESS, WORKER, at_s=2.0), before, {REAPER: "does not answer: Connection refused"}
    )
    lines = figures_lines(found)

    assert lines[1:5] == [
        "posts     5 admitted (0.5/s), 2 unauthorized (401), 1 bad_signature (401), 1 duplicate",
        "orders    1 filled",
        "waits     1 breaker_open, 1 rate_limit",
        "lost      leases lost 1, spans dropped 5",
    ]
    assert lines[5] == "without   reaper at http://127.0.0.1:9103: does not answer: Connection refused"
    table = [line.split() for line in lines[8:]]
    assert table[0] == [
        "post",
        "to",
        "answer",
        "5",
        "~0.75",
        "ms",
        "~0.995",
        "ms",
        "1",
        "~0.75",
        "ms",
        "~0.995",
        "ms",
    ]
    assert table[2][:7] == ["broker", "call", "2", ">30", "s", ">30", "s"]


def test_where_no_service_is_known_people_are_told_so() -> None:
    assert figures_lines(None) == [
        "",
        "counted   not known: nothing says where the services are, such as BASCULE_OPS_URLS",
    ]
