"""The paper broker's shared books: positions and orders of every paper account, in Redis.

`paper:<account>:positions` is a HASH market -> `Position`, permanent: its sums are balances. Cash is kept by market,
so that lanes of different markets never contend for one balance; an account's is what it started with and the sum.
`paper_order:<account>:<client order id>` is a HASH with the order's report, and expires: it outlives every replay.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.order import OrderReport
from libs.common.policy.fills import Position
from libs.common.store.batch import Batch
from libs.common.store.client import call, translate, translate_text
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.wire import codec

ORDERS_KEPT_MS: Final = 40 * 86_400_000
"""How long an order is remembered, at least: longer than dead letters are by default."""


@dataclass(frozen=True, slots=True)
class Counted:
    """A position as it stands in the books: to count from, and to compare with."""

    position: Position
    encoded: bytes
    """As stored; empty where the market was never traded."""

    @classmethod
    def of(cls, position: Position) -> "Counted":
        """Return a position with its encoding."""
        return cls(position, codec.POSITION.encode(position))


NEVER_TRADED: Final = Counted(Position(), b"")


@dataclass(frozen=True, slots=True)
class Booking:
    """A fill that was counted and is to be written."""

    account: AccountName
    market: Market
    client_order_id: ClientOrderId
    alert_id: AlertId
    before: Counted
    after: Counted
    report: OrderReport
    expires_at_ms: int
    may_go: Callable[[], bool]
    """Asked when its flight leaves."""


@dataclass(frozen=True, slots=True)
class Booked:
    """Written, now or by an earlier call with the same client order id."""

    report: OrderReport
    is_new: bool
    """Whether this call wrote it; else the books stand as they stood."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Another fill came first: count again from this. Nothing was written."""

    now: Counted


@dataclass(frozen=True, slots=True)
class TooLate:
    """The order had expired. Nothing was written."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Withheld:
    """`may_go` said no. Nothing was sent."""


Answer = Booked | Changed | TooLate | Withheld


class PaperBooks:
    """The books of all paper accounts of a shard."""

    def __init__(
        self, client: Redis, keys: Keys, *, orders_kept_ms: int = ORDERS_KEPT_MS, now_ms: int | None = None
    ) -> None:
        """Args:
        client: The connection.
        keys: The shard's.
        orders_kept_ms: How long an order is remembered: no replay may come later.
        now_ms: In place of Redis' time; None in production.
        """
        self._client = client
        self._keys = keys
        self._orders_kept_ms = orders_kept_ms
        self._now = "" if now_ms is None else str(now_ms)
        self._script = Script("paper_fill")
        self.book: Final[Batch[Booking, Answer]] = Batch(self._send)
        """Writes fills; many share a round trip."""

    async def position(self, account: AccountName, market: Market) -> Counted:
        """Return the position in one market.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key or the field holds something else.
        """
        return _counted(await self._ask("HGET", self._positions_key(account), market) or b"")

    async def positions(self, account: AccountName) -> Mapping[Market, Position]:
        """Return every market that was ever traded, the closed ones too.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key or a field holds something else.
        """
        reply: dict[bytes, bytes] = await self._ask("HGETALL", self._positions_key(account))
        return {Market(market.decode()): _counted(encoded).position for market, encoded in reply.items()}

    async def order(self, account: AccountName, client_order_id: ClientOrderId) -> OrderReport | None:
        """Return an order's report; None where it was never filled.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key holds something else.
        """
        reply = await self._ask("HGET", self._order_key(account, client_order_id), "report")
        return None if reply is None else codec.ORDER_REPORT.decode(reply)

    async def _send(self, bookings: Sequence[Booking]) -> Sequence[Answer | BridgeError]:
        # Asked here, since a booking may have waited behind a slow flight.
        leaving = [booking for booking in bookings if booking.may_go()]
        if not leaving:
            return [Withheld() for _ in bookings]
        keys: list[str] = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now, self._orders_kept_ms]
        for booking in leaving:
            keys += (
                self._positions_key(booking.account),
                self._order_key(booking.account, booking.client_order_id),
            )
            args += (
                booking.market,
                booking.before.encoded,
                booking.after.encoded,
                booking.alert_id,
                codec.ORDER_REPORT.encode(booking.report),
                booking.expires_at_ms,
            )
        replies = iter(await self._script.run(self._client, keys, args))
        left = set(map(id, leaving))
        return [_answer(next(replies)) if id(booking) in left else Withheld() for booking in bookings]

    async def _ask(self, *command: str) -> Any:
        try:
            return await call(self._client, *command)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    def _positions_key(self, account: AccountName) -> str:
        return self._keys.paper(account, "positions")

    def _order_key(self, account: AccountName, client_order_id: ClientOrderId) -> str:
        return self._keys.paper_order(account, client_order_id)


def _answer(reply: list[bytes]) -> Answer | BridgeError:
    word, rest = reply[0], reply[1]
    try:
        if word in {b"FILLED", b"KNOWN"}:
            return Booked(codec.ORDER_REPORT.decode(rest), is_new=word == b"FILLED")
        if word == b"CHANGED":
            return Changed(_counted(rest))
    except StoreCorrupt as error:
        return error
    if word == b"EXPIRED":
        return TooLate(int(rest))
    if word == b"ERROR":
        return translate_text(rest.decode())
    return StoreCorrupt(f"paper_fill answered {reply!r}")


def _counted(encoded: bytes) -> Counted:
    return Counted(codec.POSITION.decode(encoded), encoded) if encoded else NEVER_TRADED
