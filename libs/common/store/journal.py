"""The journal of every state change, and the posts that were refused: read only, for people."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AlertId, ClientOrderId
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.streams import at_ms, pages_backwards, read_entry

_ORDER_EVENTS: Final = frozenset({"SENDING", "UNKNOWN", "NOT_EXECUTED"})
"""Events whose `reason` names the order."""


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

    @property
    def is_admission(self) -> bool:
        """Return whether it is how an alert came in, for one account."""
        return self.event == "QUEUED" and self.reason == "admitted"

    @property
    def is_attempt(self) -> bool:
        """Return whether it is the intent of an attempt at an order."""
        return self.event == "SENDING"


@dataclass(frozen=True, slots=True)
class RefusedPost:
    """A post that got no 2xx, as far as it was kept."""

    event_id: str
    at_ms: int
    webhook: str
    status: int
    code: str
    field: str
    """The field of the body that was wrong; empty where none was."""
    detail: str
    raw: str
    """Masked."""


class Journal:
    """Reads both streams."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def backwards(self, since_ms: int | None = None) -> AsyncIterator[list[JournalEntry]]:
        """Yield pages of state changes, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        async for page in pages_backwards(self._client, self._keys.journal, since_ms):
            yield [_journal_entry(entry.entry_id, entry.fields) for entry in page]

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
        return sorted((_journal_entry(entry.entry_id, entry.fields) for entry in found), key=_order_in_stream)

    async def refused_backwards(self, since_ms: int | None = None) -> AsyncIterator[list[RefusedPost]]:
        """Yield pages of refused posts, newest first.

        Raises:
            StoreUnavailable: No answer.
        """
        async for page in pages_backwards(self._client, self._keys.refused, since_ms):
            yield [_refused(entry.at_ms, entry.fields) for entry in page]


def _journal_entry(entry_id: str, fields: dict[str, str]) -> JournalEntry:
    event, reason = fields.get("event", ""), fields.get("reason", "")
    is_orders = event in _ORDER_EVENTS
    return JournalEntry(
        entry_id=entry_id,
        at_ms=at_ms(entry_id),
        event=event,
        alert_id=AlertId(fields.get("alert", "")),
        account=fields.get("account", ""),
        lane=fields.get("lane", ""),
        reason="" if is_orders else reason,
        client_order_id=ClientOrderId(reason) if is_orders else None,
        detail=fields.get("detail", ""),
    )


def _refused(at: int, fields: dict[str, str]) -> RefusedPost:
    status = fields.get("status", "")
    return RefusedPost(
        event_id=fields.get("event", ""),
        at_ms=at,
        webhook=fields.get("webhook", ""),
        status=int(status) if status.isdigit() else 0,
        code=fields.get("code", ""),
        field=fields.get("field", ""),
        detail=fields.get("detail", ""),
        raw=fields.get("raw", ""),
    )


def _order_in_stream(entry: JournalEntry) -> tuple[int, int]:
    time, _, sequence = entry.entry_id.partition("-")
    return int(time), int(sequence)
