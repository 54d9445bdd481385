"""The reaper's passes over lanes: promote, reclaim, audit, retire, trim."""

from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AccountName, AlertId, LaneName, Market
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script

SCANS: Final = 10
"""Stretches of the keyspace that one audit looks at."""

REAPER: Final = "reaper"
"""The consumer that claims stalled tokens; it never keeps one beyond its script."""

TRIMMED_AT_ONCE: Final = 10_000
"""Journal entries that one call drops at most: it takes Redis a few milliseconds."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """One pass of promote."""

    lanes: int
    next_in_ms: int | None
    """Until the next parked lane is due; None where none is parked."""


@dataclass(frozen=True, slots=True)
class Reclamation:
    """Lanes that got a new token because their holder stopped renewing."""

    lanes: int
    dropped: int
    """Tokens that were not current any more."""
    failed: int
    """Lanes that were not reclaimed, since their records cannot be used."""
    next_lapse_ms: int | None = None
    """Until the next lease runs out, where that is before the next pass."""
    heads: tuple["ReclaimedHead", ...] = ()
    """What their lost holders were executing."""


@dataclass(frozen=True, slots=True)
class Touched:
    """An instruction that upkeep did something to."""

    alert_id: AlertId
    account: AccountName
    market: Market
    """Empty where its record is gone."""
    body: bytes
    """As it is encoded; it need not be readable."""
    elapsed_ms: int
    """Since it was admitted first."""


@dataclass(frozen=True, slots=True)
class ReclaimedHead:
    """An instruction that its lost holder was executing."""

    instruction: Touched
    lost_holders: int
    """With this one."""


@dataclass(frozen=True, slots=True)
class Grace:
    """Redis was down, frozen, or its clock stepped back: leases started afresh instead."""

    leases: int


@dataclass(frozen=True, slots=True)
class AuditFindings:
    """One pass of audit."""

    tokens: int
    """Lanes whose token was lost and issued again."""
    expired: int
    """Instructions that ended EXPIRED behind a head that waits."""
    failed: int
    """Lanes that were left, since their records cannot be used."""
    ended: tuple["Touched", ...] = ()
    """Those that expired, at most a thousand."""


class Upkeep:
    """What the reaper does; any number may do it at once."""

    def __init__(self, client: Redis, keys: Keys, *, now_ms: int | None = None) -> None:
        self._client = client
        self._keys = keys
        self._now = "" if now_ms is None else str(now_ms)
        self._scripts = {name: Script(name) for name in ("promote", "reclaim", "audit", "retire")}
        self._fence_cursor = 0
        self._stream_cursor = 0

    async def promote(self, *, at_most: int = 500) -> Promotion:
        """Give parked lanes that are due a token."""
        reply = await self._run("promote", at_most)
        return Promotion(int(reply[0]), None if int(reply[1]) < 0 else int(reply[1]))

    async def reclaim(
        self, *, lease_ms: int, next_in_ms: int = 0, at_most: int = 1_000
    ) -> Reclamation | Grace:
        """Issue new tokens for lanes whose lease ran out; `next_in_ms` is when the next pass would be."""
        reply = await self._run("reclaim", lease_ms, REAPER, at_most, next_in_ms)
        if reply[0] == b"GRACE":
            return Grace(int(reply[1]))
        next_lapse_ms = int(reply[4])
        return Reclamation(
            int(reply[1]),
            int(reply[2]),
            int(reply[3]),
            next_lapse_ms=None if next_lapse_ms < 0 else next_lapse_ms,
            heads=tuple(ReclaimedHead(_touched(fields[:5]), int(fields[5])) for fields in reply[5:]),
        )

    async def audit(self, *, keep_dead_ms: int, scan: int = 1_000) -> AuditFindings:
        """Heal lanes whose token was lost, and expire what waits behind held heads.

        Each pass looks at about `scan` fences and ten times as many keys, and goes on from there in the next.
        """
        try:
            self._fence_cursor, fences = await self._client.hscan(
                self._keys.lanes, self._fence_cursor, count=scan
            )
            streams = await self._lane_streams(scan)
            parked = await self._client.zrange(self._keys.parked, 0, scan - 1)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        cut = len(self._keys.lane(LaneName("")).encode())
        found = [key[cut:] for key in streams]
        reply = await self._run("audit", keep_dead_ms, len(fences), *fences, *found, "", *parked)
        ended = tuple(_touched(fields) for fields in reply[3:])
        return AuditFindings(int(reply[0]), int(reply[1]), int(reply[2]), ended)

    async def _lane_streams(self, scan: int) -> list[bytes]:
        """Return the lanes among the next keys: most keys are records, so many are looked at."""
        found: list[bytes] = []
        for _ in range(SCANS):
            self._stream_cursor, keys = await self._client.scan(
                self._stream_cursor, match=self._keys.lane(LaneName("*")), count=scan, _type="stream"
            )
            found += cast("list[bytes]", keys)
            if self._stream_cursor == 0:
                break
        return found

    async def retire(self, *, idle_ms: int) -> int:
        """Delete consumers without pending entries that have been idle for this long; returns how many."""
        keys = [*self._keys.fixed, self._keys.workers]
        return int(await self._scripts["retire"].run(self._client, keys, [self._now, idle_ms]))

    async def trim(self, *, journal_ms: int, dead_letters_ms: int, now_ms: int) -> int:
        """Drop journal entries and dead letters older than their retention; returns how many."""
        journal = 0
        try:
            while True:
                # An approximate trim stops there by itself; nobody else waits long for it.
                dropped = await self._client.xtrim(
                    self._keys.journal,
                    minid=f"{now_ms - journal_ms}-0",
                    approximate=True,
                    limit=TRIMMED_AT_ONCE,
                )
                journal += int(dropped)
                # It drops whole nodes of the stream, of a hundred entries.
                if int(dropped) < TRIMMED_AT_ONCE // 2:
                    break
            letters = await self._client.xtrim(
                self._keys.dead, minid=f"{now_ms - dead_letters_ms}-0", approximate=False
            )
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return journal + int(letters)

    async def time_ms(self) -> int:
        """Return Redis' time."""
        try:
            seconds, micros = await self._client.time()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def _run(self, script: str, *args: str | bytes | int) -> Any:
        return await self._scripts[script].run(self._client, self._keys.fixed, [self._now, *args])


def _touched(fields: list[bytes]) -> Touched:
    alert_id, account, market, body, elapsed_ms = fields
    return Touched(
        AlertId(alert_id.decode()),
        AccountName(account.decode()),
        Market(market.decode()),
        body,
        int(elapsed_ms),
    )
