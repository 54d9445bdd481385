"""What is counted without a lock is shown as the library would show it."""

import prometheus_client
from hypothesis import example, given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from libs.common.telemetry.unlocked import Histogram, LabelledCounter

BOUNDS = (0.001, 0.25, 1.0, 10.0)
words = st.sampled_from(["200", "503", 'a "quoted"\n\\word'])


def shown(registry: CollectorRegistry) -> tuple[bytes, bytes]:
    return generate_latest(registry), generate_openmetrics(registry)


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 20)))
@example([])
def test_a_histogram_is_shown_as_the_librarys(values: list[float]) -> None:
    disable_created_metrics()
    own, other = CollectorRegistry(), CollectorRegistry()
    ours = Histogram(own, "took_seconds", "How long it took.", BOUNDS)
    theirs = prometheus_client.Histogram("took_seconds", "How long it took.", buckets=BOUNDS, registry=other)
    for value in values:
        ours.observe(value)
        theirs.observe(value)
    assert shown(own) == shown(other)


@given(st.lists(st.tuples(words, words, st.integers(0, 3))))
@example([])
def test_a_counter_is_shown_as_the_librarys(counted: list[tuple[str, str, int]]) -> None:
    disable_created_metrics()
    own, other = CollectorRegistry(), CollectorRegistry()
    ours = LabelledCounter(own, "posts_total", "Posts answered.", "status", "reason")
    theirs = prometheus_client.Counter("posts_total", "Posts answered.", ("status", "reason"), registry=other)
    ours.of("200", "never counted")
    theirs.labels("200", "never counted")
    for status, reason, times in counted:
        ours.of(status, reason).inc(times)
        theirs.labels(status, reason).inc(times)
    assert shown(own) == shown(other)
