"""`bascule report`: what came in within a period, and what became of it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from cli.context import ask, find_bridge
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.filters import account_option, duration_ms, json_option
from cli.listing import configured_account, refuse_unknown_names
from cli.output import LONGEST_CELL, cell, local_time, note, painted, span, table, when, write, write_json
from cli.report_document import report_document

if TYPE_CHECKING:
    from libs.common.store.readings import Readings
    from libs.common.store.report import Report

ROWS: Final = 10
"""Of each table on a terminal and elsewhere: what there is most of."""

_LATENCIES: Final = (
    ("received to admitted", "received_to_admitted"),
    ("received to sent", "received_to_sent"),
    ("sent to answered", "sent_to_answered"),
    ("sent to filled", "sent_to_filled"),
)
_GROUPS: Final = (
    ("strategies", "strategy"),
    ("symbols", "symbol"),
    ("accounts", "account"),
    ("webhooks", "webhook"),
)
_ALWAYS: Final = frozenset({"strategy", "symbol"})
_ENDS: Final = ("EXECUTED", "SKIPPED", "REJECTED", "EXPIRED", "DEAD")
_OPEN: Final = ("QUEUED", "ACTIVE")


@click.command(name="report")
@click.option(
    "--since",
    "since_ms",
    default="24h",
    show_default=True,
    callback=duration_ms,
    help="The beginning of the period, back from now: 30min, 2h, 7d...",
)
@click.option("--until", "until_ms", callback=duration_ms, help="Its end, back from now; now by default.")
@click.option("--webhook", help="Only this webhook.")
@click.option("--strategy", help="Only this strategy, as alerts name it.")
@account_option
@click.option("--symbol", help="Only this symbol, as sent or as the venue calls it.")
@json_option
def command(
    since_ms: int,
    until_ms: int | None,
    webhook: str | None,
    strategy: str | None,
    account: str | None,
    symbol: str | None,
    as_json: bool,
) -> int:
    """Show what came in, and what became of it by now.

    By strategy, symbol, account, outcome and reason, with latency and slippage; docs/report.md explains every figure.
    Exit code 3: a shard could not be read, and is left out.
    """
    if (until_ms or 0) >= since_ms:
        raise click.BadParameter("the period ends before it begins", param_hint="--until")
    from libs.common.policy.report import Asked

    bridge = find_bridge()
    refuse_unknown_names(bridge, account, webhook)
    configured = configured_account(bridge, account)
    asked = Asked(webhook=webhook, strategy=strategy, account=account, symbol=symbol)

    async def look(readings: "Readings") -> "tuple[Report, int]":
        now_ms = await readings.now_ms()
        own = readings if configured is None else readings.only(configured)
        # What has just come in belongs to it.
        end_ms = now_ms + 1 if until_ms is None else now_ms - until_ms
        return await own.report(asked, now_ms - since_ms, end_ms), now_ms

    report, now_ms = ask(bridge, look)
    document = report_document(report, now_ms)
    if as_json:
        write_json(document)
    else:
        _show(document)
    for remark in _remarks(document):
        note(remark)
    return ExitCode.DEGRADED if report.away else ExitCode.OK


def _show(document: Document) -> None:
    for label, value in _facts(document):
        write(f"{label:<10}{value}")
    for name, kind in _GROUPS:
        groups = document[name]
        # Of what there is one alone, the figures stand above.
        if len(groups) > 1 or (groups and groups[0][kind] is not None and kind in _ALWAYS):
            _section(_headers(kind), [_group(one, kind) for one in groups])
    outcomes = [(one["state"], one["reason"], one["count"]) for one in document["outcomes"]]
    _section(("OUTCOME", "REASON", "INSTRUCTIONS"), outcomes)
    not_taken: list[tuple[str, int, str, int]] = [
        (one["reason"], one["status"], one["webhook"], one["count"]) for one in document["refusals"]
    ]
    not_taken += [("duplicate", 200, one["webhook"], one["count"]) for one in document["duplicates"]]
    not_taken.sort(key=lambda row: row[-1], reverse=True)
    _section(("NOT ADMITTED", "STATUS", "WEBHOOK", "POSTS"), not_taken)
    latencies = [(words, document["latency_ms"][name]) for words, name in _LATENCIES]
    rows = [
        (words, *(_took(one[name]) for name in ("p50", "p90", "p99", "worst")), one["count"])
        for words, one in latencies
        if one["count"]
    ]
    _section(("LATENCY", "P50", "P90", "P99", "WORST", "COUNT"), rows)


def _facts(document: Document) -> list[tuple[str, str]]:
    """Return the figures of all that is counted."""
    names = ("webhook", "strategy", "account", "symbol")
    asked = ", ".join(f"{name} {cell(document[name])}" for name in names if document[name] is not None)
    length = span(document["until_ms"] - document["since_ms"])
    facts = [
        ("period", f"{local_time(document['since_ms'])} to {local_time(document['until_ms'])}, {length}"),
        ("only", asked),
        ("posts", _posts(document["posts"])),
        ("alerts", f"{document['alerts']}; instructions made of them: {document['instructions']}"),
        ("outcome", _counts(_with_open(document["states"]))),
        ("orders", _counts(document["orders"])),
        ("filled", _filled(document)),
        ("slippage", _slippage(document["slippage_bps"])),
    ]
    return [(label, value) for label, value in facts if value]


def _filled(document: Document) -> str:
    count = sum(document["orders"].values())
    return f"{document['fills']} of {count}, in full or in part" if count else ""


def _posts(posts: Document | None) -> str:
    return "" if posts is None else ", ".join(f"{count} {name}" for name, count in posts.items())


def _counts(counts: Document) -> str:
    return ", ".join(f"{count} {painted(name)}" for name, count in counts.items() if count)


def _with_open(states: Document) -> Document:
    """Return how many instructions ended how, and how many have not ended."""
    ended = {name: count for name, count in states.items() if name not in _OPEN}
    return ended | {"open": sum(states[name] for name in _OPEN)}


def _slippage(found: Document) -> str:
    if not found["count"]:
        return ""
    return f"{found['p50']:g} bps median, {found['p90']:g} p90, {found['worst']:g} worst (fills: {found['count']})"


def _headers(kind: str) -> tuple[str, ...]:
    return (kind.upper(), "ALERTS", *_ENDS, "OPEN", "SENT P50", "SENT P99", "SLIPPAGE P50", "P90", "WORST")


def _group(one: Document, kind: str) -> tuple[object, ...]:
    states, sent, slippage = _with_open(one["states"]), one["received_to_sent_ms"], one["slippage_bps"]
    return (
        one[kind],
        one["alerts"],
        # What there is none of is not in the way of what there is.
        *(states[name] or None for name in (*_ENDS, "open")),
        _took(sent["p50"]),
        _took(sent["p99"]),
        *(None if slippage[name] is None else f"{slippage[name]:g} bps" for name in ("p50", "p90", "worst")),
    )


def _took(length_ms: int | None) -> str | None:
    """Return a length of time with what matters of it."""
    if length_ms is None or abs(length_ms) >= 60_000:
        return None if length_ms is None else span(length_ms)
    return f"{length_ms} ms" if abs(length_ms) < 1_000 else f"{length_ms / 1_000:.3g} s"


def _section(headers: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    if not rows:
        return
    write()
    for line in table(headers, rows[:ROWS], longest=LONGEST_CELL):
        write(line)
    if len(rows) > ROWS:
        write(f"and {len(rows) - ROWS} more")


def _remarks(document: Document) -> Iterator[str]:
    """Yield what a reader must know to trust the figures."""
    missing, now_ms = document["missing"], document["now_ms"]
    for one in missing["shards"]:
        yield f"shard {one['shard']} did not answer, and is left out: {one['reason']}"
    for one in missing["journal_begins_at_ms"]:
        yield f"the journal{_on(one, document)} begins {when(one['at_ms'], now_ms)}: nothing older is counted"
    for one in missing["posts_begin_at_ms"]:
        yield (
            f"posts that were not admitted are kept{_on(one, document)} since {when(one['at_ms'], now_ms)}: "
            "there was no room for older ones"
        )
    if missing["records_gone"]:
        yield f"{missing['records_gone']} more alerts came in, of which nothing is kept any longer (retention.alerts)"
    if missing["records_unreadable"]:
        yield f"{missing['records_unreadable']} more alerts came in, of which the records cannot be read"
    if document["posts"] is None:
        yield "refused posts and duplicates name a webhook alone, and are left out"
    elif document["refusals"]:
        yield (
            "refusals of strangers are kept as a sample or not at all, and posts that were answered 5xx are not kept: "
            "the metric bascule_posts_total counts them all"
        )


def _on(one: Document, document: Document) -> str:
    return f" on shard {one['shard']}" if document["shards"] > 1 else ""
