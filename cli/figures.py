"""What services have counted since they began, added up; and what that says to whoever looks at the bridge."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cli.documents import Document

Labels = frozenset[tuple[str, str]]
Counts = Mapping[str, Mapping[Labels, float]]
"""Name of a metric -> labels -> what was counted. A metric that is shown and has counted nothing is empty."""

LATENCIES: Final[Mapping[str, str]] = {
    "ingress": "bascule_post_seconds",
    "queue_wait": "bascule_queue_wait_seconds",
    "broker_call": "bascule_broker_call_seconds",
    "alert_to_sent": "bascule_alert_to_sent_seconds",
}
"""What took time -> its histogram."""

_FOREIGN: Final = "what it answers are not a bridge's metrics"


@dataclass(frozen=True, slots=True)
class Service:
    """A process of the bridge, and where it shows its metrics."""

    process: str
    url: str
    is_sure: bool = True
    """Whether somebody says that it is there; else it is looked for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What services had counted at one moment."""

    at_s: float
    """By a clock that does not jump."""
    counts: Mapping[str, Counts]
    """By the address of the service."""


def parse_counts(text: str) -> Counts:
    """Return the counters and histograms of a bridge's service, as it shows them to Prometheus.

    Raises:
        ValueError: The text is something else.
    """
    from prometheus_client.parser import text_string_to_metric_families

    endings = {"counter": "_total", "histogram": "_bucket"}
    counts: dict[str, Mapping[Labels, float]] = {}
    try:
        for family in text_string_to_metric_families(text):
            name = f"{family.name}{endings.get(family.type, '')}"
            if family.type in endings and name.startswith("bascule_"):
                counts[name] = {
                    frozenset(one.labels.items()): one.value for one in family.samples if one.name == name
                }
    except (ValueError, KeyError, IndexError) as error:  # its parser checks little
        raise ValueError(_FOREIGN) from error
    if not counts:
        raise ValueError(_FOREIGN)
    return counts


def add_up(many: Iterable[Counts]) -> Counts:
    """Return what several have counted together."""
    total: dict[str, Counter[Labels]] = {}
    for counts in many:
        for name, samples in counts.items():
            mine = total.setdefault(name, Counter())
            for labels, value in samples.items():
                mine[labels] += value  # type: ignore[assignment]  # counts any numbers
    return total


def growth(before: Look, now: Look) -> Counts | None:
    """Return what was counted between two looks by those who were seen in both; None where there is none."""
    both = before.counts.keys() & now.counts.keys()
    return add_up(_grown(before.counts[url], now.counts[url]) for url in both) if both else None


def figures_document(
    look: Look, silent: Mapping[Service, str], asked: Iterable[Service], before: Look | None = None
) -> Document:
    """Return the figures as `--json` shows them; what nobody tells is None.

    Args:
        look: What is told now.
        silent: Those who tell nothing, with the reason.
        asked: All who were asked.
        before: What was told at the last look, for rates.
    """
    rates = None
    if before is not None and (grown := growth(before, look)) is not None:
        over_s = max(look.at_s - before.at_s, 0.001)
        rates = {"over_ms": round(over_s * 1_000), **_parts(grown, over_s)}
    return {
        "services": [
            {"process": one.process, "url": one.url or None, "problem": silent.get(one)} for one in asked
        ],
        **_parts(add_up(look.counts.values())),
        "rates": rates,
    }


def _grown(before: Counts, now: Counts) -> Counts:
    """Return what one service counted since; all that it has where it began anew."""
    grown = {
        name: {labels: value - before.get(name, {}).get(labels, 0) for labels, value in samples.items()}
        for name, samples in now.items()
    }
    is_new = any(value < 0 for samples in grown.values() for value in samples.values())
    return now if is_new else grown


def _parts(counts: Counts, over_s: float | None = None) -> Document:
    """Return counts by subject: how many, or with a length of time how many a second."""

    def shown(value: float) -> float:
        return int(value) if over_s is None else round(value / over_s, 3)

    def number(name: str, **labels: str) -> float | None:
        samples = counts.get(name)
        return (
            None if samples is None else shown(sum(v for key, v in samples.items() if labels.items() <= key))
        )

    def by(name: str, label: str) -> Document | None:
        samples = counts.get(name)
        if samples is None:
            return None
        found: Counter[str] = Counter()
        for key, value in samples.items():
            found[dict(key).get(label, "")] += value  # type: ignore[assignment]  # counts any numbers
        return {name: shown(value) for name, value in sorted(found.items())}

    bad_signatures = number("bascule_posts_total", status="401", reason="bad_signature")
    refused = number("bascule_posts_total", status="401")
    return {
        "posts": _posts(counts, shown),
        "duplicates": number("bascule_posts_total", reason="duplicate"),
        "credential_failures": None
        if refused is None or bad_signatures is None
        else round(refused - bad_signatures, 3),
        "signature_failures": bad_signatures,
        "orders": by("bascule_orders_total", "outcome"),
        "waits": by("bascule_waits_total", "reason"),
        "rate_limit_waits": number("bascule_waits_total", reason="rate_limit"),
        "reclaims": number("bascule_lanes_reclaimed_total"),
        "leases_lost": number("bascule_lanes_lost_total"),
        "spans_dropped": number("bascule_spans_dropped_total"),
        "latencies": {name: _latency(counts.get(f"{metric}_bucket")) for name, metric in LATENCIES.items()},
    }


def _posts(counts: Counts, shown: Any) -> Document | None:
    samples = counts.get("bascule_posts_total")
    if samples is None:
        return None
    found: Document = {}
    for key, value in sorted(samples.items(), key=lambda one: sorted(one[0])):
        labels = dict(key)
        found.setdefault(labels.get("status", ""), {})[labels.get("reason", "")] = shown(value)
    return dict(sorted(found.items()))


def _latency(samples: Mapping[Labels, float] | None) -> Document | None:
    """Return how long something took, ms; whatever its labels."""
    from libs.common.policy.buckets import estimate

    if samples is None:
        return None
    buckets: dict[float, float] = {}
    for key, value in samples.items():
        bound = float(dict(key)["le"])
        buckets[bound] = buckets.get(bound, 0) + value
    p50, p99 = (estimate(buckets, share) for share in (0.5, 0.99))
    largest = max((bound for bound in buckets if math.isfinite(bound)), default=None)
    return {
        "count": int(max(buckets.values(), default=0)),
        "p50_ms": _ms(p50),
        "p99_ms": _ms(p99),
        "largest_bound_ms": _ms(largest),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 3)
