"""Streams read in pages: backwards, newest first, to find lists without an index; forwards, to miss nothing."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.store.client import translate

PAGE: Final = 500
SCAN_AT_MOST: Final = 50_000
"""Entries a list looks at before it gives up looking for more."""

RawEntry = tuple[bytes, dict[bytes, bytes]]
"""One entry of a stream as Redis answers it: its id and its fields."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a stream, as text."""

    entry_id: str
    fields: dict[str, str]

    @property
    def at_ms(self) -> int:
        """Return when it was added, by Redis' clock."""
        return at_ms(self.entry_id)


def at_ms(entry_id: str) -> int:
    """Return the time within the id of a stream entry, ms since the epoch."""
    return int(entry_id.partition("-")[0])


def order_of(entry_id: str) -> tuple[int, int]:
    """Return what sorts the ids of stream entries from the oldest to the newest."""
    at, _, sequence = entry_id.partition("-")
    return int(at), int(sequence)


async def pages_backwards(client: Redis, key: str, since_ms: int | None) -> AsyncIterator[list[Entry]]:
    """Yield the entries of a stream, newest first, without an end but the stream's own.

    Args:
        client: Where it is.
        key: The stream; a missing one has no entries.
        since_ms: Older entries are left out; None leaves none out.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream.
    """
    newest, oldest = "+", "-" if since_ms is None else str(max(0, since_ms))
    while True:
        try:
            found: Any = await client.xrevrange(key, newest, oldest, count=PAGE)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        if not found:
            return
        page = [read_entry(entry_id, fields) for entry_id, fields in found]
        yield page
        if len(page) < PAGE:
            return
        newest = f"({page[-1].entry_id}"


async def pages_forwards(
    client: Redis, key: str, since_ms: int, until_ms: int
) -> AsyncIterator[list[RawEntry]]:
    """Yield the entries of a stretch of a stream, oldest first.

    Args:
        client: Where it is.
        key: The stream; a missing one has no entries.
        since_ms: Older entries are left out.
        until_ms: Entries of this time and newer ones are left out.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream.
    """
    oldest, newest = str(max(0, since_ms)), f"({max(0, until_ms)}-0"
    while True:
        try:
            page: Any = await client.xrange(key, oldest, newest, count=PAGE)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        if page:
            yield page
        if len(page) < PAGE:
            return
        oldest = f"({page[-1][0].decode()}"


async def page_after(client: Redis, key: str, after: str, count: int = PAGE) -> list[Entry]:
    """Return the next entries of a stream, oldest first; none where there is nothing new.

    Args:
        client: Where it is.
        key: The stream; a missing one has no entries.
        after: The id of the last entry that is known; "0-0" for none.
        count: How many at most.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream, or the id is none.
    """
    try:
        found: Any = await client.xrange(key, f"({after}", "+", count=count)
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return [read_entry(entry_id, fields) for entry_id, fields in found]


async def last_id(client: Redis, key: str) -> str:
    """Return the id of the newest entry of a stream; "0-0" where it has none.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream.
    """
    try:
        found: Any = await client.xrevrange(key, count=1)
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return found[0][0].decode() if found else "0-0"


async def entry_of(client: Redis, key: str, entry_id: str) -> Entry | None:
    """Return one entry of a stream; None where it has none of that id.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream, or the id is none.
    """
    try:
        found: Any = await client.xrange(key, entry_id, entry_id)
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return read_entry(*found[0]) if found else None


def read_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> Entry:
    """Return an entry as Redis answers it, as text."""
    texts = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in fields.items()
    }
    return Entry(entry_id.decode(), texts)
