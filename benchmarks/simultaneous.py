"""84 alerts at one instant, to a venue that takes 0.8 s for an answer: 7 strategies on 12 symbols."""

from dataclasses import asdict, dataclass
from statistics import median

from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.latency import warm_up
from benchmarks.scene import STRATEGIES, Scene, scene

ANSWER_MS = 800
STRATEGIES_PER_SYMBOL, SYMBOLS = 7, 12
ALERTS = STRATEGIES_PER_SYMBOL * SYMBOLS
WITHIN_MS = 50
WORKERS = 3

LANES = {ALERTS: WITHIN_MS, SYMBOLS: (STRATEGIES_PER_SYMBOL - 1) * ANSWER_MS + WITHIN_MS}
"""How many, and by when the last order is to be at the venue, ms. One lane for each strategy of a symbol, or one for each
symbol, in which each alert waits for the answer to the one before."""


@dataclass(frozen=True)
class Run:
    """One instant."""

    lanes: int
    answered_ms: float
    """From the instant to the last answer to a post."""
    first_order_ms: float
    """From the instant until the first order was at the venue."""
    last_order_ms: float
    venue_ms: float
    """What the venue took for an answer, in the median: its timers are late too."""


def measure(effort: Effort) -> Measured:
    """Return when the last order was sent, for lanes by strategy and for lanes by symbol."""
    found: dict[int, list[Run]] = {lanes: [] for lanes in LANES}
    with scene(workers=WORKERS, config=STRATEGIES) as stage:
        warm_up(stage)
        run_once(stage, ALERTS, answer_ms=0)
        for turn in range(1, effort.runs + 1):
            for lanes in LANES:
                effort.patience.wait()
                run = run_once(stage, lanes, answer_ms=ANSWER_MS)
                found[lanes].append(run)
                print(
                    f"  {turn}/{effort.runs} {lanes} lanes, last order after {run.last_order_ms:7.1f} ms",
                    flush=True,
                )
    figures = []
    for lanes, runs in found.items():
        last = Spread.of(run.last_order_ms for run in runs)
        spread = Spread.of(run.last_order_ms - run.first_order_ms for run in runs)
        figures += [
            Figure(f"{lanes} lanes, last order after", last, "ms", digits=1, most=LANES[lanes]),
            Figure("  from the first order to the last", spread, "ms", digits=1),
            Figure("  the venue's answers took", Spread.of(run.venue_ms for run in runs), "ms", digits=1),
            Figure(
                "  first order after",
                Spread.of(run.first_order_ms for run in runs),
                "ms",
                digits=1,
                is_detail=True,
            ),
            Figure(
                "  last answer after",
                Spread.of(run.answered_ms for run in runs),
                "ms",
                digits=1,
                is_detail=True,
            ),
        ]
    runs_by_lanes = {lanes: [asdict(run) for run in runs] for lanes, runs in found.items()}
    return Measured(figures, runs_by_lanes, {"alerts": ALERTS, "workers": WORKERS, "answer_ms": ANSWER_MS})


def run_once(stage: Scene, lanes: int, *, answer_ms: int) -> Run:
    """Post every alert at one instant, each down a connection of its own."""
    stage.forget()
    stage.venue.answer_after(answer_ms)
    symbols = [f"SYM{number:05d}" for number in range(SYMBOLS)]
    strategies = STRATEGIES_PER_SYMBOL if lanes == ALERTS else 1
    posts = stage.post(stage.alerts(symbols, [0] * ALERTS, strategies), ALERTS)
    orders = stage.orders_of(posts)
    stage.wait_idle()
    instant_us = min(post.due_us for post in posts.posted)
    times_us = [arrival.at_us for arrival in orders.values()]
    return Run(
        lanes=lanes,
        answered_ms=(max(post.acked_us for post in posts.posted) - instant_us) / 1e3,
        first_order_ms=(min(times_us) - instant_us) / 1e3,
        last_order_ms=(max(times_us) - instant_us) / 1e3,
        venue_ms=median((order.answered_us - order.at_us) / 1e3 for order in stage.venue.arrivals()),
    )
