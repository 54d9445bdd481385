"""A broker whose every call for an alert is a span."""

from collections.abc import Sequence
from decimal import Decimal

from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder
from libs.common.telemetry.execution_spans import calling
from libs.common.telemetry.spans import Tracer
from libs.common.telemetry.tracing import OUTCOME
from services.worker.brokers.port import Broker, Capabilities, StillOurs


class TracedBroker:
    """Hands on every call. What is asked for no alert, as by those who follow and compare, makes no span."""

    def __init__(self, broker: Broker, account: AccountName, venue: str, tracer: Tracer) -> None:
        """Args:
        broker: Does the work.
        account: Its account.
        venue: Its kind.
        tracer: Makes the spans.
        """
        self._broker = broker
        self._account = account
        self._venue = venue
        self._tracer = tracer

    @property
    def capabilities(self) -> Capabilities:
        """What the rules of sending again depend on."""
        return self._broker.capabilities

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Send one order."""
        with calling(
            self._tracer,
            "place_order",
            self._venue,
            self._account,
            request.symbol,
            request.client_order_id,
        ) as span:
            report = await self._broker.place(request, still_ours)
            if span is not None:
                span.set(OUTCOME, report.state.value)
            return report

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Ask what the venue knows of an order."""
        with calling(self._tracer, "find_order", self._venue, self._account, symbol, client_order_id) as span:
            report = await self._broker.find(client_order_id, symbol)
            if span is not None:
                span.set(OUTCOME, "not_found" if report is None else report.state.value)
            return report

    async def position(self, symbol: Market) -> Decimal:
        """Ask for the position."""
        with calling(self._tracer, "get_position", self._venue, self._account, symbol, None):
            return await self._broker.position(symbol)

    async def price(self, symbol: Market) -> Decimal | None:
        """Ask for the last price."""
        with calling(self._tracer, "get_price", self._venue, self._account, symbol, None):
            return await self._broker.price(symbol)

    async def account(self) -> Balance | None:
        """Ask for the account's money."""
        with calling(self._tracer, "get_account", self._venue, self._account, None, None):
            return await self._broker.account()

    async def instrument(self, symbol: Market) -> Instrument | None:
        """Ask how finely a market can be traded."""
        with calling(self._tracer, "get_instrument", self._venue, self._account, symbol, None):
            return await self._broker.instrument(symbol)

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder] | None:
        """Ask what rests."""
        with calling(self._tracer, "get_open_orders", self._venue, self._account, symbol, None):
            return await self._broker.open_orders(symbol)

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Cancel resting orders."""
        with calling(self._tracer, "cancel_orders", self._venue, self._account, symbol, None):
            await self._broker.cancel_open(symbol, order_ids, still_ours)

    async def markets(self) -> Sequence[Market] | None:
        """Ask for all markets; never for an alert."""
        return await self._broker.markets()

    async def aclose(self) -> None:
        """Close connections."""
        await self._broker.aclose()
