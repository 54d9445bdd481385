"""The close of a candle: 5,000 alerts on 200 symbols within one second, each sent when it is due."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.distribution import Distribution
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.inversions import count_inverted, count_overtaken, lanes_of
from benchmarks.latency import warm_up
from benchmarks.scene import Scene, scene

ALERTS, SYMBOLS, WITHIN_US = 5_000, 200, 1_000_000
ACK_P99_MS = 250
WORKERS = 2
CONNECTIONS = 256

SLICE_MS = 50
"""Of the timeline."""


@dataclass(frozen=True)
class Run:
    """One burst."""

    ack: Distribution
    """From when an alert was due until it was answered, ms."""
    order: Distribution
    """From when it was due until its order was at the venue, ms."""
    all_executed_s: float
    """From when the first was due until the last order was at the venue."""
    lost: int
    inverted: int
    """Alerts begun or ended in another order than they were queued in, or queued before one that was answered before
    they were sent."""
    timeline: dict[str, list[int]]
    """Alerts due, answered and executed in each slice since the first was due."""


def measure(effort: Effort) -> Measured:
    """Return the figures of several bursts."""
    runs = []
    with scene(workers=WORKERS) as stage:
        warm_up(stage)
        run_once(stage, ALERTS // 5, seed=0)
        for turn in range(1, effort.runs + 1):
            effort.patience.wait()
            run = run_once(stage, ALERTS, seed=turn)
            runs.append(run)
            print(
                f"  {turn}/{effort.runs} answers p99 {run.ack.p99:6.1f} ms, all executed {run.all_executed_s:5.2f} s,"
                f" lost {run.lost}, inverted {run.inverted}",
                flush=True,
            )
    figures = [
        Figure("answers, p50", Spread.of(run.ack.p50 for run in runs), "ms", digits=1),
        Figure("answers, p99", Spread.of(run.ack.p99 for run in runs), "ms", digits=1, most=ACK_P99_MS),
        Figure("answers, max", Spread.of(run.ack.highest for run in runs), "ms", digits=1),
        # Of all bursts: a single one would be too many.
        Figure("lost, in all", Spread.of([sum(run.lost for run in runs)]), "alerts", most=0),
        Figure("inverted, in all", Spread.of([sum(run.inverted for run in runs)]), "alerts", most=0),
        Figure("orders, p50", Spread.of(run.order.p50 for run in runs), "ms"),
        Figure("orders, p99", Spread.of(run.order.p99 for run in runs), "ms"),
        Figure("all executed after", Spread.of(run.all_executed_s for run in runs), "s", digits=2),
    ]
    circumstances = {"alerts": ALERTS, "symbols": SYMBOLS, "workers": WORKERS, "slice_ms": SLICE_MS}
    return Measured(figures, [asdict(run) for run in runs], circumstances)


def run_once(stage: Scene, alerts: int, *, seed: int) -> Run:
    """Post one burst, wait for its orders, and look through the journal."""
    stage.forget()
    dice = random.Random(seed)
    dues_us = sorted(dice.randrange(WITHIN_US) for _ in range(alerts))
    symbols = [f"SYM{number:05d}" for number in range(SYMBOLS)]
    posts = stage.post(stage.alerts(symbols, dues_us), CONNECTIONS)
    orders = stage.orders_of(posts)
    stage.wait_idle()
    ours = {post.alert_id for post in posts.posted}
    journal = [(entry, fields) for entry, fields in stage.journal() if fields["alert"] in ours]
    queued, begun, ended = (lanes_of(journal, event) for event in ("QUEUED", "SENDING", "EXECUTED"))
    first_us = posts.posted[0].due_us
    executed_us = [orders[post.alert_id].at_us for post in posts.posted]
    return Run(
        ack=Distribution.of((post.acked_us - post.due_us) / 1e3 for post in posts.posted),
        order=Distribution.of((orders[post.alert_id].at_us - post.due_us) / 1e3 for post in posts.posted),
        all_executed_s=(max(executed_us) - first_us) / 1e6,
        lost=len(ours) - sum(map(len, ended.values())),
        inverted=count_inverted(queued, begun)
        + count_inverted(queued, ended)
        + count_overtaken(queued, posts.posted),
        timeline={
            "due": _slices([post.due_us - first_us for post in posts.posted]),
            "answered": _slices([post.acked_us - first_us for post in posts.posted]),
            "executed": _slices([at_us - first_us for at_us in executed_us]),
        },
    )


def _slices(times_us: Sequence[int]) -> list[int]:
    counts = Counter(at_us // (SLICE_MS * 1_000) for at_us in times_us)
    return [counts[number] for number in range(max(counts) + 1)]
