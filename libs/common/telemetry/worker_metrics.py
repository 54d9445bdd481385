"""The worker's metrics."""

from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from libs.common.telemetry import unlocked
from libs.common.telemetry.unlocked import LabelledCounter

BUCKETS_S: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""From what a venue on the same machine takes to beyond every time-out."""

WAIT_BUCKETS_S: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
)  # fmt: skip
"""The same, to beyond what most alerts may wait at all."""

ORDER_OUTCOMES: Final = (
    "accepted", "partial", "filled", "rejected", "canceled", "expired", "unknown", "resolved", "not_executed",
)  # fmt: skip
"""What may become of an order: what its venue says, and of one whose outcome is unknown, that it was found after all
(`resolved`) or never arrived (`not_executed`)."""


class WorkerMetrics:
    """What became of lanes, instructions and orders."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._held_of: dict[int, int] = {}
        self._followed_of: dict[int, int] = {}
        self._held = Gauge("bascule_lanes_held", "Lanes that this worker runs now.", registry=registry)
        self._lost = Counter("bascule_lanes_lost_total", "Lanes found to be another's.", registry=registry)
        self._failures = Counter(
            "bascule_lane_failures_total", "Unexpected errors in a lane.", registry=registry
        )
        self._ended = LabelledCounter(
            registry, "bascule_instructions_ended_total", "Instructions that ended.", "state", "reason"
        )
        self._waits = LabelledCounter(
            registry,
            "bascule_waits_total",
            "Times that an instruction had to wait before it was sent.",
            "reason",
        )
        calls = Histogram(
            "bascule_broker_call_seconds",
            "Broker calls that may place an order: answered, rejected, unavailable (not sent) or unknown.",
            ("outcome",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._calls = cache(calls.labels)
        for outcome in ("answered", "rejected", "unavailable", "unknown"):
            self._calls(outcome)
        self._age = unlocked.Histogram(
            registry, "bascule_alert_to_sent_seconds", "From admission to the broker call.", WAIT_BUCKETS_S
        )
        self._queue_wait = unlocked.Histogram(
            registry,
            "bascule_queue_wait_seconds",
            "From when an instruction was admitted, or replayed, until a worker first came to it.",
            WAIT_BUCKETS_S,
        )
        self._orders = LabelledCounter(
            registry,
            "bascule_orders_total",
            "Orders by what became of them, counted at each turn: one that is accepted and filled later is both. `unknown` is "
            "followed by `resolved` (found after all) or `not_executed` (it never arrived).",
            "outcome",
        )
        for outcome in ORDER_OUTCOMES:
            self._orders.of(outcome)
        self._followed = Gauge(
            "bascule_orders_followed",
            "Resting orders that are followed, by all workers together: the same number at each.",
            registry=registry,
        )
        self._fills = LabelledCounter(
            registry, "bascule_order_fills_total", "Fills of resting orders.", "account"
        )
        self._look_ups = LabelledCounter(
            registry,
            "bascule_look_up_failures_total",
            "Look-ups of resting orders, positions and balances that a venue did not answer.",
            "account",
        )
        self._lost_orders = LabelledCounter(
            registry,
            "bascule_orders_lost_total",
            "Resting orders that their venue does not know any more.",
            "account",
        )
        self._drifts = LabelledCounter(
            registry,
            "bascule_drifts_total",
            "Differences from a venue's positions and open orders that our own orders do not explain.",
            "account",
            "kind",
        )
        self._incarnations = LabelledCounter(
            registry,
            "bascule_redis_incarnations_total",
            "Starts of Redis that this worker was the first to meet; suspect: its data may lack the newest writes.",
            "data",
        )
        self._held_orders = LabelledCounter(
            registry,
            "bascule_orders_held_total",
            "Times that a lane was held, since its venue cannot say what became of an order.",
            "account",
        )

    def lanes_held(self, lanes: int, shard: int = 0) -> None:
        """Note how many lanes of a shard are run now."""
        self._held_of[shard] = lanes
        self._held.set(sum(self._held_of.values()))

    def redis_incarnated(self, *, is_suspect: bool) -> None:
        """Count a start of Redis that nobody met before."""
        self._incarnations.of("suspect" if is_suspect else "kept").inc()

    def order_held(self, account: str) -> None:
        """Count a lane held for an order that cannot be told."""
        self._held_orders.of(account).inc()

    def lane_lost(self) -> None:
        """Count a lane that turned out to be another's."""
        self._lost.inc()

    def lane_failed(self) -> None:
        """Count an unexpected error in a lane."""
        self._failures.inc()

    def settled(self, state: str, reason: str) -> None:
        """Count an instruction that ended."""
        self._ended.of(state, reason).inc()

    def waited(self, reason: str) -> None:
        """Count a wait that `begin` answered."""
        self._waits.of(reason).inc()

    def sending(self, age_ms: int) -> None:
        """Note how old the alert is as its order leaves, ms since admission."""
        self._age.observe(max(0, age_ms) / 1_000)

    def placed(self, outcome: str, took_s: float) -> None:
        """Note a broker call: answered, rejected, unavailable or unknown."""
        self._calls(outcome).observe(took_s)

    def reached(self, queued_ms: int) -> None:
        """Note how long an instruction waited until a worker first came to it, ms."""
        self._queue_wait.observe(queued_ms / 1_000)

    def order_became(self, outcome: str) -> None:
        """Count what became of an order, one of `ORDER_OUTCOMES`."""
        self._orders.of(outcome).inc()

    def orders_followed(self, orders: int, shard: int = 0) -> None:
        """Note how many resting orders are followed now, by all workers."""
        self._followed_of[shard] = orders
        self._followed.set(sum(self._followed_of.values()))

    def order_filled(self, account: str) -> None:
        """Count a fill of a resting order."""
        self._fills.of(account).inc()

    def look_up_failed(self, account: str) -> None:
        """Count a question to a venue that was not answered."""
        self._look_ups.of(account).inc()

    def order_lost(self, account: str) -> None:
        """Count a resting order that its venue does not know any more."""
        self._lost_orders.of(account).inc()

    def drifted(self, account: str, kind: str) -> None:
        """Count a difference from the venue: `position` or `order`."""
        self._drifts.of(account, kind).inc()
