"""Trading on paper: a simulated exchange, whose books all workers share."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
    StoreCorrupt,
    StoreUnavailable,
)
from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.lifecycle import RESTING
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder, OrderAbilities
from libs.common.policy import exchange
from libs.common.policy.book import Book
from libs.common.policy.exact import add
from libs.common.policy.exchange import Ticket
from libs.common.policy.exposure import gross_value
from libs.common.policy.fills import Unfillable
from libs.common.policy.order_checks import TIMES_IN_FORCE
from libs.common.runtime.paper_exchange import PaperExchange
from libs.common.store.paper_books import (
    MOST_TRIES,
    NEVER_TRADED,
    Amended,
    Answer,
    Booked,
    Booking,
    Changed,
    Counted,
    PaperBooks,
    PlacedOrder,
    TooLate,
    Withheld,
    step_aside,
)
from services.worker.brokers.paper_faults import PaperFaults
from services.worker.brokers.port import NOT_OURS, Capabilities, Deduplication, LookUp, StillOurs


class PaperBroker:
    """One account at a simulated exchange; `policy/exchange.py` says how it trades, `paper_faults.py` how it fails.

    What one order tells of the price, the alert's, is what the others of its market meet. Redis holds the books.
    """

    def __init__(self, account: AccountName, books: PaperBooks, paper: PaperExchange, clock: Clock) -> None:
        """Args:
        account: Whose books.
        books: Shared by all paper accounts of the process, so that they share round trips.
        paper: How its exchange behaves.
        clock: For days, times in force and the pace of partial fills; requests expire by Redis' time.
        """
        self._account = account
        self._books = books
        self._paper = paper
        self._clock = clock
        self._faults = PaperFaults(account, paper)
        self._seen: dict[Market, Counted] = {}
        """What the last answer said, to count from; the books say so where it is out of date."""
        self._turns: defaultdict[Market, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Orders of one market count one after the other: side by side, all but one would count in vain."""
        lag_ms = paper.faults.look_up_lag_ms
        self.capabilities: Final = Capabilities(
            Deduplication.LIFETIME,
            honours_expiry=True,
            look_up=LookUp.LAGGING if lag_ms else LookUp.AUTHORITATIVE,
            look_up_lag_ms=lag_ms,
            orders=OrderAbilities(times_in_force=TIMES_IN_FORCE),
            has_own_prices=False,
        )

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Take an order in, or answer as the first time where the books know its id."""
        if self._faults.has_any:
            return await self._faults.place(partial(self._book_in_turn, request), still_ours)
        return await self._book_in_turn(request, still_ours)

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Return an order as it stands now."""
        self._faults.before_look_up()
        known = await self._order(client_order_id)
        if known is None:
            # Its record may have expired while it rested.
            order = (await self._current(symbol)).book.order_of(client_order_id)
            return None if order is None else order.report()
        lag_ms = self._paper.faults.look_up_lag_ms
        if lag_ms and self._clock.now_ms() < known.placed_at_ms + lag_ms:
            return None
        if known.report.state not in RESTING:
            return known.report
        await self._current(symbol)
        known = await self._order(client_order_id) or known
        return known.report

    async def position(self, symbol: Market) -> Decimal:
        """Return the signed position."""
        self._faults.before_look_up()
        return (await self._current(symbol)).book.quantity

    async def price(self, symbol: Market) -> Decimal | None:
        """Return the price that an order without one would fill at."""
        self._faults.before_look_up()
        book = (await self._read(symbol)).book
        return self._paper.price_for(book, None) or book.last_price

    async def account(self) -> Balance:
        """Return what the account is worth at the last prices, and what this day, UTC, has added to it."""
        self._faults.before_look_up()
        books = (await self._all()).values()
        now_ms = self._clock.now_ms()
        return Balance(
            equity=add(self._paper.cash, *(book.worth for book in books)),
            day_pnl=add(*(book.day_pnl(now_ms) for book in books)),
            currency=self._paper.currency,
            exposure=gross_value(books),
        )

    async def instrument(self, symbol: Market) -> Instrument:  # noqa: ARG002 - all markets are alike
        """Return how finely the account's markets trade."""
        self._faults.before_look_up()
        return self._paper.rules.instrument

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder]:
        """Return what rests, exits that came with an order too."""
        self._faults.before_look_up()
        if symbol is None:
            markets = [market for market, book in (await self._all()).items() if book.orders]
        else:
            markets = [symbol]
        return [
            order.as_open(market) for market in markets for order in (await self._current(market)).book.orders
        ]

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Take resting orders back."""
        await self._faults.before_cancel(still_ours)
        now_ms = self._clock.now_ms()
        wanted = frozenset(order_ids)
        async with self._turns[symbol]:
            try:
                before = await self._books.read(self._account, symbol)
            except (StoreUnavailable, StoreCorrupt) as error:
                raise BrokerUnavailable(str(error)) from error
            try:
                after = await self._books.amend(
                    self._account,
                    symbol,
                    lambda book: exchange.cancel(book, wanted, at_ms=now_ms),
                    before=before,
                    may_go=still_ours,
                )
            except (StoreUnavailable, StoreCorrupt) as error:
                raise OrderOutcomeUnknown(str(error)) from error
            if isinstance(after, Withheld):
                raise BrokerUnavailable(NOT_OURS)
            self._seen[symbol] = after

    async def markets(self) -> None:
        """Take any name."""

    async def aclose(self) -> None:
        """Wait until what was submitted has its answer; the connection is the caller's."""
        await self._faults.aclose()
        await self._books.book.drain()

    # Orders

    async def _book_in_turn(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        async with self._turns[request.symbol]:
            return await self._book_in(request, still_ours)

    async def _book_in(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        before = self._seen.get(request.symbol, NEVER_TRADED)
        for attempt in range(MOST_TRIES):
            await step_aside(attempt)
            booking = self._count(request, before, still_ours)
            if isinstance(booking, Unfillable):
                known, now = await self._look_again(request)
                if known is not None:
                    return known.report
                if now.encoded == before.encoded:
                    raise OrderRejected(booking.code, booking.detail)
                before = now
                continue
            match await self._write(booking):
                case Booked(report, is_new):
                    if is_new:
                        self._seen[request.symbol] = booking.after
                    return report
                case Changed(now):
                    before = self._seen[request.symbol] = now
                case TooLate(now_ms):
                    raise OrderRejected("expired", f"expired at {request.expires_at_ms}, it is {now_ms}")
                case Withheld():
                    raise BrokerUnavailable(NOT_OURS)
                case Amended():
                    raise OrderOutcomeUnknown("the books answered as if there were no order")
                case _ as never:
                    assert_never(never)
        raise BrokerUnavailable(f"{MOST_TRIES} other changes of {request.symbol} came first")

    async def _write(self, booking: Booking) -> Answer:
        try:
            answering = self._books.book.submit(booking)
        except StoreUnavailable as error:
            raise BrokerUnavailable(str(error)) from error  # not even queued
        try:
            answer: Answer = await answering
        except (StoreUnavailable, StoreCorrupt) as error:
            raise OrderOutcomeUnknown(str(error)) from error
        return answer

    def _count(self, request: OrderRequest, before: Counted, still_ours: StillOurs) -> Booking | Unfillable:
        plan = request.plan
        price = self._paper.price_for(before.book, plan.reference_price)
        step = exchange.submit(
            before.book,
            Ticket(f"paper-{request.client_order_id}", request.client_order_id, plan),
            price=price,
            at_ms=self._clock.now_ms(),
            rules=self._paper.rules,
            uniform=self._paper.dice(self._account, request.client_order_id),
        )
        if isinstance(step, Unfillable):
            if step.code == "no_price":
                detail = f"neither the alert nor an earlier fill nor default_price prices {request.symbol}"
                return Unfillable(step.code, detail)
            return step
        own, *others = step.orders
        return Booking(
            account=self._account,
            market=request.symbol,
            client_order_id=request.client_order_id,
            alert_id=request.alert_id,
            before=before,
            after=Counted.of(step.book),
            report=own.report(),
            expires_at_ms=request.expires_at_ms,
            may_go=still_ours,
            others=[
                (order.client_order_id, order.report())
                for order in others
                if order.client_order_id is not None
            ],
        )

    # Look-ups

    async def _look_again(self, request: OrderRequest) -> tuple[PlacedOrder | None, Counted]:
        """Return what the books have of the order and its market; nothing of this attempt has been sent."""
        try:
            known = await self._books.order(self._account, request.client_order_id)
            return known, await self._books.read(self._account, request.symbol)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise BrokerUnavailable(str(error)) from error

    async def _order(self, client_order_id: ClientOrderId) -> PlacedOrder | None:
        try:
            return await self._books.order(self._account, client_order_id)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise LookUpUnavailable(str(error)) from error

    async def _read(self, symbol: Market) -> Counted:
        try:
            return await self._books.read(self._account, symbol)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise LookUpUnavailable(str(error)) from error

    async def _all(self) -> dict[Market, Book]:
        try:
            return dict(await self._books.positions(self._account))
        except (StoreUnavailable, StoreCorrupt) as error:
            raise LookUpUnavailable(str(error)) from error

    async def _current(self, symbol: Market) -> Counted:
        """Return a market's book once the time that has passed has done its work on what rests there."""
        now = await self._read(symbol)
        if not now.book.orders:
            return now
        now_ms = self._clock.now_ms()
        async with self._turns[symbol]:
            try:
                after = await self._books.amend(
                    self._account,
                    symbol,
                    lambda book: exchange.advance(
                        book,
                        at_ms=now_ms,
                        rules=self._paper.rules,
                        uniform=self._paper.dice(self._account, symbol, now_ms),
                    ),
                    before=now,
                )
            except (StoreUnavailable, StoreCorrupt) as error:
                raise LookUpUnavailable(str(error)) from error
            assert not isinstance(after, Withheld), "nothing holds it back"
            self._seen[symbol] = after
        return after
