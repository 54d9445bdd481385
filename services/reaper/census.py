"""Shows how the whole bridge is doing: reads what `bascule status` reads, and shows it as metrics."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.reasons import Reason
from libs.common.policy.halts import HaltMode
from libs.common.store.fan_out import Spread, ask_each, unavailable
from libs.common.store.figures import BreakerFigures
from libs.common.store.health import Health, ShardHealth, merge_health, read_health
from libs.common.store.letter_reasons import NewLetters
from libs.common.store.replicas import unkept_promises
from libs.common.store.shard_readings import ShardReadings
from libs.common.store.shards import Shard
from libs.common.telemetry.census_metrics import CensusFigures, CensusMetrics

INTERVAL_S: Final = 5.0
"""Of 1,000 lanes a census takes 3 ms of Redis' time and 30 ms of ours: under a hundredth of both."""

PAUSES: Final = 50
"""Times as long as it took a census rests at least, so that it stays at that however many lanes there are."""

LONGEST_INTERVAL_S: Final = 30.0
"""Liveness reads how long ago the last pass began."""

TRIED_LATELY_MS: Final = 60_000
"""A breaker whose reset was no longer ago still counts as open: its trial is under way, or was and failed. One that is
half-open for longer waits for an alert, and says nothing about its venue any more."""

OTHER: Final = "other"
"""The reason of a dead letter that no version of ours gives."""

_BREAKER_STATES: Final = ("open", "half_open", "paused")
_UNREADABLE: Final = "unreadable"
_REASONS: Final = frozenset(reason.value for reason in Reason)


@dataclass(frozen=True, slots=True)
class ShardCensus:
    """What was read of one shard."""

    health: ShardHealth
    letters: Mapping[str, int]
    """Reason -> dead letters since the last census."""


class Census:
    """Reads all shards that answer: one that does not keeps nobody from seeing the others."""

    name = "census"

    def __init__(
        self,
        shards: Iterable[Shard],
        metrics: CensusMetrics,
        clock: Clock,
        *,
        durability: str,
        replicas: int = 0,
    ) -> None:
        """Args:
        shards: All of them, with connections that no other duty waits for.
        metrics: Show what was found.
        clock: Monotonic, for how long breakers are seen open and a census takes.
        durability: The configured promise.
        replicas: How many must have what is acknowledged, as configured.
        """
        self._parts = {
            shard.number: (ShardReadings(shard), NewLetters(shard.client, shard.keys)) for shard in shards
        }
        self._metrics = metrics
        self._clock = clock
        self._durability = durability
        self._replicas = replicas
        self._breakers = OpenBreakers(clock)
        self._rests_until_ms = 0
        """Monotonic: a census that fails is tried again soon, but costs what any other does."""

    async def run_once(self) -> float:
        """Read, and show it; the pause grows with what there is to read.

        Raises:
            BridgeError: A shard did not answer, or holds what cannot be read; the others are shown.
        """
        began_at_ms = self._clock.monotonic_ms()
        if began_at_ms < self._rests_until_ms:
            return (self._rests_until_ms - began_at_ms) / 1_000
        spread = await ask_each(
            {number: self._read(readings, letters) for number, (readings, letters) in self._parts.items()}
        )
        away = {n: error for n, error in spread.failed.items() if isinstance(error, StoreUnavailable)}
        up = float(not away)
        if not spread.answers:
            self._metrics.show(CensusFigures(redis_up=up))
        else:
            for one in spread.answers.values():
                self._count(one.letters)
            health = merge_health(Spread({n: one.health for n, one in spread.answers.items()}, away))
            self._metrics.show(self._figures(health, up))
        now_ms = self._clock.monotonic_ms()
        rest_s = min(LONGEST_INTERVAL_S, PAUSES * (now_ms - began_at_ms) / 1_000)
        if spread.failed:
            if spread.answers:
                self._rests_until_ms = now_ms + round(rest_s * 1_000)
            raise unavailable(spread.away, of=len(self._parts))
        return max(INTERVAL_S, rest_s)

    async def _read(self, readings: ShardReadings, letters: NewLetters) -> ShardCensus:
        return ShardCensus(await read_health(readings, self._durability), await letters.count())

    def _count(self, letters: Mapping[str, int]) -> None:
        for reason, count in letters.items():
            self._metrics.dead_letters_left(reason if reason in _REASONS else OTHER, count)

    def _figures(self, health: Health, up: float) -> CensusFigures:
        snapshot = health.snapshot
        is_broken = any(
            unkept_promises(one.facts, self._durability, self._replicas) for one in health.servers
        )
        shares = [one.facts.memory_share for one in health.servers if one.facts.memory_share is not None]
        states = Counter(one.state for one in snapshot.breakers)
        modes = Counter(halt.mode.value for halt in health.halts.halts)
        return CensusFigures(
            redis_up=up,
            redis_durable=float(not is_broken),
            redis_memory_share=max(shares, default=None),
            lanes={
                "ready": snapshot.lanes_ready,
                "held": snapshot.lanes_held,
                "parked": snapshot.lanes_parked,
            },
            lanes_parked=_by_reason(snapshot.parked_for),
            instructions_waiting=snapshot.waiting,
            oldest_waiting_s=(snapshot.oldest_waiting_ms or 0) / 1_000,
            stream_lag=snapshot.tokens_lag,
            stream_pending=snapshot.tokens_pending,
            workers_live=sum(worker.is_live for worker in snapshot.workers),
            dead_letters=snapshot.dead_letters,
            breakers={state: states[state] for state in _BREAKER_STATES},
            breaker_open_s=self._breakers.longest_s(snapshot.breakers, snapshot.now_ms),
            halts={mode.value: modes[mode.value] for mode in HaltMode}
            | {_UNREADABLE: len(health.halts.unreadable)},
            orders_resting=snapshot.orders_resting,
        )


class OpenBreakers:
    """Since when breakers are seen open: Redis knows only when each is tried next."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since_ms: dict[str, int] = {}

    def longest_s(self, breakers: Iterable[BreakerFigures], now_ms: int) -> float:
        """Return for how long the longest open one was seen open, in seconds; 0 where none is.

        Args:
            breakers: All that are not closed now.
            now_ms: By the clock of their records.
        """
        at_ms = self._clock.monotonic_ms()
        self._since_ms = {
            one.scope: self._since_ms.get(one.scope, at_ms)
            for one in breakers
            if one.state == "open"
            or (one.state == "half_open" and now_ms - one.reset_at_ms <= TRIED_LATELY_MS)
        }
        return (at_ms - min(self._since_ms.values(), default=at_ms)) / 1_000


def _by_reason(parked_for: Mapping[str, int]) -> dict[str, float]:
    found: Counter[str] = Counter()
    for reason, lanes in parked_for.items():
        found[reason if reason in _REASONS else OTHER] += lanes
    return {reason: float(lanes) for reason, lanes in sorted(found.items())}
