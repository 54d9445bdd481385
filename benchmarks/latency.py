"""From an alert to its order: open-loop posts at several paces, two workers, a venue that answers at once."""

import time
from dataclasses import asdict, dataclass

from benchmarks.distribution import Distribution
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.scene import Scene, evenly_us, received_ms, scene

PER_S = (50, 500, 2_000)
JUDGED_PER_S = 500
P50_MS, P99_MS = 3.0, 10.0
WORKERS = 2
SYMBOLS = tuple(f"SYM{number:05d}" for number in range(50))
CONNECTIONS = 64

WARM_UP_S = 3
"""Makes the workers' connections, and has each of them ask the venue about each symbol."""
WARM_UP_PER_S = 500


@dataclass(frozen=True)
class Run:
    """One pace, kept up for a while. All times in milliseconds."""

    per_s: int
    received_to_order: Distribution
    """From the time of receipt, which the ingress cuts to whole milliseconds and so puts up to one too early, until the
    order's first bytes were handed to the venue's process."""
    due_to_order: Distribution
    """From when the post was due."""
    due_to_ack: Distribution
    lateness: Distribution
    """Of the client: from when a post was due until it was sent."""
    shares: dict[str, float]
    """Of one core, by who used it meanwhile; workers together, `strangers` are all who have nothing to do with it."""


def measure(effort: Effort) -> Measured:
    """Return the latencies at every pace, turn by turn."""
    found: dict[int, list[Run]] = {per_s: [] for per_s in PER_S}
    with scene(workers=WORKERS) as stage:
        warm_up(stage)
        for turn in range(1, effort.runs + 1):
            for per_s in PER_S:
                effort.patience.wait()
                run = run_at(stage, per_s, effort.seconds)
                found[per_s].append(run)
                seen = run.received_to_order
                print(
                    f"  {turn}/{effort.runs} {per_s:5,}/s p50 {seen.p50:7.2f} ms, p99 {seen.p99:7.2f} ms,"
                    f" max {seen.highest:7.2f} ms",
                    flush=True,
                )
    figures = [figure for per_s, runs in found.items() for figure in _figures(per_s, runs)]
    runs = {per_s: [asdict(run) for run in some] for per_s, some in found.items()}
    return Measured(figures, runs, {"workers": WORKERS, "symbols": len(SYMBOLS)})


def warm_up(stage: Scene) -> None:
    """Have everything done once that is done only at first."""
    run_at(stage, WARM_UP_PER_S, WARM_UP_S)


def run_at(stage: Scene, per_s: int, seconds: float) -> Run:
    """Post at a pace and wait for the orders."""
    stage.forget()
    planned = stage.alerts(SYMBOLS, evenly_us(int(per_s * seconds), per_s))
    before_s, started_s = stage.used_s(), time.monotonic()
    posts = stage.post(planned, CONNECTIONS)
    after_s, elapsed_s = stage.used_s(), time.monotonic() - started_s
    shares = {name: (used_s - before_s[name]) / elapsed_s for name, used_s in after_s.items()}
    shares["client"] = posts.client_share
    shares["strangers"] = shares.pop("machine") - sum(shares.values())
    orders = stage.orders_of(posts)
    pairs = [(post, orders[post.alert_id].at_us) for post in posts.posted]
    return Run(
        per_s=per_s,
        received_to_order=Distribution.of(at / 1e3 - received_ms(post.alert_id) for post, at in pairs),
        due_to_order=Distribution.of((at - post.due_us) / 1e3 for post, at in pairs),
        due_to_ack=Distribution.of((post.acked_us - post.due_us) / 1e3 for post in posts.posted),
        lateness=Distribution.of((post.sent_us - post.due_us) / 1e3 for post in posts.posted),
        shares=shares,
    )


def _figures(per_s: int, runs: list[Run]) -> list[Figure]:
    is_judged = per_s == JUDGED_PER_S
    figures = []
    for name, most, value in (
        ("p50", P50_MS, Spread.of(run.received_to_order.p50 for run in runs)),
        ("p90", None, Spread.of(run.received_to_order.p90 for run in runs)),
        ("p99", P99_MS, Spread.of(run.received_to_order.p99 for run in runs)),
        ("max", None, Spread.of(run.received_to_order.highest for run in runs)),
    ):
        what = f"{per_s:,} alerts/s, received to order at the venue, {name}"
        figures.append(Figure(what, value, "ms", digits=1, most=most if is_judged else None))
    due = f"{per_s:,} alerts/s, due to order at the venue"
    figures.append(Figure(f"{due}, p50", Spread.of(run.due_to_order.p50 for run in runs), "ms", digits=1))
    figures.append(Figure(f"{due}, p99", Spread.of(run.due_to_order.p99 for run in runs), "ms", digits=1))
    acked = Spread.of(run.due_to_ack.p99 for run in runs)
    late = Spread.of(run.lateness.p99 for run in runs)
    return [
        *figures,
        Figure(f"{per_s:,} alerts/s, due to answer, p99", acked, "ms", digits=1, is_detail=True),
        Figure("  client late, p99", late, "ms", digits=1, is_detail=True),
        Figure(
            "  workers, processor time",
            Spread.of(run.shares["worker"] / run.per_s * 1e6 for run in runs),
            "us/alert",
            digits=1,
            is_detail=True,
        ),
        *(
            Figure(
                f"  {name}, cores", Spread.of(run.shares[name] for run in runs), "", digits=2, is_detail=True
            )
            for name in runs[0].shares
        ),
    ]
