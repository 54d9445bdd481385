"""Trading on paper: every market order fills at once, on books that all workers share."""

import asyncio
from collections import defaultdict
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.errors import (
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
    StoreCorrupt,
    StoreUnavailable,
)
from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderRequest, OrderType
from libs.common.policy.fills import Unfillable, fill, market_price
from libs.common.store.paper_books import (
    NEVER_TRADED,
    Answer,
    Booked,
    Booking,
    Changed,
    Counted,
    PaperBooks,
    TooLate,
    Withheld,
)
from services.worker.brokers.port import Capabilities, Deduplication, LookUp, StillOurs

MOST_TRIES: Final = 100
"""Fills of the same market by other processes that may come first before an attempt gives up. None is the rule: only
an account with `lane_by: strategy` trades one market from several lanes."""


class PaperBroker:
    """Fills at the alert's price, else the last seen, else the account's; buys pay slippage on top, sells below.

    It models neither depth nor latency, margin, funding or trading hours, and takes market orders only.
    """

    capabilities: Final = Capabilities(
        Deduplication.LIFETIME, honours_expiry=True, look_up=LookUp.AUTHORITATIVE
    )

    def __init__(
        self,
        account: AccountName,
        books: PaperBooks,
        *,
        default_price: Decimal | None,
        slippage_bps: Decimal,
        fee_bps: Decimal,
    ) -> None:
        """Args:
        account: Whose books.
        books: Shared by all paper accounts of the process, so that they share round trips.
        default_price: Where neither the alert nor an earlier fill gives one; None rejects such an order.
        slippage_bps: Basis points by which every fill is worse than its market price.
        fee_bps: Basis points of a fill's value that it costs.
        """
        self._account = account
        self._books = books
        self._default_price = default_price
        self._slippage_bps = slippage_bps
        self._fee_bps = fee_bps
        self._seen: dict[Market, Counted] = {}
        """What the last answer said, to count from; the books say so where it is out of date."""
        self._turns: defaultdict[Market, asyncio.Lock] = defaultdict(asyncio.Lock)
        """Orders of one market count one after the other: side by side, all but one would count in vain."""

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Fill an order, or answer as the first time where the books know its id."""
        _check_supported(request.plan)
        async with self._turns[request.symbol]:
            return await self._fill(request, still_ours)

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:  # noqa: ARG002
        """Return the fill of an order."""
        try:
            return await self._books.order(self._account, client_order_id)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise LookUpUnavailable(str(error)) from error

    async def position(self, symbol: Market) -> Decimal:
        """Return the signed position."""
        return (await self._look_up(symbol)).position.quantity

    async def price(self, symbol: Market) -> Decimal | None:
        """Return the price that an order without one would fill at."""
        return market_price(None, (await self._look_up(symbol)).position, self._default_price)

    async def markets(self) -> None:
        """Take any name."""

    async def aclose(self) -> None:
        """Wait until what was submitted has its answer; the connection is the caller's."""
        await self._books.book.drain()

    async def _fill(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        before = self._seen.get(request.symbol, NEVER_TRADED)
        for _ in range(MOST_TRIES):
            booking = self._count(request, before, still_ours)
            if isinstance(booking, Unfillable):
                known, now = await self._read(request)
                if known is not None:
                    return known
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
                    raise BrokerUnavailable("the lane is no longer ours: nothing was sent")
                case _ as never:
                    assert_never(never)
        raise BrokerUnavailable(f"{MOST_TRIES} other fills of {request.symbol} came first")

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

    async def _read(self, request: OrderRequest) -> tuple[OrderReport | None, Counted]:
        """Return what the books have of the order and its market; nothing of this attempt has been sent."""
        try:
            known = await self._books.order(self._account, request.client_order_id)
            return known, await self._books.position(self._account, request.symbol)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise BrokerUnavailable(str(error)) from error

    async def _look_up(self, symbol: Market) -> Counted:
        try:
            return await self._books.position(self._account, symbol)
        except (StoreUnavailable, StoreCorrupt) as error:
            raise LookUpUnavailable(str(error)) from error

    def _count(self, request: OrderRequest, before: Counted, still_ours: StillOurs) -> Booking | Unfillable:
        plan = request.plan
        price = market_price(plan.reference_price, before.position, self._default_price)
        if price is None:
            return Unfillable(
                "no_price", f"neither the alert nor an earlier fill nor default_price prices {request.symbol}"
            )
        filled = fill(
            before.position,
            plan.side,
            plan.quantity,
            price,
            slippage_bps=self._slippage_bps,
            fee_bps=self._fee_bps,
        )
        if isinstance(filled, Unfillable):
            return filled
        report = OrderReport(
            order_id=f"paper-{request.client_order_id}",
            state=OrderState.FILLED,
            filled_quantity=plan.quantity,
            average_price=filled.price,
            fee=filled.fee,
        )
        return Booking(
            account=self._account,
            market=request.symbol,
            client_order_id=request.client_order_id,
            alert_id=request.alert_id,
            before=before,
            after=Counted.of(filled.position),
            report=report,
            expires_at_ms=request.expires_at_ms,
            may_go=still_ours,
        )


def _check_supported(plan: OrderPlan) -> None:
    """Refuse what would have to be ignored.

    Raises:
        OrderRejected: It asks for more than a market order.
    """
    asked = {
        "limit_price": plan.limit_price,
        "stop_price": plan.stop_price,
        "take_profit": plan.take_profit,
        "stop_loss": plan.stop_loss,
        "reduce_only": plan.reduce_only or None,
    }
    names = [name for name, value in asked.items() if value is not None]
    if plan.type is not OrderType.MARKET or names:
        what = ", ".join([f"type {plan.type}", *names])
        raise OrderRejected("unsupported", f"paper fills plain market orders only; asked for {what}")
