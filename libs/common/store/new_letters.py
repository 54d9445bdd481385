"""The dead letters that were left since somebody began to look, whichever script left them; counted by their reasons."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.store.client import translate
from libs.common.store.keys import Keys

PAGE: Final = 500

_BEGINNING: Final = "0-0"


class NewLetters:
    """Reads one shard's letters forwards; remembers how far it came."""

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
        page = Counter(fields.get(b"reason", b"").decode("utf-8", "replace") for _, fields in entries)
        return (entries[-1][0].decode() if entries else at), page
