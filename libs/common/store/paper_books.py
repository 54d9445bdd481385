"""The paper broker's shared books: positions and orders of every paper account, in Redis.

`paper:<account>:positions` is a HASH market -> `Book`, permanent: its sums are balances. Cash is kept by market, so
that lanes of different markets never contend for one balance; an account's is what it started with and the sum. A book
is stored flat, so one of an earlier version, a bare `Position`, reads as a book in which nothing rests.
`paper_order:<account>:<client order id>` is a HASH with the order's report, and expires: it outlives every replay.
"""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.order import OrderReport
from libs.common.policy.book import Book
from libs.common.policy.exchange import Step
from libs.common.store.batch import Batch
from libs.common.store.client import call, translate, translate_text
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.wire import codec

ORDERS_KEPT_MS: Final = 40 * DAY_MS
"""How long an order is remembered, at least: longer than dead letters are by default."""

MOST_TRIES: Final = 100
"""Changes of the same market by other processes that may come first before an attempt gives up. None is the rule: only
an account with `lane_by: strategy` trades one market from several lanes."""


_PATIENT_FROM: Final = 5
_LONGEST_ASIDE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class Counted:
    """A book as it stands in Redis: to count from, and to compare with."""

    book: Book
    encoded: bytes
    """As stored; empty where the market was never traded."""

    @classmethod
    def of(cls, book: Book) -> "Counted":
        """Return a book with its encoding."""
        return cls(book, codec.BOOK.encode(book))


NEVER_TRADED: Final = Counted(Book(), b"")

OtherOrders = Sequence[tuple[ClientOrderId, OrderReport]]
"""Earlier orders of the same market that changed on the way."""


@dataclass(frozen=True, slots=True)
class Booking:
    """An order that the exchange took, to be written with all that it changed."""

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
    others: OtherOrders = ()


@dataclass(frozen=True, slots=True)
class Amendment:
    """What became of a book without a new order: a price, a cancellation, time that passed."""

    account: AccountName
    market: Market
    before: Counted
    after: Counted
    others: OtherOrders
    may_go: Callable[[], bool]
    """Asked when its flight leaves."""


@dataclass(frozen=True, slots=True)
class Booked:
    """Written, now or by an earlier call with the same client order id."""

    report: OrderReport
    is_new: bool
    """Whether this call wrote it; else the books stand as they stood."""


@dataclass(frozen=True, slots=True)
class Amended:
    """Written."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Another change came first: count again from this. Nothing was written."""

    now: Counted


