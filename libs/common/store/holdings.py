"""What an account has open, as far as the store knows: positions, resting orders, and alerts that may open more."""

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, ClientOrderId, LaneName, Market, market_of
from libs.common.store.client import translate
from libs.common.store.journal import Journal
from libs.common.store.keys import Keys
from libs.common.store.lane_heads import lane_heads
from libs.common.store.paper_books import PaperBooks
from libs.common.store.published import Published
from libs.common.store.records import OrderRecord, Records
from libs.common.store.streams import Entry
from libs.common.wire import codec

LATELY_MS: Final = 3_600_000
"""How far back orders count whose market may hold more than the last reading says."""

_CHUNK: Final = 500


@dataclass(frozen=True, slots=True)
class Holding:
    """One market of an account in which something is open, or may be."""

    market: Market
    quantity: Decimal | None
    """Base units, negative is short, as last read; None where it was never read."""
    read_at_ms: int | None
    """When the venue was asked; None for the paper broker's books, which are always up to date."""
    resting: tuple[OrderRecord, ...]
    """Orders that we follow at the venue."""
    waiting: int
    """Instructions in its lanes."""
    was_traded: bool
    """Whether an order was sent lately, so that there may be more than was read."""


class Holdings:
    """Reads them."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._records = Records(client, keys)
        self._journal = Journal(client, keys)
        self._published = Published(client, keys)
        self._books = PaperBooks(client, keys)

    async def of(self, account: AccountName, now_ms: int) -> list[Holding]:
        """Return the markets of an account in which something is open or may be, in alphabetical order.

        Args:
            account: Whose.
            now_ms: Redis' time.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        quantities: dict[Market, tuple[Decimal, int | None]] = {
            market: (one.quantity, one.at_ms)
            for market, one in (await self._published.positions(account)).items()
        }
        quantities |= {
            market: (one.quantity, None) for market, one in (await self._books.positions(account)).items()
        }
        resting: dict[Market, list[OrderRecord]] = defaultdict(list)
        for order in await self.resting():
            if order.account == account:
                resting[Market(order.market)].append(order)
        waiting = await self._waiting(account)
        traded = await self._traded(account, now_ms - LATELY_MS)
        held = {market for market, (quantity, _) in quantities.items() if quantity}
        return [
            Holding(
                market=market,
                quantity=quantities.get(market, (None, None))[0],
                read_at_ms=quantities.get(market, (None, None))[1],
                resting=tuple(resting.get(market, ())),
                waiting=waiting.get(market, 0),
                was_traded=market in traded,
            )
            for market in sorted(held | resting.keys() | waiting.keys() | traded)
            if market
        ]

    async def resting(self) -> list[OrderRecord]:
        """Return the orders of all accounts that we follow at their venues.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        try:
            names: Any = await self._client.zrange(self._keys.following, 0, -1)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found: list[OrderRecord] = []
        for start in range(0, len(names), _CHUNK):
            part = names[start : start + _CHUNK]
            found += await self._records.orders([ClientOrderId(name.decode()) for name in part])
        return found

    async def _waiting(self, account: AccountName) -> dict[Market, int]:
        """Return how many instructions wait, by market."""
        found: dict[Market, int] = defaultdict(int)
        try:
            lanes = [
                lane.decode() async for lane, _ in self._client.hscan_iter(self._keys.lanes, count=_CHUNK)
            ]
            parked: Any = await self._client.zrange(self._keys.parked, 0, -1)
            own = [
                lane
                for lane in dict.fromkeys([*lanes, *(one.decode() for one in parked)])
                if lane.startswith(f"{account}:")
            ]
            async for lane, length, head in lane_heads(self._client, self._keys, own):
                if head is not None:
                    found[_market(lane, head)] += length
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return found

    async def _traded(self, account: AccountName, since_ms: int) -> set[Market]:
        """Return the markets in which an order of the account was sent since then."""
        # Every order of a lane is of the same market.
        newest: dict[str, ClientOrderId] = {}
        async for page in self._journal.backwards(since_ms):
            for entry in page:
                if entry.is_attempt and entry.account == account and entry.client_order_id is not None:
                    newest.setdefault(entry.lane, entry.client_order_id)
        return {Market(order.market) for order in await self._records.orders(list(newest.values()))}


def _market(lane: LaneName, head: Entry) -> Market:
    """Return the market of a lane: from its head, else from its name."""
    try:
        return codec.INSTRUCTION.decode(head.fields.get("body", "").encode()).market
    except StoreCorrupt:
        return market_of(lane)
