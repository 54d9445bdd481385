"""What of an account's market is on its way at the venue, so that the position it tells may be about to change."""

from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.order import OrderType
from libs.common.store.breakers import pause_scope
from libs.common.store.client import translate
from libs.common.store.keys import Keys
from libs.common.wire import codec

_FILLS: Final = 100
"""The newest fills of the account that are looked through for one of the market."""

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class InFlight:
    """What was found."""

    market_order: ClientOrderId | None
    """A market order that the venue has taken and not filled yet; None where there is none."""
    filled_at_ms: int | None
    """When the newest fill of the market was noted, by Redis' time; None where nobody notes them, or long ago."""
    paused_until_ms: int
    """Until when the venue asked the account to wait; 0 where it did not."""


class InFlightOrders:
    """Reads it."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    async def of(self, account: AccountName, market: Market) -> InFlight:
        """Return what is on its way in one market.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A key holds something else than it should.
        """
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.hget(self._keys.breakers, pause_scope(account))
                pipeline.xrevrange(self._keys.fills(account), count=_FILLS)
                pipeline.zrange(self._keys.following, 0, -1)
                pause, fills, following = await pipeline.execute()
            market_order = await self._market_order(account, market, following)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return InFlight(market_order, _newest(fills, market), _paused_until(pause))

    async def _market_order(
        self, account: AccountName, market: Market, following: list[bytes]
    ) -> ClientOrderId | None:
        for start in range(0, len(following), _CHUNK):
            orders = [ClientOrderId(one.decode()) for one in following[start : start + _CHUNK]]
            async with self._client.pipeline(transaction=False) as pipeline:
                for order in orders:
                    pipeline.hmget(self._keys.order(order), ["account", "market", "plan"])
                replies: list[Any] = await pipeline.execute()
            for order, (of_account, of_market, plan) in zip(orders, replies, strict=True):
                is_here = of_account == account.encode() and of_market == market.encode()
                if is_here and _is_market(plan):
                    return order
        return None


def _is_market(plan: bytes | None) -> bool:
    try:
        return plan is not None and codec.ORDER_PLAN.decode(plan).type is OrderType.MARKET
    except StoreCorrupt:
        return False  # its own look-up says so


def _newest(fills: list[Any], market: Market) -> int | None:
    for _, fields in fills:
        at_ms = fields.get(b"at", b"")
        if fields.get(b"market") == market.encode() and at_ms.isdigit():
            return int(at_ms)
    return None


def _paused_until(known: bytes | None) -> int:
    state, *rest = (known or b"").decode().split("|")
    return int(rest[1]) if state == "paused" and len(rest) > 1 and rest[1].isdigit() else 0
