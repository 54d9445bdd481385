"""How the figures of `bascule status` look to people."""

from collections.abc import Mapping
from typing import Final

from cli.documents import Document
from cli.output import NOTHING, printable, table

_LATENCIES: Final[Mapping[str, str]] = {
    "ingress": "post to answer",
    "queue_wait": "queue wait",
    "broker_call": "broker call",
    "alert_to_sent": "alert to sent",
}


def figures_lines(figures: Document | None) -> list[str]:
    """Return the lines that people see of figures: counts since the services began, with rates where there are any."""
    if figures is None:
        return [
            "",
            f"{'counted':<10}not known: nothing says where the services are, such as BASCULE_OPS_URLS",
        ]
    rates = figures["rates"] or {}
    facts = (
        ("posts", _posts(figures["posts"], rates.get("posts"))),
        ("orders", _by_name(figures["orders"], rates.get("orders"))),
        ("waits", _by_name(figures["waits"], rates.get("waits"))),
        ("lost", _losses(figures, rates)),
    )
    lines = ["", *(f"{label:<10}{printable(value)}" for label, value in facts if value is not None)]
    without = [_silent(one) for one in figures["services"] if one["problem"] is not None]
    lines += [f"{'without':<10}{one}" for one in without]
    rows = [
        row
        for name, words in _LATENCIES.items()
        if (row := _latency(words, name, figures, rates)) is not None
    ]
    if rows:
        headers = ("FROM BUCKETS", "COUNT", "P50", "P99")
        lately = ("LATELY", "P50", "P99") if rates else ()
        lines += ["", *table((*headers, *lately), rows)]
    return lines


def _posts(counts: Document | None, rates: Document | None) -> str | None:
    if counts is None:
        return None
    flat = {_post(status, reason): n for status, by in counts.items() for reason, n in by.items()}
    each = {_post(status, reason): n for status, by in (rates or {}).items() for reason, n in by.items()}
    return _by_name(flat, each)


def _post(status: str, reason: str) -> str:
    return reason if status == "200" else f"{reason} ({status})"


def _by_name(counts: Document | None, rates: Document | None) -> str | None:
    """Return counts that are not 0, the greatest first; None where nobody tells."""
    if counts is None:
        return None
    told = sorted(((n, name) for name, n in counts.items() if n), key=lambda one: (-one[0], one[1]))
    return ", ".join(f"{n} {name}{_rate((rates or {}).get(name))}" for n, name in told) or "none"


def _losses(figures: Document, rates: Document) -> str | None:
    names = {
        "reclaims": "lanes reclaimed",
        "leases_lost": "leases lost",
        "spans_dropped": "spans dropped",
    }
    told = [
        f"{words} {figures[name]}{_rate(rates.get(name))}"
        for name, words in names.items()
        if figures[name] is not None
    ]
    return ", ".join(told) or None


def _rate(per_s: float | None) -> str:
    return f" ({per_s:.3g}/s)" if per_s else ""


def _silent(one: Document) -> str:
    at = f" at {one['url']}" if one["url"] else ""
    return printable(f"{one['process']}{at}: {one['problem']}")


def _latency(words: str, name: str, figures: Document, rates: Document) -> tuple[object, ...] | None:
    """Return a row of the table; None where nobody tells."""
    since = figures["latencies"][name]
    if since is None:
        return None
    row: tuple[object, ...] = (words, since["count"], _time(since, "p50_ms"), _time(since, "p99_ms"))
    if not rates:
        return row
    lately = rates["latencies"][name]
    if lately is None:
        return (*row, NOTHING, NOTHING, NOTHING)
    return (*row, lately["count"], _time(lately, "p50_ms"), _time(lately, "p99_ms"))


def _time(latency: Document, name: str) -> str:
    """Return a length of time that is estimated; one at the last bound may be any longer one."""
    ms = latency[name]
    if ms is None:
        return NOTHING
    sign = ">" if ms == latency["largest_bound_ms"] else "~"
    return f"{sign}{ms / 1_000:.3g} s" if ms >= 1_000 else f"{sign}{ms:.3g} ms"
