"""The journal and the posts that were not admitted, as they happen: read only, for people."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import RedisError

from libs.common.domain.alert import Alert
from libs.common.domain.ids import AlertId
from libs.common.store.client import translate
from libs.common.store.fan_out import Spread, ask_each, unavailable
from libs.common.store.journal import JournalEntry, Post, admitted_post, journal_entry, unadmitted_post
from libs.common.store.shards import Shard, Shards
from libs.common.store.streams import PAGE, Entry, last_id, read_entry

if TYPE_CHECKING:
    from libs.common.domain.errors import StoreUnavailable

WAIT_MS: Final = 1_000
"""How long one call waits for something to happen; below the time-out of the client."""

_LOOK_S: Final = 0.1
"""The pause between two looks at several shards where nothing happens."""
_AT_ONCE_S: Final = 0.01
"""The same where something has happened."""

AGAIN_AFTER_S: Final = 2.0
"""The pause between two askings of one of several shards that is away: the others may have to wait for its time-out."""

_ALERTS_KNOWN: Final = 1_000

T = TypeVar("T")

FindAlerts = Callable[[Sequence[AlertId]], Awaitable[Spread[dict[AlertId, Alert]]]]
"""Returns of each shard what it knows of some alerts."""


@dataclass(frozen=True, slots=True)
class Happened:
    """A post, or a state change, with the alert that it is about."""

    event: Post | JournalEntry
    alert: Alert | None
    """Of a duplicate the first one. None where there is none, or its record is gone."""


class Tail:
    """Reads both streams of every shard forwards, merged by time; remembers how far it came, so that a failed read loses
    nothing.

    An admitted alert is one post, and a state change for each of its accounts. Where one of several shards is away the
    others go on, and what happened there is told once it is back.
    """

    def __init__(self, shards: Shards, bare_alerts: FindAlerts) -> None:
        """Args:
        shards: Their clients wait longer for an answer than `WAIT_MS`.
        bare_alerts: Tells what alerts are about.
        """
        self.away: dict[int, StoreUnavailable] = {}
        """Of several shards those that did not answer when they were asked last, by their numbers."""
        self._again_at_s: dict[int, float] = {}
        self._shards = shards
        self._bare_alerts = bare_alerts
        journals = [shard.keys.journal for shard in shards]
        self._refused = [shard.keys.refused for shard in shards]
        self._streams = (*journals, *self._refused)
        self._at: dict[str, str] = {}
        self._seen_to_ms: int | None = None
        """The newest that the last look over several shards has seen."""
        self._told = _Lately()
        self._alerts: dict[AlertId, Alert] = {}

    async def start(self, since_ms: int | None = None) -> None:
        """Begin with what happens from now on, or happened since a time in ms since the epoch.

        Raises:
            StoreUnavailable: No shard answers.
            StoreCorrupt: A key is no stream.
        """
        if since_ms is not None:
            self._at = dict.fromkeys(self._streams, f"{max(0, since_ms - 1)}-0")
            return
        found = await self._ask(_ends)
        # A shard that is away is read from now on as well.
        self._at = dict.fromkeys(self._streams, f"{max(now_ms for _, now_ms in found.values())}-0")
        for ends, _ in found.values():
            self._at |= ends

    async def following(self) -> list[Happened]:
        """Return what came next, oldest first; nothing where nothing happened for a while.

        Raises:
            StoreUnavailable: No shard answers; the next call goes on where the last one ended.
            StoreCorrupt: A key is no stream.
        """
        merged = [(key, entry, self._event(key, entry)) for key, entry in await self._next()]
        lost = await self._learn([event.alert_id for _, _, event in merged if event.alert_id])
        # What cannot be told now, since its shard went away meanwhile, is read once more.
        merged = [one for one in merged if one[0] not in lost]
        self._at |= {key: entry.entry_id for key, entry, _ in merged}
        return [
            Happened(one, self._alerts.get(one.alert_id) if one.alert_id else None)
            for _, _, event in merged
            for one in self._with_post(event)
        ]

    def _event(self, key: str, entry: Entry) -> Post | JournalEntry:
        return unadmitted_post(entry) if key in self._refused else journal_entry(entry)

    async def _ask(self, question: Callable[[Shard], Awaitable[T]]) -> dict[int, T]:
        """Return what shards answer, by their numbers; those that are away are asked now and then.

        Raises:
            StoreUnavailable: None answers.
        """
        asked = [
            one
            for one in self._shards
            if one.number not in self.away or time.monotonic() >= self._again_at_s[one.number]
        ]
        if len(self.away) == len(self._shards):
            asked = list(self._shards)
        spread = await ask_each({one.number: question(one) for one in asked})
        for number, error in spread.away.items():
            self.away[number] = error
            self._again_at_s[number] = time.monotonic() + AGAIN_AFTER_S
        for number in spread.answers:
            self.away.pop(number, None)
        if not spread.answers:
            raise unavailable(self.away, of=len(self._shards))
        return dict(spread.answers)

    async def _next(self) -> list[tuple[str, Entry]]:
        if len(self._shards) == 1:
            return self._merged(await self._read(self._shards.first, WAIT_MS), None)
        over_at_s = time.monotonic() + WAIT_MS / 1_000
        while True:
            reads = await self._ask(lambda one: self._read(one, None))
            pages = {key: page for found in reads.values() for key, page in found.items()}
            # A shard may hold older ones that came after it was read: so what one look sees, the next one tells.
            known_to_ms = self._seen_to_ms
            self._seen_to_ms = max((page[-1].at_ms for page in pages.values()), default=None)
            merged = [] if known_to_ms is None else self._merged(pages, known_to_ms)
            if merged or time.monotonic() >= over_at_s:
                return merged
            await asyncio.sleep(_AT_ONCE_S if pages else _LOOK_S)

    async def _read(self, shard: Shard, block_ms: int | None) -> dict[str, list[Entry]]:
        """Return what is new in the streams of a shard, at most a page of each."""
        streams: Any = {key: self._at[key] for key in (shard.keys.journal, shard.keys.refused)}
        try:
            reply: Any = await shard.client.xread(streams, count=PAGE, block=block_ms)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return {key.decode(): [read_entry(*raw) for raw in page] for key, page in reply}

    def _merged(self, pages: dict[str, list[Entry]], known_to_ms: int | None) -> list[tuple[str, Entry]]:
        """Return what may be told of the pages of streams, oldest first: nothing beyond what is known of all."""
        # Behind a full page there is more, which may be older than the end of another.
        bounds = [page[-1].at_ms for page in pages.values() if len(page) == PAGE]
        bound = min(bounds if known_to_ms is None else [*bounds, known_to_ms], default=None)
        merged = [
            (key, entry)
            for key in self._streams
            for entry in pages.get(key, [])
            if bound is None or entry.at_ms <= bound
        ]
        # Of the same moment an admission comes before its repetition; the sort leaves it so.
        merged.sort(key=lambda one: one[1].at_ms)
        return merged

    async def _learn(self, alert_ids: Sequence[AlertId]) -> Collection[str]:
        """Learn what alerts are about; return the streams of shards that could not be asked.

        Raises:
            StoreUnavailable: None could.
        """
        unknown = [name for name in dict.fromkeys(alert_ids) if name not in self._alerts]
        if not unknown:
            return ()
        spread = await self._bare_alerts(unknown)
        away = spread.away
        if not spread.answers:
            raise unavailable(away, of=len(self._shards))
        found = {name: alert for part in spread.answers.values() for name, alert in part.items()}
        if len(self._alerts) + len(found) > _ALERTS_KNOWN:
            self._alerts = {name: self._alerts[name] for name in alert_ids if name in self._alerts}
        self._alerts |= found
        lost = [one.keys for one in self._shards if one.number in away]
        return {key for keys in lost for key in (keys.journal, keys.refused)}

    def _with_post(self, event: Post | JournalEntry) -> Sequence[Post | JournalEntry]:
        if isinstance(event, Post):
            # A post for accounts of several shards leaves a trace on each.
            return [event] if not event.event_id or self._told.is_new(event.event_id) else []
        if not event.is_admission or not self._told.is_new(event.alert_id):
            return [event]
        post = admitted_post(event)
        alert = self._alerts.get(event.alert_id)
        return [post if alert is None else replace(post, raw=alert.raw), event]


class _Lately:
    """Remembers which posts were told: their shares stand one after the other, or nearly so on several shards."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def is_new(self, name: str) -> bool:
        """Tell whether a post was not asked about lately."""
        if name in self._names:
            return False
        self._names[name] = None
        if len(self._names) > _ALERTS_KNOWN:
            del self._names[next(iter(self._names))]
        return True


async def _ends(shard: Shard) -> tuple[dict[str, str], int]:
    """Return the newest ids of the streams of a shard, and its time in ms since the epoch."""
    try:
        seconds, micros = await shard.client.time()
    except (RedisError, OSError) as error:
        raise translate(error) from error
    found = {key: await last_id(shard.client, key) for key in (shard.keys.journal, shard.keys.refused)}
    return found, int(seconds) * 1_000 + int(micros) // 1_000
