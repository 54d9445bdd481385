"""How the bridge is doing, in numbers read from Redis at one moment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from libs.common.domain.ids import AccountName, AlertId, LaneName
from libs.common.store.client import translate
from libs.common.store.keys import GROUP, Keys
from libs.common.store.lane_heads import lane_heads
from libs.common.store.upkeep import REAPER

LIVE_MS: Final = 7_000
"""A worker that runs checks in every two seconds."""

_MARKS: Final = ("promoted_at", "reclaimed_at", "suspect_until", "suspect_window")
_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One consumer of the group: a worker process, or what a gone one left."""

    name: str
    pending: int
    """Lanes it holds."""
    idle_ms: int
    """Since it last checked in, or was given a lane."""

    @property
    def is_live(self) -> bool:
        """Return whether it has spoken lately."""
        return self.idle_ms < LIVE_MS


@dataclass(frozen=True, slots=True)
class BreakerFigures:
    """A circuit breaker that is not closed."""

    scope: str
    """`account:market`."""
    state: str
    """`open`, or `half_open` once a trial order may go."""
    reset_at_ms: int


@dataclass(frozen=True, slots=True)
class LaneFigures:
    """A lane with work."""

    lane: LaneName
    waiting: int
    """Instructions in it, the one being executed included."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment, read in several steps: the sums need not agree to the last one under load."""

    now_ms: int
    """By Redis' clock."""
    lanes_ready: int
    """With work, waiting for a worker."""
    lanes_held: int
    lanes_parked: int
    parked_for: Mapping[str, int]
    """Reason -> parked lanes that wait for it; a lane whose head has none on record is left out."""
    waiting: int
    """Instructions in lanes, those being executed included."""
    oldest_waiting_ms: int | None
    """The age of the oldest of them; None where none waits."""
    dead_letters: int
    workers: tuple[WorkerFigures, ...]
    reaper_pass_ms: int | None
    """Since the reaper's last pass; None where there was none yet."""
    breakers: tuple[BreakerFigures, ...]
    longest_lane: LaneFigures | None = None
    """Where most wait; None where nothing does."""
    suspect_until_ms: int | None = None
    """Until when orders that Redis forgot may still execute, by its clock; None where it forgot none, or they are over."""
    unserved: tuple[int, ...] = ()
    """Shards at which no worker is alive, where there is one at another."""
    tokens_lag: int | None = None
    """Tokens that no worker was given yet; None where Redis does not know."""
    tokens_pending: int | None = None
    """Tokens that workers hold; None where Redis does not know."""
    orders_resting: int = 0
    """Orders that are followed at their venues."""


def merge_snapshots(parts: Mapping[int, Snapshot]) -> Snapshot:
    """Return the figures of several shards as those of one: sums, and of times the worst.

    Args:
        parts: By the shards' numbers; at least one.
    """
    snapshots = list(parts.values())
    first = snapshots[0]
    if len(snapshots) == 1:
        return first
    parked_for: Counter[str] = Counter()
    for one in snapshots:
        parked_for.update(one.parked_for)
    workers = _merge_workers(snapshots)
    passes = [one.reaper_pass_ms for one in snapshots]
    # Each by the clock of its own server.
    suspect_ms = [one.suspect_until_ms - one.now_ms for one in snapshots if one.suspect_until_ms is not None]
    longest = [one.longest_lane for one in snapshots if one.longest_lane is not None]
    return Snapshot(
        now_ms=first.now_ms,
        lanes_ready=sum(one.lanes_ready for one in snapshots),
        lanes_held=sum(one.lanes_held for one in snapshots),
        lanes_parked=sum(one.lanes_parked for one in snapshots),
        parked_for=dict(parked_for),
        waiting=sum(one.waiting for one in snapshots),
        oldest_waiting_ms=max(
            (one.oldest_waiting_ms for one in snapshots if one.oldest_waiting_ms is not None), default=None
        ),
        dead_letters=sum(one.dead_letters for one in snapshots),
        workers=workers,
        reaper_pass_ms=None if None in passes else max(at for at in passes if at is not None),
        breakers=tuple(
            sorted((one for part in snapshots for one in part.breakers), key=lambda one: one.scope)
        ),
        longest_lane=max(longest, key=lambda one: one.waiting, default=None),
        suspect_until_ms=first.now_ms + max(suspect_ms) if suspect_ms else None,
        unserved=_unserved(parts) if any(worker.is_live for worker in workers) else (),
        tokens_lag=_sum_known([one.tokens_lag for one in snapshots]),
        tokens_pending=_sum_known([one.tokens_pending for one in snapshots]),
        orders_resting=sum(one.orders_resting for one in snapshots),
    )


