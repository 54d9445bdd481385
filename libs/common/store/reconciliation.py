"""What accounts are compared with their venues by: what is counted from, our fills since, and whose turn it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, ClientOrderId, Holder, LaneName, Market, lane_name
from libs.common.domain.lifecycle import OrderState
from libs.common.policy.reconciliation import Base, FillEntry
from libs.common.store.client import translate
from libs.common.store.head import failure
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.wire.codec import Codec

PAGE: Final = 1_000

DRIFT_TOLD_MS: Final = 7 * DAY_MS
"""How long after it was last seen the drift of an order counts as told."""

FILLS_KEPT: Final = 10_000
"""The newest fills of an account that are kept, about: `note_fill` in `lua/prelude.lua` bounds them so."""

BEFORE_ALL: Final = "0-0"
"""The id before every entry of a stream."""


class _Day(msgspec.Struct, frozen=True):
    day: int
    """Days since the epoch, UTC."""
    equity: Decimal


_BASE: Final = Codec(Base, "reconciled position")
_DAY: Final = Codec(_Day, "start of a day")


@dataclass(frozen=True, slots=True)
class KeptBase:
    """What is counted from, and as it is stored: to compare with."""

    base: Base | None
    """None where it cannot be read, and is begun anew."""
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Reconciled:
    """A market that was compared."""

    market: Market
    before: KeptBase | None
    after: Base | None
    """None where the market is to be forgotten."""
    drift: str = ""
    """What it differs by, in words."""


class Reconciliation:
    """What workers share about their comparisons."""

    def __init__(self, client: Redis, keys: Keys, holder: Holder, *, now_ms: int | None = None) -> None:
        """Args:
        client: For scripts and reading.
        keys: The shard's.
        holder: Our name among the workers.
        now_ms: A fixed time instead of Redis' own, for tests.
        """
        self._client = client
        self._keys = keys
        self._holder = holder
        self._now = "" if now_ms is None else str(now_ms)
        self._reconciled = Script("reconciled")
        self._drifted = Script("drifted")

    async def take_turn(self, account: AccountName, every_ms: int) -> int:
        """Take the turn to compare an account; return 0, or for how many ms it is another's.

        Raises:
            StoreUnavailable: No answer: it may be ours.
        """
        key = self._keys.reconciling(account)
        try:
            if await self._client.set(key, self._holder, nx=True, px=every_ms):
                return 0
            left_ms = int(await self._client.pttl(key))
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return max(1, left_ms)

    async def time_ms(self) -> int:
        """Return Redis' time.

        Raises:
            StoreUnavailable: No answer.
        """
        if self._now:
            return int(self._now)
        try:
            seconds, micros = await self._client.time()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return int(seconds) * 1_000 + int(micros) // 1_000

    async def bases(self, account: AccountName) -> dict[Market, KeptBase]:
        """Return what each market is counted from.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key holds something else.
        """
        try:
            reply: Any = await self._client.hgetall(self._keys.reconciled(account))
        except (RedisError, OSError) as error:
            raise translate(error) from error
        found: dict[Market, KeptBase] = {}
        for market, encoded in reply.items():
            found[Market(market.decode("utf-8", "replace"))] = KeptBase(_read_base(encoded), encoded)
        return found

    async def fills(self, account: AccountName, after: str) -> list[FillEntry]:
        """Return what our orders filled after an entry, oldest first. Entries that cannot be read are left out.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key is no stream.
        """
        found: list[FillEntry] = []
        while True:
            try:
                page: Any = await self._client.xrange(
                    self._keys.fills(account), f"({after}" if after != BEFORE_ALL else "-", "+", count=PAGE
                )
            except (RedisError, OSError) as error:
                raise translate(error) from error
            for entry_id, fields in page:
                after = entry_id.decode()
                fill = _fill(after, fields)
                found += [] if fill is None else [fill]
            if len(page) < PAGE:
                return found

    async def oldest_fill(self, account: AccountName) -> str | None:
        """Return the id of the oldest fill that is kept, where older ones were dropped; None where none were.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key is no stream.
        """
        key = self._keys.fills(account)
        try:
            if int(await self._client.xlen(key)) < FILLS_KEPT:
                return None
            page: Any = await self._client.xrange(key, "-", "+", count=1)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return str(page[0][0].decode()) if page else None

    async def busy_lanes(self, account: AccountName) -> frozenset[LaneName]:
        """Return the account's lanes that have work.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A key holds something else.
        """
        try:
            async with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hkeys(self._keys.lanes)
                pipeline.zrange(self._keys.parked, 0, -1)
                held, parked = await pipeline.execute()
        except (RedisError, OSError) as error:
            raise translate(error) from error
        own = f"{account}:".encode()
        return frozenset(
            LaneName(lane.decode("utf-8", "replace")) for lane in (*held, *parked) if lane.startswith(own)
        )

    async def settle(self, account: AccountName, markets: Sequence[Reconciled]) -> list[bool]:
        """Move on what markets are counted from; tells of each whether it was still counted from there.

        Raises:
            StoreUnavailable: No answer: it may have been written.
            StoreCorrupt: A key holds something else.
        """
        if not markets:
            return []
        keys = [*self._keys.fixed, self._keys.reconciled(account), self._keys.positions(account)]
        args: list[str | bytes | int] = [self._now, account]
        for one in markets:
            args += (
                one.market,
                lane_name(account, one.market),
                b"" if one.before is None else one.before.encoded,
                b"" if one.after is None else _BASE.encode(one.after),
                one.drift,
            )
        reply = await self._reconciled.run(self._client, keys, args)
        return [_has_settled(answer) for answer in reply]

    async def order_states(self, orders: Sequence[ClientOrderId]) -> list[OrderState | None]:
        """Return the state of each order's record; None where there is none.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        if not orders:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for one in orders:
                    pipeline.hget(self._keys.order(one), "state")
                states: list[bytes | None] = await pipeline.execute()
            return [None if state is None else OrderState(state.decode()) for state in states]
        except (RedisError, OSError) as error:
            raise translate(error) from error
        except ValueError as error:
            raise StoreCorrupt(f"an order's state is unknown to this version: {error}") from error

    async def tell_drift(
        self, account: AccountName, market: Market, order: ClientOrderId, words: str
    ) -> bool:
        """Journal the drift of an order; tells whether that is news.

        Raises:
            StoreUnavailable: No answer: it may have been written.
        """
        keys = [*self._keys.fixed, self._keys.drift(account, order)]
        args: list[str | bytes | int] = [self._now, account, lane_name(account, market), words, DRIFT_TOLD_MS]
        return bool(await self._drifted.run(self._client, keys, args))

    async def day_began_with(self, account: AccountName, equity: Decimal, now_ms: int) -> Decimal:
        """Return the equity with which an account's UTC day began: the first that was seen in it, this one too.

        Args:
            account: Whose.
            equity: What it is now.
            now_ms: The worker's time.

        Raises:
            StoreUnavailable: No answer.
        """
        key, day = self._keys.day(account), now_ms // DAY_MS
        try:
            body: Any = await self._client.get(key)
            known = _read_day(body)
            if known is not None and known.day == day:
                return known.equity
            await self._client.set(key, _DAY.encode(_Day(day, equity)), px=2 * DAY_MS)
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return equity


def _read_base(encoded: bytes) -> Base | None:
    try:
        return _BASE.decode(encoded)
    except StoreCorrupt:
        return None


def _read_day(body: bytes | None) -> _Day | None:
    try:
        return None if body is None else _DAY.decode(body)
    except StoreCorrupt:
        return None


def _fill(entry_id: str, fields: dict[bytes, bytes]) -> FillEntry | None:
    try:
        quantity = Decimal(fields[b"quantity"].decode())
        market = Market(fields[b"market"].decode())
    except (KeyError, UnicodeDecodeError, InvalidOperation):
        return None
    return FillEntry(entry_id, market, quantity) if quantity.is_finite() else None


def _has_settled(answer: list[bytes]) -> bool:
    if answer[0] == b"OK":
        return True
    if answer[0] == b"CHANGED":
        return False
    raise failure(answer)
