"""Dead letters counted by their reasons, whichever script left them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.store.client import translate
from libs.common.store.keys import Keys

PAGE: Final = 500
NEWEST: Final = 500
"""Letters that are counted for people, who look again and again."""

_BEGINNING: Final = "0-0"


async def newest_by_reason(client: Redis, keys: Keys) -> Mapping[str, int]:
    """Return reason -> letters among the newest `NEWEST` of a shard.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: The key is no stream.
    """
    try:
        entries: Any = await client.xrevrange(keys.dead, count=NEWEST)
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return _by_reason(entries)


class NewLetters:
    """Reads one shard's letters forwards, from when somebody began to look; remembers how far it came."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._at: str | None = None

    async def count(self) -> Mapping[str, int]:
        """Return reason -> letters since the last call; the first call finds none, and is where it begins.

        Raises:
            StoreUnavailable: No answer; the next call goes on where the last one ended.
            StoreCorrupt: The key is no stream.
        """
        found: Counter[str] = Counter()
        try:
            if self._at is None:
                newest: Any = await self._client.xrevrange(self._keys.dead, count=1)
                self._at = newest[0][0].decode() if newest else _BEGINNING
                return found
            while True:
                at, page = await self._page(self._at)
                found.update(page)
                self._at = at
                if page.total() < PAGE:
                    return found
        except (RedisError, OSError) as error:
            if found:
                return found
            raise translate(error) from error

    async def _page(self, at: str) -> tuple[str, Counter[str]]:
        entries: Any = await self._client.xrange(self._keys.dead, f"({at}", count=PAGE)
        return (entries[-1][0].decode() if entries else at), _by_reason(entries)


def _by_reason(entries: Any) -> Counter[str]:
    return Counter(fields.get(b"reason", b"").decode("utf-8", "replace") for _, fields in entries)