def _sum_known(parts: Sequence[int | None]) -> int | None:
    """Return a sum; None where a part of it is not known."""
    known = [one for one in parts if one is not None]
    return sum(known) if len(known) == len(parts) else None


def _merge_workers(snapshots: Sequence[Snapshot]) -> tuple[WorkerFigures, ...]:
    found: dict[str, WorkerFigures] = {}
    for one in (worker for part in snapshots for worker in part.workers):
        known = found.get(one.name, WorkerFigures(one.name, 0, one.idle_ms))
        pending, idle_ms = known.pending + one.pending, min(known.idle_ms, one.idle_ms)
        found[one.name] = WorkerFigures(one.name, pending, idle_ms)
    return tuple(sorted(found.values(), key=lambda one: one.name))


def _unserved(parts: Mapping[int, Snapshot]) -> tuple[int, ...]:
    return tuple(
        number for number, part in sorted(parts.items()) if not any(worker.is_live for worker in part.workers)
    )


class Figures:
    """Reads them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def read(self) -> Snapshot:
        """Return the figures of now.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            return await self._read()
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def _read(self) -> Snapshot:
        seconds, micros = await self._client.time()
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000
        ready, held = await self._fenced()
        waits: Any = await self._client.zrange(self._keys.parked, 0, -1)
        parked = [lane.decode() for lane in waits]
        waiting, oldest_at_ms, heads, longest = await self._waiting([*ready, *held, *parked])
        reasons = await self._waits_for([heads[lane] for lane in parked if lane in heads])
        meta = await self._client.hmget(self._keys.meta, list(_MARKS))
        # Both duties must go round for lanes to move.
        passes = [int(at) for at in meta[:2] if at is not None]
        suspect_until_ms = min(int(meta[2] or 0), now_ms + int(meta[3] or 0))
        breakers: Any = await self._client.hgetall(self._keys.breakers)
        tokens_lag, tokens_pending = await self._tokens()
        return Snapshot(
            now_ms=now_ms,
            lanes_ready=len(ready),
            lanes_held=len(held),
            lanes_parked=len(parked),
            parked_for=reasons,
            waiting=waiting,
            oldest_waiting_ms=None if oldest_at_ms is None else max(0, now_ms - oldest_at_ms),
            dead_letters=int(await self._client.xlen(self._keys.dead)),
            workers=await self._workers(now_ms),
            reaper_pass_ms=max(0, now_ms - min(passes)) if passes else None,
            breakers=_breakers(breakers, now_ms),
            longest_lane=longest,
            suspect_until_ms=suspect_until_ms if suspect_until_ms > now_ms else None,
            tokens_lag=tokens_lag,
            tokens_pending=tokens_pending,
            orders_resting=int(await self._client.zcard(self._keys.following)),
        )

    async def _tokens(self) -> tuple[int | None, int | None]:
        """Return how many tokens nobody was given yet, and how many are held; None for what Redis does not know."""
        try:
            groups: Any = await self._client.xinfo_groups(self._keys.ready)
        except ResponseError as error:
            if "no such key" not in str(error).lower():
                raise
            return 0, 0  # no work has come yet
        for group in groups:
            if group["name"] == GROUP.encode():
                # Older than 7.0 it does not count them; and it loses count where tokens were deleted ahead of it.
                lag = group.get("lag")
                return None if lag is None else int(lag), int(group["pending"])
        return None, None

    async def _fenced(self) -> tuple[list[str], list[str]]:
        ready: list[str] = []
        held: list[str] = []
        async for lane, fence in self._client.hscan_iter(self._keys.lanes, count=_CHUNK):
            (ready if fence.endswith(b"|") else held).append(lane.decode())
        return ready, held

    async def _waiting(self, lanes: list[str]) -> tuple[int, int | None, dict[str, str], LaneFigures | None]:
        """Return how many instructions wait, since when the oldest does, lane -> key of its head's record, and the
        longest lane.
        """
        waiting, oldest_at_ms, longest = 0, None, None
        heads: dict[str, str] = {}
        async for lane, length, head in lane_heads(self._client, self._keys, lanes):
            waiting += length
            if length > (0 if longest is None else longest.waiting):
                longest = LaneFigures(lane, length)
            if head is not None:
                oldest_at_ms = head.at_ms if oldest_at_ms is None else min(oldest_at_ms, head.at_ms)
                fields = head.fields
                if "alert" in fields and "account" in fields:
                    heads[lane] = self._keys.instruction(
                        AlertId(fields["alert"]), AccountName(fields["account"])
                    )
        return waiting, oldest_at_ms, heads, longest

    async def _waits_for(self, records: list[str]) -> dict[str, int]:
        found: Counter[str] = Counter()
        for start in range(0, len(records), _CHUNK):
            async with self._client.pipeline(transaction=False) as pipeline:
                for key in records[start : start + _CHUNK]:
                    pipeline.hget(key, "waits_for")
                replies: list[Any] = await pipeline.execute()
            found.update(reply.decode("utf-8", "replace") for reply in replies if reply)
        return dict(found)

    async def _workers(self, now_ms: int) -> tuple[WorkerFigures, ...]:
        """Return who checked in lately, and who holds lanes without having done so."""
        consumers: dict[str, WorkerFigures] = {}
        try:
            for consumer in await self._client.xinfo_consumers(self._keys.ready, GROUP):
                name = consumer["name"].decode()
                consumers[name] = WorkerFigures(name, int(consumer["pending"]), int(consumer["idle"]))
        except ResponseError as error:
            # No work has come yet, or the group was destroyed and the audit is about to make it again.
            if "no such key" not in str(error).lower() and not str(error).startswith("NOGROUP"):
                raise
        found = {name: one for name, one in consumers.items() if one.pending and name != REAPER}
        members: Any = await self._client.zrange(self._keys.workers, 0, -1, withscores=True)
        for holder, checked_in_at in members:
            # The consumer's idle time alone does not do: before Redis 7.2 one that waits for work looks gone.
            name, idle_ms = holder.decode(), max(0, now_ms - int(checked_in_at))
            known = consumers.get(name, WorkerFigures(name, 0, idle_ms))
            found[name] = WorkerFigures(name, known.pending, min(idle_ms, known.idle_ms))
        return tuple(sorted(found.values(), key=lambda one: one.name))


def _breakers(fields: dict[bytes, bytes], now_ms: int) -> tuple[BreakerFigures, ...]:
    found = []
    for scope, known in fields.items():
        state, _, rest = known.decode().partition("|")
        if state == "closed":
            continue
        reset_at = rest.split("|")[1:2]
        reset_at_ms = int(reset_at[0]) if reset_at and reset_at[0].isdigit() else 0
        if state == "paused" and reset_at_ms <= now_ms:
            continue  # the venue may be asked again
        is_half_open = state == "open" and reset_at_ms <= now_ms
        found.append(BreakerFigures(scope.decode(), "half_open" if is_half_open else state, reset_at_ms))
    return tuple(sorted(found, key=lambda one: one.scope))
