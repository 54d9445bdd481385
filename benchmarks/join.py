"""A second worker joins while the first one holds a backlog on 200 lanes: the share of each in the first 5 s."""

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass

from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.scene import now_ms, slow_scene
from tests.e2e.faults import name_workers_at, wait_holding
from tests.support.eventually import eventually
from tests.support.venue import Venue

LANES = 200
WINDOW_MS = 5_000
ANSWER_MS = 400
BACKLOG_PER_LANE = 16
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
        run = asyncio.run(_run())
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


async def _run() -> Run:
    # One slot for each lane: the first worker holds them all and has to hand some back.
    config = {"worker": {"concurrency": LANES}}
    with slow_scene(workers=2, delay_ms=ANSWER_MS, config=config) as (bridge, venue):
        name_workers_at(bridge, venue)
        first, second = bridge.workers
        for service in (*bridge.ingresses, *bridge.reapers, first):
            service.start()
        for service in (*bridge.ingresses, *bridge.reapers, first):
            service.wait_ready()
        alerts = [bridge.alert(symbol=f"S{number % LANES}") for number in range(BACKLOG_PER_LANE * LANES)]
        if {answer.status for answer in await bridge.send_many(alerts, 50)} != {200}:
            raise RuntimeError("an alert was not taken")
        await wait_holding(bridge, first, LANES * 9 // 10)
        second.start().wait_ready()
        joined_ms = now_ms()
        await eventually(lambda: now_ms() >= joined_ms + WINDOW_MS, WINDOW_MS, 0.1, "the window is over")
        return _judge(venue, second.label, joined_ms)


def _judge(venue: Venue, joiner: str, joined_ms: int) -> Run:
    ledger = venue.ledger()
    window = [entry for entry in ledger if joined_ms <= entry["executed_at_ms"] < joined_ms + WINDOW_MS]
    if len(ledger) >= BACKLOG_PER_LANE * LANES:
        raise RuntimeError("the backlog was too short: it was worked off within the window")
    shares = Counter(entry["book"] for entry in window)
    first_ms = min(entry["executed_at_ms"] for entry in ledger if entry["book"] == joiner)
    return Run(shares[joiner] / len(window) * 100, len(window), first_ms - joined_ms)
