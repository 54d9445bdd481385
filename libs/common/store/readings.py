"""Everything that is read for people, behind one connection; lists are searched newest first, within bounds."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.policy.fills import Position
from libs.common.store.checks import ServerFacts, read_server
from libs.common.store.client import connect, translate
from libs.common.store.dead_letters import DeadLetter, DeadLetters
from libs.common.store.decisions import Decisions
from libs.common.store.figures import Figures
from libs.common.store.halts import Halts
from libs.common.store.holdings import Holdings
from libs.common.store.journal import Journal, JournalEntry, Outcome, Post, admitted_post
from libs.common.store.keys import Keys
from libs.common.store.markets import MarketStore
from libs.common.store.operator_alerts import OperatorAlerts
from libs.common.store.paper_books import PaperBooks
from libs.common.store.published import Published
from libs.common.store.records import AlertRecord, OrderRecord, Records
from libs.common.store.seen import Seen
from libs.common.store.streams import SCAN_AT_MOST
from libs.common.store.tables import TableStore
from libs.common.store.tail import Tail

T = TypeVar("T")

TIMEOUT_S: Final = 2.0
"""How long people wait for an answer; each is small."""

Matches = Callable[[T], bool]


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """What a search found, newest first."""

    items: list[T]
    is_cut: bool
    """Whether it stopped looking before the end, so that there may be more."""


class Readings:
    """What the command and the console read."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self.paper = PaperBooks(client, keys)
        self.records = Records(client, keys)
        self.journal = Journal(client, keys)
        self.tail = Tail(client, keys, self.records)
        self.dead_letters = DeadLetters(client, keys)
        self.figures = Figures(client, keys)
        self.tables = TableStore(client, keys)
        self.markets = MarketStore(client, keys)
        self.seen = Seen(client, keys)
        self.halts = Halts(client, keys)
        self.published = Published(client, keys)
        self.decisions = Decisions(client, keys)
        self.holdings = Holdings(client, keys)
        self.operator_alerts = OperatorAlerts(client, keys)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, *, timeout_s: float = TIMEOUT_S) -> AsyncIterator["Readings"]:
        """Connect to a server and disconnect at the end; whether it answers shows at the first call.

        Raises:
            ConfigError: The address cannot be read, or names a file that cannot be used.
        """
        client = connect(url, timeout_s=timeout_s, connections=2)
        try:
            yield cls(client, Keys())
        finally:
            await client.aclose()

    async def now_ms(self) -> int:
        """Return Redis' time.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            seconds, micros = await self._client.time()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def server(self, durability: str) -> ServerFacts:
        """Return what the server says of itself; see `read_server`."""
        return await read_server(self._client, durability)

    async def positions(self, account: AccountName) -> dict[Market, Position]:
        """Return what a paper account holds, by market; see `PaperBooks.positions`."""
        return dict(await self.paper.positions(account))

    async def paper_accounts(self) -> list[AccountName]:
        """Return the paper accounts that have ever traded, found by a walk through all keys.

        Raises:
            StoreUnavailable: No answer.
        """
        pattern = self._keys.paper(AccountName("*"), "positions")
        before, after = (len(part) for part in pattern.split("*"))
        try:
            found = [key.decode() async for key in self._client.scan_iter(match=pattern, count=5_000)]
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return sorted(AccountName(key[before : len(key) - after]) for key in found)

    async def history(self, alert: AlertRecord) -> list[JournalEntry]:
        """Return all that happened to an alert, oldest first, as far as the journal still has it.

        Raises:
            StoreUnavailable: No answer.
        """
        return await self.journal.entries(alert.journal_ids)

    async def newest_alerts(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[AlertRecord] = lambda _: True
    ) -> Found[AlertRecord]:
        """Return alerts by the time of their admission.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record is not of this version.
        """
        seen: set[AlertId] = set()
        search = _Search(limit, matches)
        async for page in self.journal.backwards(since_ms):
            ids = dict.fromkeys(
                entry.alert_id for entry in page if entry.is_admission and entry.alert_id not in seen
            )
            seen.update(ids)
            if search.is_over(await self.records.alerts(list(ids)), len(page)):
                break
        return search.found()

    async def newest_orders(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[OrderRecord] = lambda _: True
    ) -> Found[OrderRecord]:
        """Return orders by the time of their last attempt.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record is not of this version.
        """
        seen: set[ClientOrderId] = set()
        search = _Search(limit, matches)
        async for page in self.journal.backwards(since_ms):
            ids = dict.fromkeys(
                entry.client_order_id
                for entry in page
                if entry.is_attempt and entry.client_order_id and entry.client_order_id not in seen
            )
            seen.update(ids)
            if search.is_over(await self.records.orders(list(ids)), len(page)):
                break
        return search.found()

    async def newest_letters(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[DeadLetter] = lambda _: True
    ) -> Found[DeadLetter]:
        """Return dead letters.

        Raises:
            StoreUnavailable: No answer.
        """
        search = _Search(limit, matches)
        async for page in self.dead_letters.backwards(since_ms):
            if search.is_over(page, len(page)):
                break
        return search.found()

    async def newest_posts(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[Post] = lambda _: True
    ) -> Found[Post]:
        """Return posts to webhooks, whatever they were answered; with their bodies as far as those were kept.

        Raises:
            StoreUnavailable: No answer.
        """
        # Of each kind as many as of both together, so that none is missing.
        others = await self._newest_unadmitted(limit, since_ms, matches)
        admitted = await self._newest_admitted(limit, since_ms, matches)
        # Of the same moment the repetition comes after what it repeats; the sort leaves it so.
        posts = sorted([*others.items, *admitted.items], key=lambda post: -post.at_ms)[:limit]
        kept = await self.records.bare_alerts(
            [post.alert_id for post in posts if post.outcome is Outcome.ADMITTED and post.alert_id]
        )
        return Found(
            [
                replace(post, raw=kept[post.alert_id].raw)
                if post.outcome is Outcome.ADMITTED and post.alert_id in kept
                else post
                for post in posts
            ],
            others.is_cut or admitted.is_cut,
        )

    async def newest_refused(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[Post] = lambda _: True
    ) -> Found[Post]:
        """Return refused posts.

        Raises:
            StoreUnavailable: No answer.
        """
        return await self._newest_unadmitted(
            limit, since_ms, lambda post: post.outcome is Outcome.REFUSED and matches(post)
        )

    async def _newest_unadmitted(
        self, limit: int, since_ms: int | None, matches: Matches[Post]
    ) -> Found[Post]:
        search = _Search(limit, matches)
        async for page in self.journal.unadmitted_backwards(since_ms):
            if search.is_over(page, len(page)):
                break
        return search.found()

    async def _newest_admitted(self, limit: int, since_ms: int | None, matches: Matches[Post]) -> Found[Post]:
        seen: set[AlertId] = set()
        search = _Search(limit, matches)
        async for page in self.journal.backwards(since_ms):
            # One for each account of an alert.
            posts = {
                entry.alert_id: admitted_post(entry)
                for entry in page
                if entry.is_admission and entry.alert_id not in seen
            }
            seen.update(posts)
            if search.is_over(list(posts.values()), len(page)):
                break
        return search.found()

    async def alerts_beginning(self, prefix: str, *, limit: int = 5) -> list[AlertId]:
        """Return ids of alerts that begin so, newest first, at most `limit`.

        Raises:
            StoreUnavailable: No answer.
        """
        ids: dict[AlertId, None] = {}
        looked_at = 0
        async for page in self.journal.backwards():
            for entry in page:
                if entry.is_admission and entry.alert_id.startswith(prefix):
                    ids[entry.alert_id] = None
            looked_at += len(page)
            if len(ids) >= limit or looked_at >= SCAN_AT_MOST:
                break
        return list(ids)[:limit]

    async def newest_alert_of_sender(self, sender_id: str) -> AlertRecord | None:
        """Return the newest alert that its sender named so; None where none of the recent ones is.

        Raises:
            StoreUnavailable: No answer.
        """
        found = await self.newest_alerts(
            limit=1, matches=lambda record: record.alert.content.sender_id == sender_id
        )
        return found.items[0] if found.items else None


class _Search(Generic[T]):
    """Keeps what matches until there is enough of it or too much was looked at."""

    def __init__(self, limit: int, matches: Matches[T]) -> None:
        self._limit = limit
        self._matches = matches
        self._items: list[T] = []
        self._looked_at = 0

    def is_over(self, candidates: list[T], looked_at: int) -> bool:
        """Take what matches of one page; tell whether to stop."""
        self._looked_at += looked_at
        self._items += [one for one in candidates if self._matches(one)]
        return len(self._items) >= self._limit or self._looked_at >= SCAN_AT_MOST

    def found(self) -> Found[T]:
        """Return what was kept."""
        is_cut = len(self._items) < self._limit and self._looked_at >= SCAN_AT_MOST
        return Found(self._items[: self._limit], is_cut)
