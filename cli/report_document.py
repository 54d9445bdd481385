"""A report as `--json` shows it. Field names are an interface: they stay."""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from cli.documents import Document
from libs.common.domain.lifecycle import WORST_FIRST, InstructionState, OrderState
from libs.common.policy.report import PER_BPS

if TYPE_CHECKING:
    from libs.common.policy.distribution import Distribution
    from libs.common.policy.report import Groups, Tally
    from libs.common.store.report import Report

K = TypeVar("K")


def report_document(report: "Report", now_ms: int) -> Document:
    """Return a report; every list begins with what there is most of."""
    tally, asked = report.tally, report.asked
    return {
        "since_ms": report.since_ms,
        "until_ms": report.until_ms,
        "now_ms": now_ms,
        "shards": report.shards,
        "webhook": asked.webhook,
        "strategy": asked.strategy,
        "account": asked.account,
        "symbol": asked.symbol,
        "posts": _posts(tally) if asked.takes_posts else None,
        "alerts": tally.alerts,
        "instructions": tally.outcomes.total(),
        "states": _states(tally.states),
        "outcomes": [
            {"state": state.value, "reason": reason, "count": count}
            for (state, reason), count in _most(tally.outcomes)
        ],
        "refusals": [
            {"webhook": webhook, "status": status, "reason": code, "count": count}
            for (webhook, status, code), count in _most(tally.refused)
        ],
        "duplicates": [{"webhook": webhook, "count": count} for webhook, count in _most(tally.duplicates)],
        "orders": {state.value: tally.orders[state] for state in OrderState if tally.orders[state]},
        "fills": tally.fills,
        "latency_ms": {
            "received_to_admitted": _latency(tally.admitted_ms),
            "received_to_sent": _latency(tally.sent_ms),
            "sent_to_answered": _latency(tally.answered_ms),
            "sent_to_filled": _latency(tally.filled_ms),
        },
        "slippage_bps": _slippage(tally.slippage),
        "strategies": _groups(tally.strategies, "strategy"),
        "symbols": _groups(tally.symbols, "symbol"),
        "accounts": _groups(tally.accounts, "account"),
        "webhooks": _groups(tally.webhooks, "webhook"),
        "missing": {
            "shards": [
                {"shard": number, "reason": str(error.__cause__ or error).rstrip(".")}
                for number, error in sorted(report.away.items())
            ],
            "journal_begins_at_ms": _by_shard(report.journal_begins_at_ms),
            "posts_begin_at_ms": _by_shard(report.posts_begin_at_ms),
            "records_gone": tally.gone,
            "records_unreadable": tally.unreadable,
        },
    }


def _posts(tally: "Tally") -> Document:
    return {
        "admitted": tally.alerts,
        "duplicate": tally.duplicates.total(),
        "refused": tally.refused.total(),
    }


def _states(states: Counter[InstructionState]) -> Document:
    return {state.value: states[state] for state in reversed(WORST_FIRST)}


def _latency(found: "Distribution") -> Document:
    return {
        "count": found.count,
        "p50": found.percentile(500),
        "p90": found.percentile(900),
        "p99": found.percentile(990),
        "worst": found.largest,
    }


def _slippage(found: "Distribution") -> Document:
    figures = {
        "p50": found.percentile(500),
        "p90": found.percentile(900),
        "worst": found.largest,
        "best": found.smallest,
    }
    return {
        "count": found.count,
        **{name: None if value is None else value / PER_BPS for name, value in figures.items()},
    }


def _groups(groups: "Groups", kind: str) -> list[Document]:
    return [
        {
            kind: name,
            "alerts": group.alerts,
            "states": _states(group.states),
            "received_to_sent_ms": _latency(group.sent_ms),
            "slippage_bps": _slippage(group.slippage),
        }
        for name, group in groups.busiest()
    ]


def _by_shard(times: Mapping[int, int]) -> list[Document]:
    return [{"shard": number, "at_ms": at_ms} for number, at_ms in sorted(times.items())]


def _most(counts: Counter[K]) -> list[tuple[K, int]]:
    return sorted(counts.items(), key=lambda one: (-one[1], str(one[0])))
