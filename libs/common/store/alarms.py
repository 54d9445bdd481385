"""Alarms that are raised, and the notices of those that were raised and cleared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.policy.alarms import AlarmKind, Change
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.store.streams import Entry, pages_backwards

NOTICES_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Alarm:
    """One that is raised."""

    kind: str
    subject: str
    """What it is about; empty where there is but one of its kind."""
    detail: str
    raised_at_ms: int
    confirmed_at_ms: int
    """When it was last seen to go on."""
    shard: int = 0


@dataclass(frozen=True, slots=True)
class Notice:
    """That an alarm was raised or cleared."""

    entry_id: str
    at_ms: int
    kind: str
    subject: str
    change: str
    """`raised` or `cleared`."""
    detail: str
    shard: int = 0


class Alarms:
    """Raises, clears and reads the alarms of one shard."""

    def __init__(self, client: Redis, keys: Keys, *, shard: int = 0, now_ms: int | None = None) -> None:
        """Args:
        client: For scripts and reading.
        keys: The shard's.
        shard: Its number.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._shard = shard
        self._now = "" if now_ms is None else str(now_ms)
        self._alarm = Script("alarm")

    async def note(self, kind: AlarmKind, subject: str, change: Change, detail: str) -> bool:
        """Raise or clear an alarm; tell whether that is a change, which is told to one caller alone.

        An alarm that is raised already keeps its detail, and is confirmed.

        Raises:
            StoreUnavailable: No answer: it may have been done.
        """
        keys = [*self._keys.fixed, self._keys.alarms, self._keys.notices]
        name = f"{kind}:{subject}"
        answer = await self._alarm.run(self._client, keys, [self._now, name, change, detail, NOTICES_KEPT])
        return bool(answer == b"CHANGED")

    async def raised(self) -> list[Alarm]:
        """Return those that are raised, the oldest first.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: They are kept under something else than a hash.
        """
        try:
            rows: Mapping[Any, Any] = await self._client.hgetall(self._keys.alarms)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found = [_alarm(name.decode("utf-8", "replace"), value, self._shard) for name, value in rows.items()]
        return sorted(found, key=lambda one: (one.raised_at_ms, one.kind, one.subject))

    async def newest_notices(self, limit: int) -> list[Notice]:
        """Return what was raised and cleared last, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        found: list[Notice] = []
        async for page in pages_backwards(self._client, self._keys.notices, None):
            found += [notice_of(entry, self._shard) for entry in page]
            if len(found) >= limit:
                break
        return found[:limit]


def notice_of(entry: Entry, shard: int) -> Notice:
    """Return the notice that an entry of their stream is."""
    kind, _, subject = entry.fields.get("name", "").partition(":")
    return Notice(
        entry_id=entry.entry_id,
        at_ms=entry.at_ms,
        kind=kind,
        subject=subject,
        change=entry.fields.get("change", ""),
        detail=entry.fields.get("detail", ""),
        shard=shard,
    )


def _alarm(name: str, value: bytes, shard: int) -> Alarm:
    kind, _, subject = name.partition(":")
    raised_at, _, rest = value.decode("utf-8", "replace").partition("|")
    confirmed_at, _, detail = rest.partition("|")
    return Alarm(
        kind=kind,
        subject=subject,
        detail=detail,
        raised_at_ms=int(raised_at) if raised_at.isdecimal() else 0,
        confirmed_at_ms=int(confirmed_at) if confirmed_at.isdecimal() else 0,
        shard=shard,
    )
