"""A second worker joins while the first one holds a backlog on 200 lanes: the share of each in the first 5 s."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.scene import now_ms, slow_scene
from tests.e2e.faults import name_workers_at, wait_holding
from tests.support.eventually import eventually

LANES = 200
WINDOW_MS = 5_000
ANSWER_MS = 400
BACKLOG_PER_LANE = 40
"""Enough for the window and for all that comes before it, the start of the second worker on a busy machine included."""
LEAST, MOST = 30, 70
"""Percent."""


@dataclass(frozen=True)
class Run:
    """One joining."""

    percent: float
    """Of the orders in the window, by the worker that joined."""
    orders: int
    """In the window, by both."""
    first_order_ms: int
    """From the joining to its first order."""


def measure(effort: Effort) -> Measured:
    """Return the joining worker's share, in several bridges one after the other."""
    runs = []
    for turn in range(1, effort.runs + 1):
        effort.patience.wait()
        run = asyncio.run(run_once())
        runs.append(run)
        print(
            f"  {turn}/{effort.runs} the second worker made {run.percent:.0f} % of {run.orders} orders",
            flush=True,
        )
    figures = [
        Figure(
            "share of the worker that joined", Spread.of(run.percent for run in runs), "%", LEAST, most=MOST
        ),
        Figure("its first order after", Spread.of(run.first_order_ms for run in runs), "ms"),
        Figure("orders in the window", Spread.of(run.orders for run in runs), is_detail=True),
    ]
    return Measured(figures, [asdict(run) for run in runs], {"lanes": LANES, "answer_ms": ANSWER_MS})


async def run_once(lanes: int = LANES, window_ms: int = WINDOW_MS, answer_ms: int = ANSWER_MS) -> Run:
    """Let one worker take a backlog, add another, and look at what both did in the window."""
    # One slot for each lane: the first worker holds them all and has to hand some back.
    config = {"worker": {"concurrency": lanes}}
    with slow_scene(workers=2, delay_ms=answer_ms, config=config) as (bridge, venue):
        name_workers_at(bridge, venue)
        first, second = bridge.workers
        for service in (*bridge.ingresses, *bridge.reapers, first):
            service.start()
        for service in (*bridge.ingresses, *bridge.reapers, first):
            service.wait_ready()
        alerts = [bridge.alert(symbol=f"S{number % lanes}") for number in range(BACKLOG_PER_LANE * lanes)]
        if {answer.status for answer in await bridge.send_many(alerts, 50)} != {200}:
            raise RuntimeError("an alert was not taken")
        await wait_holding(bridge, first, lanes * 9 // 10)
        second.start().wait_ready()
        joined_ms = now_ms()
        await eventually(
            lambda: now_ms() >= joined_ms + window_ms, window_ms / 1_000 + 5, 0.1, "the window is over"
        )
        return _judge(venue.ledger(), second.label, joined_ms, window_ms, len(alerts))


def _judge(
    ledger: Sequence[Mapping[str, Any]], joiner: str, joined_ms: int, window_ms: int, backlog: int
) -> Run:
    window = [entry for entry in ledger if joined_ms <= entry["executed_at_ms"] < joined_ms + window_ms]
    if len(ledger) >= backlog:
        raise RuntimeError("the backlog was too short: it was worked off within the window")
    shares = Counter(entry["book"] for entry in window)
    first_ms = min(entry["executed_at_ms"] for entry in ledger if entry["book"] == joiner)
    return Run(shares[joiner] / len(window) * 100, len(window), first_ms - joined_ms)
