"""What every broker adapter must keep, whatever is behind it."""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from decimal import Decimal
from typing import Generic, TypeVar

import pytest

from libs.common.domain.errors import BrokerUnavailable, OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import Side
from services.worker.brokers.port import Broker, Deduplication
from tests.contract.orders import FINE, MARKET, not_ours, order, ours

AnyBroker = TypeVar("AnyBroker", bound=Broker)


class Bench(ABC, Generic[AnyBroker]):
    """A broker, and what its venue has to say behind its back."""

    executes = True
    """Whether orders trade anywhere at all."""

    def __init__(self, broker: AnyBroker) -> None:
        self.broker = broker

    @abstractmethod
    async def executions(self) -> Counter[str]:
        """Return how often each client order id was executed."""

    @abstractmethod
    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        """Return the quantity as the venue holds it; None where it holds no order."""


class BrokerContract:
    """Subclasses give a `bench`."""

    async def test_an_order_is_executed_once_and_reported_in_full(self, bench: Bench[Broker]) -> None:
        request = order()
        report = await bench.broker.place(request, ours)
        assert report.state is OrderState.FILLED
        assert report.order_id
        assert report.filled_quantity == 1
        assert report.average_price == 100
        assert await bench.executions() == ({request.client_order_id: 1} if bench.executes else {})

    async def test_eighteen_digits_arrive_and_come_back_exactly(self, bench: Bench[Broker]) -> None:
        request = order(quantity=FINE)
        report = await bench.broker.place(request, ours)
        assert str(report.filled_quantity) == str(FINE)
        assert await bench.quantity_of(request.client_order_id) == (str(FINE) if bench.executes else None)

    async def test_the_smallest_quantity_arrives_without_an_exponent(self, bench: Bench[Broker]) -> None:
        request = order(quantity=Decimal("1E-8"))
        report = await bench.broker.place(request, ours)
        assert report.filled_quantity == Decimal("0.00000001")
        assert await bench.quantity_of(request.client_order_id) == ("0.00000001" if bench.executes else None)

    async def test_a_placed_order_is_found_as_it_was_reported(self, bench: Bench[Broker]) -> None:
        request = order(quantity=FINE)
        report = await bench.broker.place(request, ours)
        found = await bench.broker.find(request.client_order_id, request.symbol)
        if not bench.executes:
            assert found is None
            return
        assert found is not None
        assert (found.order_id, found.state) == (report.order_id, report.state)
        assert (found.filled_quantity, found.average_price) == (report.filled_quantity, report.average_price)

    async def test_an_order_that_never_arrived_is_not_found(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(order(), ours)
        unknown = order()
        assert await bench.broker.find(unknown.client_order_id, unknown.symbol) is None

    async def test_the_same_id_again_does_what_the_capabilities_say(self, bench: Bench[Broker]) -> None:
        request = order()
        first = await bench.broker.place(request, ours)
        second = await bench.broker.place(request, ours)
        count = (await bench.executions())[request.client_order_id]
        match bench.broker.capabilities.deduplication:
            case Deduplication.LIFETIME:
                assert second == first
                assert count == (1 if bench.executes else 0)
            case Deduplication.NONE:
                assert count == 2
            case Deduplication.OPEN:
                pytest.fail("no adapter of this kind yet")

    async def test_an_expired_order_is_refused_where_the_capabilities_say_so(
        self, bench: Bench[Broker]
    ) -> None:
        if not bench.broker.capabilities.honours_expiry:
            assert not bench.executes, "a venue that executes late needs a rule of its own"
            return
        request = order(expires_in_ms=-1)
        with pytest.raises(OrderRejected) as refused:
            await bench.broker.place(request, ours)
        assert refused.value.code == "expired"
        assert not await bench.executions()
        assert await bench.broker.find(request.client_order_id, request.symbol) is None

    async def test_nothing_is_executed_once_the_lane_is_lost(self, bench: Bench[Broker]) -> None:
        request = order()
        with pytest.raises(BrokerUnavailable):
            await bench.broker.place(request, not_ours)
        assert not await bench.executions()
        assert await bench.broker.find(request.client_order_id, request.symbol) is None

    async def test_a_broker_serves_on_after_an_order_was_withheld(self, bench: Bench[Broker]) -> None:
        with pytest.raises(BrokerUnavailable):
            await bench.broker.place(order(), not_ours)
        assert (await bench.broker.place(order(), ours)).state is OrderState.FILLED

    async def test_a_position_is_the_signed_sum_of_what_was_traded(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(order(Side.BUY, Decimal("1.5")), ours)
        await bench.broker.place(order(Side.SELL, Decimal("3.75")), ours)
        await bench.broker.place(order(Side.BUY, Decimal(7), market=Market("ETH/USDT")), ours)
        assert await bench.broker.position(MARKET) == (Decimal("-2.25") if bench.executes else 0)

    async def test_a_market_that_was_never_traded_has_no_position(self, bench: Bench[Broker]) -> None:
        assert await bench.broker.position(Market("ÄÖ/%2F? #")) == 0

    async def test_a_price_is_a_number_above_zero_or_none(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(order(), ours)
        price = await bench.broker.price(MARKET)
        assert price is None or price > 0

    async def test_markets_are_names_each_once_or_none_are_listed(self, bench: Bench[Broker]) -> None:
        markets = await bench.broker.markets()
        assert markets is None or (all(markets) and len(set(markets)) == len(markets))

    async def test_many_at_once_are_executed_once_each(self, bench: Bench[Broker]) -> None:
        requests = [order(market=Market(f"M{i % 10}")) for i in range(60)]
        reports = await asyncio.gather(*(bench.broker.place(request, ours) for request in requests))
        assert {report.state for report in reports} == {OrderState.FILLED}
        wanted = {request.client_order_id: 1 for request in requests} if bench.executes else {}
        assert await bench.executions() == wanted

    async def test_closing_twice_is_harmless(self, bench: Bench[Broker]) -> None:
        await bench.broker.place(order(), ours)
        await bench.broker.aclose()
        await bench.broker.aclose()
