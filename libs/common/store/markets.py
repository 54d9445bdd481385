"""The names of a venue's markets, as a worker last heard them: what entries of the symbol table are proposed from."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.ids import AccountName, Market
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.wire.codec import Codec

KEPT_MS: Final = 604_800_000
"""How long a list outlives the last worker that could ask for it."""


class VenueMarkets(msgspec.Struct, frozen=True):
    """What a venue trades."""

    at_ms: int
    """When the venue was asked, by the worker's clock."""
    markets: tuple[Market, ...]


_MARKETS: Final = Codec(VenueMarkets, "list of markets")


class MarketStore:
    """Keeps one list for each account."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def publish(self, account: AccountName, markets: Sequence[Market], at_ms: int) -> None:
        """Put a list in place of the one before.

        Raises:
            StoreUnavailable: No answer: it may have been stored.
        """
        body = _MARKETS.encode(VenueMarkets(at_ms, tuple(markets)))
        try:
            await self._client.set(self._keys.markets(account), body, px=KEPT_MS)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def read(self, account: AccountName) -> VenueMarkets | None:
        """Return the list of an account's venue; None where none was published in the last seven days.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: It cannot be read.
        """
        try:
            body: Any = await self._client.get(self._keys.markets(account))
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return None if body is None else _MARKETS.decode(body)
