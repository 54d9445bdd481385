"""What is configured while the bridge runs: webhooks, and entries of the symbol table. One revision for both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import EditConflict, StoreCorrupt
from libs.common.domain.ids import AccountName, Market, WebhookName
from libs.common.policy.symbols import SymbolEntry
from libs.common.policy.webhook import Webhook
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.wire.codec import Codec

_WEBHOOK: Final = Codec(Webhook, "webhook")
_SEPARATOR: Final = "|"
_PARTS: Final = 3
"""Of a field of the symbol table: symbol, exchange, account."""


@dataclass(frozen=True, slots=True)
class Tables:
    """Both tables as they were at a revision, or newer."""

    revision: int
    """Rises with every change; 0 before the first."""
    webhooks: Mapping[WebhookName, Webhook]
    symbols: tuple[SymbolEntry, ...]
    unreadable_webhooks: tuple[str, ...] = ()
    """Names under which there is something else."""
    unreadable_symbols: tuple[str, ...] = ()
    """Fields of the symbol table that are none."""


class TableStore:
    """Reads and writes both tables."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._configure = Script("configure")

    async def revision(self) -> int:
        """Return the revision of both tables.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: It is kept under something else than a hash.
        """
        try:
            return int(await self._client.hget(self._keys.meta, "revision") or 0)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def read(self) -> Tables:
        """Return both tables.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: They are kept under something else than hashes.
        """
        try:
            # The revision first, so that nobody takes an old table for that of a new revision; who has a newer one reads
            # again. No transaction: Redis takes none at its memory limit, not even to read.
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.hget(self._keys.meta, "revision")
                pipeline.hgetall(self._keys.webhooks)
                pipeline.hgetall(self._keys.symbols)
                revision, webhooks, symbols = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        made, bad_names = _webhooks(webhooks)
        entries, bad_fields = _symbols(symbols)
        return Tables(int(revision or 0), made, entries, bad_names, bad_fields)

    async def put_webhook(self, webhook: Webhook, before: Webhook | None, reason: str) -> None:
        """Store a webhook.

        Args:
            webhook: As it is to be.
            before: As it was read; None where there was none.
            reason: For the journal: created, rotated, enabled, disabled, changed.

        Raises:
            EditConflict: It is not as it was read any more.
            StoreUnavailable: No answer: it may have been stored.
        """
        await self._put(
            self._keys.webhooks,
            webhook.name,
            b"" if before is None else _WEBHOOK.encode(before),
            _WEBHOOK.encode(webhook),
            ("WEBHOOK", reason, webhook.name),
        )

    async def delete_webhook(self, before: Webhook) -> None:
        """Forget a webhook.

        Raises:
            EditConflict: It is not as it was read any more.
            StoreUnavailable: No answer: it may be gone.
        """
        await self._put(
            self._keys.webhooks,
            before.name,
            _WEBHOOK.encode(before),
            b"",
            ("WEBHOOK", "deleted", before.name),
        )

    async def put_symbol(self, entry: SymbolEntry, before: SymbolEntry | None) -> None:
        """Confirm an entry of the symbol table.

        Args:
            entry: As it is to be.
            before: The one for the same symbol, exchange and account, as it was read.

        Raises:
            EditConflict: It is not as it was read any more.
            StoreUnavailable: No answer: it may have been stored.
        """
        field = _field(entry)
        old = b"" if before is None else before.market.encode()
        detail = f"{field} -> {entry.market}"
        await self._put(
            self._keys.symbols, field, old, entry.market.encode(), ("SYMBOL", "confirmed", detail)
        )

    async def delete_symbol(self, before: SymbolEntry) -> None:
        """Forget an entry of the symbol table.

        Raises:
            EditConflict: It is not as it was read any more.
            StoreUnavailable: No answer: it may be gone.
        """
        field = _field(before)
        detail = f"{field} -> {before.market}"
        await self._put(self._keys.symbols, field, before.market.encode(), b"", ("SYMBOL", "removed", detail))

    async def _put(self, key: str, field: str, old: bytes, new: bytes, journal: tuple[str, str, str]) -> None:
        answer = await self._configure.run(
            self._client, [*self._keys.fixed, key], ["", field, old, new, *journal]
        )
        if answer[0] != b"DONE":
            raise EditConflict(f"{field} was changed by somebody else in the meantime")


def _webhooks(
    rows: Mapping[bytes, bytes],
) -> tuple[dict[WebhookName, Webhook], tuple[str, ...]]:
    """Return the webhooks of the rows, and the names of those that cannot be read."""
    found: dict[WebhookName, Webhook] = {}
    unreadable = []
    for name, body in rows.items():
        try:
            found[WebhookName(name.decode())] = _WEBHOOK.decode(body)
        except (StoreCorrupt, UnicodeDecodeError):
            unreadable.append(name.decode("utf-8", "backslashreplace"))
    return found, tuple(unreadable)


def _symbols(rows: Mapping[bytes, bytes]) -> tuple[tuple[SymbolEntry, ...], tuple[str, ...]]:
    """Return the entries of the rows in the order of their places, and the fields that are none."""
    found, unreadable = [], []
    for row, market in rows.items():
        field = row.decode("utf-8", "backslashreplace")
        parts = field.split(_SEPARATOR)
        if len(parts) != _PARTS:
            unreadable.append(field)
            continue
        symbol, exchange, account = parts
        found.append(
            SymbolEntry(
                symbol,
                Market(market.decode("utf-8", "backslashreplace")),
                exchange=exchange or None,
                account=AccountName(account) if account else None,
            )
        )
    return tuple(sorted(found, key=lambda one: one.place)), tuple(unreadable)


def _field(entry: SymbolEntry) -> str:
    return _SEPARATOR.join(entry.place)
