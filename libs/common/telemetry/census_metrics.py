"""The metrics of the census: how the whole bridge is doing, as the reaper last read it from Redis.

What is not known is not shown, and never as 0: a gauge here appears and disappears with what can be told. Several
reapers show the same figures, so whoever asks takes the highest.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Figure = float | None
Figures = Mapping[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CensusFigures:
    """What one census found; each field is shown as the metric of `GAUGES` or `LABELLED`. None: not known."""

    redis_up: Figure = None
    redis_durable: Figure = None
    redis_memory_share: Figure = None
    lanes: Figures = None
    lanes_parked: Figures = None
    instructions_waiting: Figure = None
    oldest_waiting_s: Figure = None
    stream_lag: Figure = None
    stream_pending: Figure = None
    workers_live: Figure = None
    dead_letters: Figure = None
    breakers: Figures = None
    breaker_open_s: Figure = None
    halts: Figures = None
    orders_resting: Figure = None


GAUGES: Final[Mapping[str, tuple[str, str]]] = {
    "redis_up": ("bascule_redis_up", "1 while all shards answer; 0 where one does not."),
    "redis_durable": (
        "bascule_redis_durable",
        "1 while all servers that answer keep the promises of the configuration and have its replicas; else 0.",
    ),
    "redis_memory_share": (
        "bascule_redis_memory_share",
        "What Redis uses of its limit, or of its machine's memory without one; of several servers: the fullest.",
    ),
    "instructions_waiting": (
        "bascule_instructions_waiting",
        "Instructions in lanes, those being executed included.",
    ),
    "oldest_waiting_s": (
        "bascule_oldest_waiting_seconds",
        "The age of the oldest instruction in a lane; 0 where none waits.",
    ),
    "stream_lag": (
        "bascule_stream_lag",
        "Tokens of the ready stream that no worker was given yet; absent where Redis cannot tell, as before 7.0.",
    ),
    "stream_pending": (
        "bascule_stream_pending",
        "Tokens of the ready stream that workers hold; absent where Redis cannot tell.",
    ),
    "workers_live": ("bascule_workers_live", "Workers that spoke lately."),
    "dead_letters": ("bascule_dead_letters", "Dead letters that are kept now."),
    "breaker_open_s": (
        "bascule_breaker_open_seconds",
        "For how long the longest open breaker was seen open, trials that failed included; 0 where none is open.",
    ),
    "orders_resting": ("bascule_orders_resting", "Orders that rest at their venues and are followed."),
}
"""Field -> name and meaning."""

LABELLED: Final[Mapping[str, tuple[str, str, str]]] = {
    "lanes": ("bascule_lanes", "Lanes with work: ready for a worker, held by one, or parked.", "state"),
    "lanes_parked": ("bascule_lanes_parked", "Parked lanes, by what they wait for.", "reason"),
    "breakers": (
        "bascule_breakers",
        "Breakers that are not closed; paused: the venue asked the account to wait.",
        "state",
    ),
    "halts": (
        "bascule_halts",
        "Halts that are set, by mode; unreadable: a record that stops everything in its scope.",
        "mode",
    ),
}
"""Field -> name, meaning and label."""


LETTERS: Final = (
    "bascule_dead_letters_total",
    "Dead letters that were left since this reaper runs, by reason.",
    "reason",
)
"""Counted by the same collector, since one registry takes this name and that of the gauge only from one."""


class CensusMetrics(Collector):
    """Shows the last census; and counts dead letters."""

    def __init__(self, registry: CollectorRegistry, *, dead_letter_reasons: Iterable[str] = ()) -> None:
        """Args:
        registry: Where they are declared.
        dead_letter_reasons: Shown from the start, so that the first letter is a rise.
        """
        self._figures = CensusFigures()
        self._letters = dict.fromkeys(dead_letter_reasons, 0)
        registry.register(self)

    def show(self, figures: CensusFigures) -> None:
        """Show these from now on, and nothing of those before."""
        self._figures = figures

    def dead_letters_left(self, reason: str, letters: int = 1) -> None:
        """Count new dead letters; reasons are a fixed set."""
        self._letters[reason] = self._letters.get(reason, 0) + letters

    def describe(self) -> Iterable[Metric]:
        """Return every family without samples: what of them is known changes."""
        yield from self._families(CensusFigures(), keep_empty=True)
        yield self._counter()

    def collect(self) -> Iterable[Metric]:
        """Return the families of what is known."""
        yield from self._families(self._figures, keep_empty=False)
        yield self._counter()

    def _counter(self) -> Metric:
        name, documentation, label = LETTERS
        family = CounterMetricFamily(name, documentation, labels=(label,))
        for reason, letters in self._letters.items():
            family.add_metric((reason,), letters)
        return family

    def _families(self, figures: CensusFigures, *, keep_empty: bool) -> Iterator[Metric]:
        for name, (metric, documentation) in GAUGES.items():
            value: Figure = getattr(figures, name)
            if value is not None or keep_empty:
                yield GaugeMetricFamily(metric, documentation, value=value)
        for name, (metric, documentation, label) in LABELLED.items():
            values: Figures = getattr(figures, name)
            if values is not None or keep_empty:
                family = GaugeMetricFamily(metric, documentation, labels=(label,))
                for key, one in (values or {}).items():
                    family.add_metric((key,), one)
                yield family
