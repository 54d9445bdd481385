"""A broker whose every answer a test writes down beforehand, and the ledger of the venue behind it."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder
from services.worker.brokers.port import Broker, Capabilities, Deduplication, LookUp, StillOurs

Step = Callable[["ScriptedBroker", OrderRequest], Awaitable[OrderReport]]
"""What becomes of one call to `place`."""

LookUpStep = Callable[["ScriptedBroker", ClientOrderId], OrderReport | None]
"""What one call to `find` answers."""

NEVER_DEDUPLICATES: Final = Capabilities(Deduplication.NONE, honours_expiry=True, look_up=LookUp.LAGGING)
"""A venue that executes whatever comes, but nothing after its expiry: a second order always shows."""

HOLDS_NOTHING: Final = Capabilities(Deduplication.OPEN, honours_expiry=False, look_up=LookUp.AUTHORITATIVE)
"""A venue at which a request may arrive at any time, and an id may execute twice."""


async def fills(broker: "ScriptedBroker", request: OrderRequest) -> OrderReport:
    """Execute the order and say so."""
    return broker.execute(request)


def reports(state: OrderState, *, filled: Decimal = Decimal(0)) -> Step:
    """Take the order, and answer that it is in this state with so much of it filled."""

    async def step(broker: "ScriptedBroker", request: OrderRequest) -> OrderReport:
        return broker.execute(request, state, filled=filled)

    return step


def fails(error: Exception) -> Step:
    """Execute nothing and raise."""

    async def step(_: "ScriptedBroker", __: OrderRequest) -> OrderReport:
        raise error

    return step


def executes_and_fails(error: Exception) -> Step:
    """Execute the order all the same and raise."""

    async def step(broker: "ScriptedBroker", request: OrderRequest) -> OrderReport:
        broker.execute(request)
        raise error

    return step


def waits_for(event: asyncio.Event, then: Step = fills) -> Step:
    """Answer only once the event is set."""

    async def step(broker: "ScriptedBroker", request: OrderRequest) -> OrderReport:
        await event.wait()
        return await then(broker, request)

    return step


def lost() -> Step:
    """Send the request into the void: nobody knows whether it arrives."""
    return fails(OrderOutcomeUnknown("no answer in time"))


def answer_lost() -> Step:
    """Execute the order, and lose the answer."""
    return executes_and_fails(OrderOutcomeUnknown("no answer in time"))


def refused(code: str = "no_margin", detail: str = "the venue said no") -> Step:
    """Refuse the order for good."""
    return fails(OrderRejected(code, detail))


def unavailable() -> Step:
    """Take no order."""
    return fails(BrokerUnavailable("connection refused"))


def look_up_fails(_: "ScriptedBroker", __: ClientOrderId) -> OrderReport | None:
    """Do not answer the look-up."""
    raise LookUpUnavailable("503")


def knows_nothing(_: "ScriptedBroker", __: ClientOrderId) -> OrderReport | None:
    """Deny the order, known or not."""
    return None


class ScriptedBroker:
    """Answers by script, and once that is at its end, fills every order and finds what it knows.

    Attributes:
        requests: What reached the venue, in order.
        sent_at_ms: When each of them did.
        unsent: What `still_ours` kept back.
        executed: One entry per execution: the venue never deduplicates.
        looked_up: One entry per look-up.
        known: What the venue tells of its orders.
        positions: What is open, by market; nothing where it says nothing.
        prices: The last price of each market.
        balance: The account's money.
        instruments: How finely each market can be traded.
        resting: What rests, in every market; None: the venue does not tell.
        cancelled: One entry per call to `cancel_open` that reached the venue: the market and the ids.
        before_sending: Called right before the lease is asked; a stalled process goes here.
    """

    def __init__(self, clock: Clock, capabilities: Capabilities = NEVER_DEDUPLICATES) -> None:
        self.capabilities = capabilities
        self.requests: list[OrderRequest] = []
        self.sent_at_ms: list[int] = []
        self.unsent: list[OrderRequest] = []
        self.executed: list[ClientOrderId] = []
        self.looked_up: list[ClientOrderId] = []
        self.known: dict[ClientOrderId, OrderReport] = {}
        self.positions: dict[Market, Decimal] = {}
        self.prices: dict[Market, Decimal] = {}
        self.balance: Balance | None = None
        self.instruments: dict[Market, Instrument] = {}
        self.resting: list[OpenOrder] | None = []
        self.cancelled: list[tuple[Market, tuple[str, ...]]] = []
        self.before_sending: Callable[[], Awaitable[None]] | None = None
        self._clock = clock
        self._steps: deque[Step] = deque()
        self._look_ups: deque[LookUpStep] = deque()
        self._look_up_always: LookUpStep | None = None

    def then(self, *steps: Step) -> None:
        """Say what becomes of the next orders."""
        self._steps.extend(steps)

    def then_find(self, *steps: LookUpStep) -> None:
        """Say what the next look-ups answer."""
        self._look_ups.extend(steps)

    def always_find(self, step: LookUpStep | None) -> None:
        """Say what every look-up beyond the script answers; None: what the venue knows."""
        self._look_up_always = step

    def execute(
        self, request: OrderRequest, state: OrderState = OrderState.FILLED, *, filled: Decimal = Decimal(0)
    ) -> OrderReport:
        """Let a request arrive at the venue now, which refuses it after its expiry where it honours one.

        Raises:
            OrderRejected: It came too late.
        """
        if self.capabilities.honours_expiry and self._clock.now_ms() > request.expires_at_ms:
            raise OrderRejected("expired", "the request came too late")
        self.executed.append(request.client_order_id)
        report = OrderReport(
            order_id=f"venue-{len(self.executed)}",
            state=state,
            filled_quantity=request.plan.quantity if state is OrderState.FILLED else filled,
        )
        self.known[request.client_order_id] = report
        return report

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        if self.before_sending is not None:
            await self.before_sending()
        if not still_ours():
            self.unsent.append(request)
            raise BrokerUnavailable("the lane is no longer ours: no order was sent")
        self.requests.append(request)
        self.sent_at_ms.append(self._clock.now_ms())
        step = self._steps.popleft() if self._steps else fills
        return await step(self, request)

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        self.looked_up.append(client_order_id)
        if self._look_ups:
            return self._look_ups.popleft()(self, client_order_id)
        if self._look_up_always is not None:
            return self._look_up_always(self, client_order_id)
        return self.known.get(client_order_id)

    async def position(self, symbol: Market) -> Decimal:
        return self.positions.get(symbol, Decimal(0))

    async def price(self, symbol: Market) -> Decimal | None:
        return self.prices.get(symbol)

    async def account(self) -> Balance | None:
        return self.balance

    async def instrument(self, symbol: Market) -> Instrument | None:
        return self.instruments.get(symbol)

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder] | None:
        if self.resting is None:
            return None
        return [order for order in self.resting if symbol in {None, order.symbol}]

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        if self.before_sending is not None:
            await self.before_sending()
        if not still_ours():
            raise BrokerUnavailable("the lane is no longer ours: nothing was cancelled")
        self.cancelled.append((symbol, tuple(order_ids)))
        if self.resting is not None:
            self.resting = [order for order in self.resting if order.order_id not in order_ids]

    async def markets(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


_: type[Broker] = ScriptedBroker
