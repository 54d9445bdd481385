"""The journal of every state change, and the posts to webhooks: read only, for people."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AlertId, ClientOrderId
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.streams import Entry, pages_backwards, read_entry

_ORDER_EVENTS: Final = frozenset({"SENDING", "UNKNOWN", "NOT_EXECUTED", "RESOLVED", "FILL"})
"""Events whose `reason` names the order."""

_OF_ORDER: Final = "ORDER_"
"""What events begin with that are a state of an order; their `reason` names it too."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One state change, as the script that made it wrote it down."""

    entry_id: str
    at_ms: int
    event: str
    """A state of an instruction or an order, or what befell a lane: PARKED, RECLAIMED, TOKEN, BREAKER..."""
    alert_id: AlertId
    """Empty where the change belongs to no alert."""
    account: str
    lane: str
    reason: str
    """A reason code; empty for an order's events."""
    client_order_id: ClientOrderId | None
    """The order, for an order's events."""
    detail: str
    """Of SENDING the attempt; else a remark."""
    note: str = ""
    """JSON: what led to an order, or what the venue said. Empty where there is none."""

    @property
    def is_admission(self) -> bool:
        """Return whether it is how an alert came in, for one account."""
        return self.event == "QUEUED" and self.reason == "admitted"

    @property
    def is_attempt(self) -> bool:
        """Return whether it is the intent of an attempt at an order."""
        return self.event == "SENDING"


class Outcome(StrEnum):
    """What became of a post."""

    ADMITTED = "admitted"
    DUPLICATE = "duplicate"
    """Of an alert that was admitted before; its sender was answered 200 with that one's id."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Post:
    """A post to a webhook and what it was answered, as far as it was kept."""

    event_id: str
    """Its own; of an admitted one the alert's id."""
    at_ms: int
    webhook: str
    outcome: Outcome
    status: int
    code: str
    """`admitted`, `duplicate`, or why it was refused."""
    field: str = ""
    """The field of the body that was wrong; empty where none was."""
    detail: str = ""
    alert_id: AlertId | None = None
    """The alert that it became, or that it repeats; None for a refused one."""
    raw: str = ""
    """Masked; empty where it was not kept. Of an admitted one it is with the alert."""


class Journal:
    """Reads both streams, newest first."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def backwards(self, since_ms: int | None = None) -> AsyncIterator[list[JournalEntry]]:
        """Yield pages of state changes, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        async for page in pages_backwards(self._client, self._keys.journal, since_ms):
            yield [journal_entry(entry) for entry in page]

    async def entries(self, entry_ids: Sequence[str]) -> list[JournalEntry]:
        """Return these entries, oldest first; those that were trimmed are left out.

        Raises:
            StoreUnavailable: No answer.
        """
        if not entry_ids:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for entry_id in entry_ids:
                    pipeline.xrange(self._keys.journal, entry_id, entry_id)
                replies = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found = [read_entry(*raw) for reply in replies for raw in reply]
        return sorted((journal_entry(entry) for entry in found), key=_order_in_stream)

    async def unadmitted_backwards(self, since_ms: int | None = None) -> AsyncIterator[list[Post]]:
        """Yield pages of refused posts and duplicates, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        async for page in pages_backwards(self._client, self._keys.refused, since_ms):
            yield [unadmitted_post(entry) for entry in page]


def admitted_post(entry: JournalEntry) -> Post:
    """Return the post that an admission is of; each account's share says the same of it."""
    return Post(
        event_id=entry.alert_id,
        at_ms=entry.at_ms,
        webhook=entry.detail,
        outcome=Outcome.ADMITTED,
        status=200,
        code=Outcome.ADMITTED,
        alert_id=entry.alert_id,
    )


def unadmitted_post(entry: Entry) -> Post:
    """Return the post that an entry of the stream of posts that were not admitted is of."""
    fields = entry.fields
    status, code = fields.get("status", ""), fields.get("code", "")
    is_duplicate = code == Outcome.DUPLICATE
    return Post(
        event_id=fields.get("event", ""),
        at_ms=entry.at_ms,
        webhook=fields.get("webhook", ""),
        outcome=Outcome.DUPLICATE if is_duplicate else Outcome.REFUSED,
        status=int(status) if status.isdigit() else 0,
        code=code,
        field=fields.get("field", ""),
        detail=fields.get("detail", ""),
        alert_id=AlertId(fields.get("alert", "")) if is_duplicate else None,
        raw=fields.get("raw", ""),
    )


def journal_entry(entry: Entry) -> JournalEntry:
    """Return the state change that an entry of the journal is of."""
    fields = entry.fields
    event, reason = fields.get("event", ""), fields.get("reason", "")
    is_orders = event in _ORDER_EVENTS or event.startswith(_OF_ORDER)
    return JournalEntry(
        entry_id=entry.entry_id,
        at_ms=entry.at_ms,
        event=event,
        alert_id=AlertId(fields.get("alert", "")),
        account=fields.get("account", ""),
        lane=fields.get("lane", ""),
        reason="" if is_orders else reason,
        client_order_id=ClientOrderId(reason) if is_orders else None,
        detail=fields.get("detail", ""),
        note=fields.get("note", ""),
    )


def _order_in_stream(entry: JournalEntry) -> tuple[int, int]:
    time, _, sequence = entry.entry_id.partition("-")
    return int(time), int(sequence)
