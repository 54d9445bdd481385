"""Lists of what all shards hold, searched newest first, within bounds."""

from collections.abc import AsyncIterator
from dataclasses import replace

from libs.common.domain.ids import AlertId, ClientOrderId
from libs.common.store.dead_letters import DeadLetter
from libs.common.store.journal import JournalEntry, Outcome, Post, admitted_post
from libs.common.store.merging import merged_backwards
from libs.common.store.records import AlertRecord, OrderRecord
from libs.common.store.records_everywhere import RecordsEverywhere
from libs.common.store.search import Found, Matches, Search
from libs.common.store.streams import SCAN_AT_MOST


class Searches(RecordsEverywhere):
    """Searches the streams of all shards as one."""

    async def newest_alerts(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[AlertRecord] = lambda _: True
    ) -> Found[AlertRecord]:
        """Return alerts by the time of their admission.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record is not of this version.
        """
        seen: set[AlertId] = set()
        search = Search(limit, matches)
        async for page in self._journal(since_ms):
            ids = dict.fromkeys(
                entry.alert_id for entry in page if entry.is_admission and entry.alert_id not in seen
            )
            seen.update(ids)
            if search.is_over(await self.alerts(list(ids)), len(page)):
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
        search = Search(limit, matches)
        async for page in self._journal(since_ms):
            ids = dict.fromkeys(
                entry.client_order_id
                for entry in page
                if entry.is_attempt and entry.client_order_id and entry.client_order_id not in seen
            )
            seen.update(ids)
            if search.is_over(await self.orders(list(ids)), len(page)):
                break
        return search.found()

    async def newest_letters(
        self, *, limit: int, since_ms: int | None = None, matches: Matches[DeadLetter] = lambda _: True
    ) -> Found[DeadLetter]:
        """Return dead letters.

        Raises:
            StoreUnavailable: No answer.
        """
        search = Search(limit, matches)
        async for page in self._letters(since_ms):
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
        kept = await self.bare_alerts(
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
        seen: set[str] = set()
        search = Search(limit, matches)
        async for page in self._unadmitted(since_ms):
            # A post for accounts of several shards leaves a trace on each.
            posts = [post for post in page if not post.event_id or not _is_in(post.event_id, seen)]
            if search.is_over(posts, len(page)):
                break
        return search.found()

    async def _newest_admitted(self, limit: int, since_ms: int | None, matches: Matches[Post]) -> Found[Post]:
        seen: set[AlertId] = set()
        search = Search(limit, matches)
        async for page in self._journal(since_ms):
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
        async for page in self._journal():
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

    def _journal(self, since_ms: int | None = None) -> AsyncIterator[list[JournalEntry]]:
        pages = [one.journal.backwards(since_ms) for one in self.parts.values()]
        return merged_backwards(pages, lambda entry: entry.at_ms)

    def _unadmitted(self, since_ms: int | None) -> AsyncIterator[list[Post]]:
        pages = [one.journal.unadmitted_backwards(since_ms) for one in self.parts.values()]
        return merged_backwards(pages, lambda post: post.at_ms)

    def _letters(self, since_ms: int | None) -> AsyncIterator[list[DeadLetter]]:
        pages = [one.dead_letters.backwards(since_ms) for one in self.parts.values()]
        return merged_backwards(pages, lambda letter: letter.at_ms)


def _is_in(name: str, seen: set[str]) -> bool:
    """Tell whether a name was seen before; it is from now on."""
    if name in seen:
        return True
    seen.add(name)
    return False
