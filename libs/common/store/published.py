"""Positions and balances as workers last read them at the venues: what people are shown of accounts there."""

from decimal import Decimal
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.exact import add
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.wire.codec import Codec

BALANCE_KEPT_MS: Final = 604_800_000
"""How long a balance outlives the last worker that could read it."""


class PublishedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds in one market."""

    quantity: Decimal
    """Base units, as the venue says; negative is short."""
    at_ms: int
    """Redis' time before the venue was asked."""
    last_price: Decimal | None = None
    expected: Decimal | None = None
    """What it would be by the orders that we know of; None where that cannot be told."""

    @property
    def drift(self) -> Decimal | None:
        """Return by how much the venue's quantity is above what was expected; None where that cannot be told."""
        return None if self.expected is None else add(self.quantity, self.expected.copy_negate())


class PublishedBalance(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money."""

    equity: Decimal
    """Cash and what is open, in `currency`."""
    at_ms: int
    """When the venue was asked, by the worker's clock."""
    day_pnl: Decimal | None = None
    """Realised and open profit since the account's day began; None where the venue does not tell."""
    currency: str = ""
    exposure: Decimal | None = None
    """Value of all positions, long and short, at their last prices; None where one of them has no price."""


_POSITION: Final = Codec(PublishedPosition, "published position")
_BALANCE: Final = Codec(PublishedBalance, "published balance")


class Published:
    """Writes and reads what is known of every account; the last reading counts."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def publish_position(
        self, account: AccountName, market: Market, position: PublishedPosition
    ) -> None:
        """Put a reading in place of the one before, a closed position's too.

        Raises:
            StoreUnavailable: No answer: it may have been stored.
            StoreCorrupt: The key holds something else.
        """
        try:
            await self._client.hset(self._keys.positions(account), market, _POSITION.encode(position))
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def publish_balance(self, account: AccountName, balance: PublishedBalance) -> None:
        """Put a reading in place of the one before; it lasts for seven days.

        Raises:
            StoreUnavailable: No answer: it may have been stored.
        """
        try:
            await self._client.set(self._keys.balance(account), _BALANCE.encode(balance), px=BALANCE_KEPT_MS)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    async def positions(self, account: AccountName) -> dict[Market, PublishedPosition]:
        """Return the last reading of every market, the closed ones too.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key or a field holds something else.
        """
        try:
            reply: Any = await self._client.hgetall(self._keys.positions(account))
        except (RedisError, OSError) as error:
            raise translate(error) from error
        try:
            return {Market(market.decode()): _POSITION.decode(body) for market, body in reply.items()}
        except UnicodeDecodeError as error:
            raise StoreCorrupt(f"a market of account {account} cannot be read: {error}") from error

    async def accounts(self) -> list[AccountName]:
        """Return the accounts of which positions were ever read, found by a walk through all keys.

        Raises:
            StoreUnavailable: No answer.
        """
        pattern = self._keys.positions(AccountName("*"))
        try:
            found = [key.decode() async for key in self._client.scan_iter(match=pattern, count=5_000)]
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return sorted(AccountName(key[len(pattern) - 1 :]) for key in found)

    async def balance(self, account: AccountName) -> PublishedBalance | None:
        """Return the last reading; None where there was none in the last seven days.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: It cannot be read.
        """
        try:
            body: Any = await self._client.get(self._keys.balance(account))
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return None if body is None else _BALANCE.decode(body)
