"""The journal and the posts that were not admitted, as they happen: read only, for people."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.alert import Alert
from libs.common.domain.ids import AlertId
from libs.common.store.client import translate
from libs.common.store.journal import JournalEntry, Post, admitted_post, journal_entry, unadmitted_post
from libs.common.store.keys import Keys
from libs.common.store.records import Records
from libs.common.store.streams import read_entry

WAIT_MS: Final = 1_000
"""How long one call waits for something to happen; below the time-out of the client."""
PAGE: Final = 500

_BEGINNING: Final = "0-0"

_ALERTS_KNOWN: Final = 1_000


@dataclass(frozen=True, slots=True)
class Happened:
    """A post, or a state change, with the alert that it is about."""

    event: Post | JournalEntry
    alert: Alert | None
    """Of a duplicate the first one. None where there is none, or its record is gone."""


class Tail:
    """Reads both streams forwards, merged by time; remembers how far it came, so that a failed read loses nothing.

    An admitted alert is one post, and a state change for each of its accounts.
    """

    def __init__(self, client: Redis, keys: Keys, records: Records) -> None:
        """Args:
        client: Waits longer for an answer than `WAIT_MS`.
        keys: The shard's.
        records: Tell what alerts are about.
        """
        self._client = client
        self._keys = keys
        self._records = records
        self._at: dict[str, str] = {}
        self._admitted: AlertId | None = None
        self._alerts: dict[AlertId, Alert] = {}

    async def start(self, since_ms: int | None = None) -> None:
        """Begin with what happens from now on, or happened since a time in ms since the epoch.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A key is no stream.
        """
        for key in (self._keys.journal, self._keys.refused):
            if since_ms is not None:
                self._at[key] = f"{max(0, since_ms - 1)}-0"
                continue
            try:
                newest: Any = await self._client.xrevrange(key, count=1)
            except (RedisError, OSError) as error:
                raise translate(error) from error
            self._at[key] = newest[0][0].decode() if newest else _BEGINNING

    async def following(self) -> list[Happened]:
        """Return what came next, oldest first; nothing where nothing happened for a while.

        Raises:
            StoreUnavailable: No answer; the next call goes on where the last one ended.
            StoreCorrupt: A key is no stream.
        """
        streams: Any = dict(self._at)
        try:
            reply: Any = await self._client.xread(streams, count=PAGE, block=WAIT_MS)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        pages = {key.decode(): [read_entry(*raw) for raw in page] for key, page in reply}
        # Behind a full page there is more, which may be older than the end of the other.
        known_to_ms = min((page[-1].at_ms for page in pages.values() if len(page) == PAGE), default=None)
        merged = [
            (key, entry)
            for key in (self._keys.journal, self._keys.refused)
            for entry in pages.get(key, [])
            if known_to_ms is None or entry.at_ms <= known_to_ms
        ]
        # Of the same moment an admission comes before its repetition; the sort leaves it so.
        merged.sort(key=lambda one: one[1].at_ms)
        events = [
            unadmitted_post(entry) if key == self._keys.refused else journal_entry(entry)
            for key, entry in merged
        ]
        await self._learn([event.alert_id for event in events if event.alert_id])
        # Not before everything is known: what cannot be told now is read once more.
        self._at |= {key: entry.entry_id for key, entry in merged}
        return [
            Happened(one, self._alerts.get(one.alert_id) if one.alert_id else None)
            for event in events
            for one in self._with_post(event)
        ]

    async def _learn(self, alert_ids: Sequence[AlertId]) -> None:
        unknown = [name for name in dict.fromkeys(alert_ids) if name not in self._alerts]
        found = await self._records.bare_alerts(unknown)
        if len(self._alerts) + len(found) > _ALERTS_KNOWN:
            self._alerts = {name: self._alerts[name] for name in alert_ids if name in self._alerts}
        self._alerts |= found

    def _with_post(self, event: Post | JournalEntry) -> Sequence[Post | JournalEntry]:
        # The shares of an alert stand one after the other.
        if isinstance(event, Post) or not event.is_admission or event.alert_id == self._admitted:
            return [event]
        self._admitted = event.alert_id
        post = admitted_post(event)
        alert = self._alerts.get(event.alert_id)
        return [post if alert is None else replace(post, raw=alert.raw), event]