@dataclass(frozen=True, slots=True)
class TooLate:
    """The order had expired. Nothing was written."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Withheld:
    """`may_go` said no. Nothing was sent."""


Answer = Booked | Amended | Changed | TooLate | Withheld


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order as the books know it."""

    report: OrderReport
    placed_at_ms: int
    """By Redis' time; 0 for one of an earlier version."""


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
        self.book: Final[Batch[Booking | Amendment, Answer]] = Batch(self._send)
        """Writes; many share a round trip."""

    async def read(self, account: AccountName, market: Market) -> Counted:
        """Return the book of one market.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key or the field holds something else.
        """
        return _counted(await self._ask("HGET", self._books_key(account), market) or b"")

    async def positions(self, account: AccountName) -> Mapping[Market, Book]:
        """Return every market that was ever traded or priced, the closed ones too.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key or a field holds something else.
        """
        reply: dict[bytes, bytes] = await self._ask("HGETALL", self._books_key(account))
        return {Market(market.decode()): _counted(encoded).book for market, encoded in reply.items()}

    async def order(self, account: AccountName, client_order_id: ClientOrderId) -> PlacedOrder | None:
        """Return an order; None where it was never placed.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The key holds something else.
        """
        key = self._order_key(account, client_order_id)
        report, placed_at = await self._ask("HMGET", key, "report", "placed_at")
        if report is None:
            return None
        try:
            return PlacedOrder(codec.ORDER_REPORT.decode(report), int(placed_at or 0))
        except ValueError as error:
            raise StoreCorrupt(f"the time of {client_order_id} cannot be read: {placed_at!r}") from error

    async def amend(
        self,
        account: AccountName,
        market: Market,
        step: Callable[[Book], Step],
        *,
        before: Counted | None = None,
        may_go: Callable[[], bool] = lambda: True,
    ) -> Counted | Withheld:
        """Take a step on a book, again from the start where another change came first.

        A step that changes nothing is not written.

        Args:
            account: Whose book.
            market: Of what.
            step: Counts, from the book as it stands; called once for each try.
            before: What to count from first; None reads it.
            may_go: Asked whenever something is about to be sent.

        Returns:
            The book after it.

        Raises:
            StoreUnavailable: No answer, so whether it was written is not known; or others always came first.
            StoreCorrupt: The key or the field holds something else.
        """
        if before is None:
            before = await self.read(account, market)
        for attempt in range(MOST_TRIES):
            await step_aside(attempt)
            taken = step(before.book)
            if taken.book == before.book:
                return before
            after = Counted.of(taken.book)
            others = [
                (order.client_order_id, order.report())
                for order in taken.orders
                if order.client_order_id is not None
            ]
            answer = await self.book.submit(Amendment(account, market, before, after, others, may_go))
            match answer:
                case Amended():
                    return after
                case Withheld():
                    return answer
                case Changed(now):
                    before = now
                case _:
                    raise StoreCorrupt(f"paper_fill answered {answer!r} to a change without an order")
        raise StoreUnavailable(f"{MOST_TRIES} other changes of {market} came first")

    async def _send(self, items: Sequence[Booking | Amendment]) -> Sequence[Answer | BridgeError]:
        # Asked here, since an item may have waited behind a slow flight.
        leaving = [item for item in items if item.may_go()]
        if not leaving:
            return [Withheld() for _ in items]
        keys: list[str] = [*self._keys.fixed]
        args: list[str | bytes | int] = [self._now, self._orders_kept_ms]
        for item in leaving:
            keys.append(self._books_key(item.account))
            args += (item.market, item.before.encoded, item.after.encoded)
            if isinstance(item, Booking):
                keys.append(self._order_key(item.account, item.client_order_id))
                args += (item.expires_at_ms, item.alert_id, 1 + len(item.others))
                args.append(codec.ORDER_REPORT.encode(item.report))
            else:
                args += ("", "", len(item.others))
            for order_id, report in item.others:
                keys.append(self._order_key(item.account, order_id))
                args.append(codec.ORDER_REPORT.encode(report))
        replies = iter(await self._script.run(self._client, keys, args))
        left = set(map(id, leaving))
        return [_answer(next(replies)) if id(item) in left else Withheld() for item in items]

    async def _ask(self, *command: str) -> Any:
        try:
            return await call(self._client, *command)
        except (RedisError, OSError) as error:
            raise translate(error) from error

    def _books_key(self, account: AccountName) -> str:
        return self._keys.paper(account, "positions")

    def _order_key(self, account: AccountName, client_order_id: ClientOrderId) -> str:
        return self._keys.paper_order(account, client_order_id)


async def step_aside(attempt: int) -> None:
    """Wait a moment after some changes in vain, each time another.

    Callers that go round at the same pace could else keep one of them out for good.
    """
    if attempt >= _PATIENT_FROM:
        await asyncio.sleep(random.uniform(0, _LONGEST_ASIDE_S))  # noqa: S311 - no secret


def _answer(reply: list[bytes]) -> Answer | BridgeError:
    word, rest = reply[0], reply[1]
    try:
        if word in {b"FILLED", b"KNOWN"}:
            return Booked(codec.ORDER_REPORT.decode(rest), is_new=word == b"FILLED")
        if word == b"CHANGED":
            return Changed(_counted(rest))
        if word == b"WRITTEN":
            return Amended()
    except StoreCorrupt as error:
        return error
    if word == b"EXPIRED":
        return TooLate(int(rest))
    if word == b"ERROR":
        return translate_text(rest.decode())
    return StoreCorrupt(f"paper_fill answered {reply!r}")


def _counted(encoded: bytes) -> Counted:
    return Counted(codec.BOOK.decode(encoded), encoded) if encoded else NEVER_TRADED
