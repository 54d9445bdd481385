"""Dead letters counted by their reasons, whichever script left them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import BridgeError
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.store.streams import PAGE, last_id, page_after

NEWEST: Final = 500
"""Letters that are counted for people, who look again and again."""


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
    return Counter(fields.get(b"reason", b"").decode("utf-8", "replace") for _, fields in entries)


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
                self._at = await last_id(self._client, self._keys.dead)
                return found
            while page := await page_after(self._client, self._keys.dead, self._at):
                found.update(letter.fields.get("reason", "") for letter in page)
                self._at = page[-1].entry_id
                if len(page) < PAGE:
                    break
        except BridgeError:
            if not found:
                raise
        return found
