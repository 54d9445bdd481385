"""What every broker adapter must keep, whatever is behind it.

A bench says what its venue can do and what it trades; what the venue cannot do, the port's own "no" is asked for.
`ExpiryContract`, and `RestingContract` beside this module, are for the brokers that can do more.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from decimal import Decimal
from typing import Any, Generic, TypeVar

import pytest

from libs.common.domain.errors import BrokerUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, Side
from libs.common.domain.venue import Instrument
from services.worker.brokers.port import Broker, Deduplication
from tests.contract.orders import FINE, MARKET, not_ours, order, ours

AnyBroker = TypeVar("AnyBroker", bound=Broker)


class Bench(ABC, Generic[AnyBroker]):
    """A broker, and what its venue has to say behind its back."""

    executes = True
    """Whether orders trade anywhere at all."""
    shorts = True
    """Whether more can be sold than is owned. A spot account holds coins, and never less than none."""
    tells_price = False
    """Whether the price of a market is that of its last trade."""
    equity: Decimal | None = None
    """What the account is worth before anything was traded; None: the venue does not tell."""
    instrument: Instrument | None = None
    """What the venue says of `market`; None: nothing."""

    market = MARKET
    other_market = Market("ETH/USDT")
    untraded_market = Market("ÄÖ/%2F? #")
    many_markets = tuple(Market(f"M{number}") for number in range(10))
    """For many orders at once."""
    price = Decimal(100)
    """What market orders execute at."""
    fine = FINE
    """A quantity with as many digits as the venue takes."""
    smallest = Decimal("1E-8")
    """The smallest quantity that the venue takes."""

    def __init__(self, broker: AnyBroker) -> None:
        self.broker = broker

    @abstractmethod
    async def executions(self) -> Counter[str]:
        """Return how often each client order id was executed, or taken to rest."""

    @abstractmethod
    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        """Return the quantity as the venue holds it; None where it holds no order."""

    def order(self, side: Side = Side.BUY, quantity: Decimal = Decimal(1), **changes: Any) -> OrderRequest:
        """Return an order that executes at once."""
        return order(side, quantity, **{"price": self.price, "market": self.market, **changes})


class BrokerContract:
    """Subclasses give a `bench`."""

    # ------------------------------------------------------------------------------------------------------------------
    # Orders that execute at once
    # ------------------------------------------------------------------------------------------------------------------

    async def test_an_order_is_executed_once_and_reported_in_full(self, bench: Bench[Broker]) -> None:
        request = bench.order()
        report = await bench.broker.place(request, ours)
        assert report.state is OrderState.FILLED
        assert report.order_id
        assert report.filled_quantity == 1
        assert report.average_price == bench.price
        assert await bench.executions() == ({request.client_order_id: 1} if bench.executes else {})

    async def test_eighteen_digits_arrive_and_come_back_exactly(self, bench: Bench[Broker]) -> None:
        request = bench.order(quantity=bench.fine)
        report = await bench.broker.place(request, ours)
        assert str(report.filled_quantity) == str(bench.fine)
        held = await bench.quantity_of(request.client_order_id)
        assert held == (str(bench.fine) if bench.executes else None)

    async def test_the_smallest_quantity_arrives_without_an_exponent(self, bench: Bench[Broker]) -> None:
        request = bench.order(quantity=bench.smallest)
        report = await bench.broker.place(request, ours)
        assert report.filled_quantity == bench.smallest
        held = await bench.quantity_of(request.client_order_id)
        assert held == (format(bench.smallest, "f") if bench.executes else None)

    async def test_a_placed_order_is_found_as_it_was_reported(self, bench: Bench[Broker]) -> None:
        request = bench.order(quantity=bench.fine)
        report = await bench.broker.place(request, ours)
        found = await bench.broker.find(request.client_order_id, request.symbol)
        if not bench.executes:
            assert found is None
            return
        assert found is not None
        assert (found.order_id, found.state) == (report.order_id, report.state)
        assert (found.filled_quantity, found.average_price) == (report.filled_quantity, report.average_price)

    async def test_an_order_that_never_arrived_is_not_found(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(), ours)
        unknown = bench.order()
        assert await bench.broker.find(unknown.client_order_id, unknown.symbol) is None

    async def test_the_same_id_again_does_what_the_capabilities_say(self, bench: Bench[Broker]) -> None:
        request = bench.order()
        first = await bench.broker.place(request, ours)
        second = await place_again(bench.broker, request)
        count = (await bench.executions())[request.client_order_id]
        match bench.broker.capabilities.deduplication:
            case Deduplication.LIFETIME:
                assert second in {None, first}
                assert count == (1 if bench.executes else 0)
            case Deduplication.NONE | Deduplication.OPEN:
                assert count == 2

    async def test_expiry_is_asked_for_where_it_is_promised_and_nowhere_else(
        self, bench: Bench[Broker]
    ) -> None:
        assert bench.broker.capabilities.honours_expiry == isinstance(self, ExpiryContract)

    async def test_nothing_is_executed_once_the_lane_is_lost(self, bench: Bench[Broker]) -> None:
        request = bench.order()
        with pytest.raises(BrokerUnavailable):
            await bench.broker.place(request, not_ours)
        assert not await bench.executions()
        assert await bench.broker.find(request.client_order_id, request.symbol) is None

    async def test_a_broker_serves_on_after_an_order_was_withheld(self, bench: Bench[Broker]) -> None:
        with pytest.raises(BrokerUnavailable):
            await bench.broker.place(bench.order(), not_ours)
        assert (await bench.broker.place(bench.order(), ours)).state is OrderState.FILLED

    async def test_what_executed_at_once_is_not_listed(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(), ours)
        assert not await bench.broker.open_orders(bench.market)
        assert not await bench.broker.open_orders()

    async def test_many_at_once_are_executed_once_each(self, bench: Bench[Broker]) -> None:
        count = len(bench.many_markets)
        requests = [bench.order(market=bench.many_markets[number % count]) for number in range(60)]
        reports = await asyncio.gather(*(bench.broker.place(request, ours) for request in requests))
        assert {report.state for report in reports} == {OrderState.FILLED}
        wanted = {request.client_order_id: 1 for request in requests} if bench.executes else {}
        assert await bench.executions() == wanted

    # ------------------------------------------------------------------------------------------------------------------
    # The account and its markets
    # ------------------------------------------------------------------------------------------------------------------

    async def test_a_position_is_the_signed_sum_of_what_was_traded(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(Side.BUY, Decimal("1.5")), ours)
        sold = Decimal("3.75") if bench.shorts else Decimal("0.25")
        await bench.broker.place(bench.order(Side.SELL, sold), ours)
        await bench.broker.place(bench.order(Side.BUY, Decimal(7), market=bench.other_market), ours)
        assert await bench.broker.position(bench.market) == (Decimal("1.5") - sold if bench.executes else 0)

    async def test_a_position_has_every_digit(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(quantity=bench.fine), ours)
        assert await bench.broker.position(bench.market) == (bench.fine if bench.executes else 0)

    async def test_a_market_that_was_never_traded_has_no_position(self, bench: Bench[Broker]) -> None:
        assert await bench.broker.position(bench.untraded_market) == 0

    async def test_positions_are_told_where_orders_are_executed(self, bench: Bench[Broker]) -> None:
        assert bench.broker.capabilities.has_positions == bench.executes

    async def test_a_price_is_a_number_above_zero_or_none(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(), ours)
        price = await bench.broker.price(bench.market)
        if bench.tells_price:
            assert price == bench.price
        else:
            assert price is None or price > 0

    async def test_the_accounts_money_is_told_exactly_or_not_at_all(self, bench: Bench[Broker]) -> None:
        balance = await bench.broker.account()
        assert (None if balance is None else balance.equity) == bench.equity

    async def test_the_steps_of_a_market_are_told_exactly_or_not_at_all(self, bench: Bench[Broker]) -> None:
        assert await bench.broker.instrument(bench.market) == bench.instrument

    async def test_markets_are_names_each_once_or_none_are_listed(self, bench: Bench[Broker]) -> None:
        markets = await bench.broker.markets()
        assert markets is None or (all(markets) and len(set(markets)) == len(markets))

    async def test_closing_twice_is_harmless(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(bench.order(), ours)
        await bench.broker.aclose()
        await bench.broker.aclose()


class ExpiryContract(BrokerContract):
    """For a broker whose capabilities say that it honours expiry."""

    async def test_an_expired_order_is_refused(self, bench: Bench[Broker]) -> None:
        request = bench.order(expires_in_ms=-1)
        with pytest.raises(OrderRejected) as refused:
            await bench.broker.place(request, ours)
        assert refused.value.code == "expired"
        assert not await bench.executions()
        assert await bench.broker.find(request.client_order_id, request.symbol) is None


async def place_again(broker: Broker, request: OrderRequest) -> OrderReport | None:
    """Return the answer to an id that the venue has seen; None where it must be looked up."""
    try:
        return await broker.place(request, ours)
    except OrderOutcomeUnknown:
        return None
