"""What every broker adapter must keep whose venue takes limit orders that rest, lists them and cancels them."""

from abc import abstractmethod
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.errors import BrokerUnavailable
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderRequest, OrderType, Side
from libs.common.domain.venue import OpenOrder
from services.worker.brokers.port import Broker, Deduplication
from tests.contract.broker_contract import AnyBroker, Bench, BrokerContract, place_again
from tests.contract.orders import not_ours, ours


class RestingBench(Bench[AnyBroker]):
    """A broker whose venue takes orders that rest."""

    low_price = Decimal("50.1234567890123456")
    """A limit at which a buy order rests, with as many digits as the venue takes."""

    @abstractmethod
    async def fill(self, client_order_id: ClientOrderId) -> None:
        """Let a resting order execute in full, at its limit price."""

    def resting_order(self, quantity: Decimal = Decimal(1), **changes: Any) -> OrderRequest:
        """Return an order that rests."""
        limit = {"type": OrderType.LIMIT, "limit_price": self.low_price}
        return self.order(Side.BUY, quantity, **{**limit, **changes})

    async def listed(self, market: Market | None = None) -> dict[str | None, OpenOrder]:
        """Return what rests, by client order id."""
        orders = await self.broker.open_orders(market)
        assert orders is not None, "a venue where orders rest lists them"
        return {each.client_order_id: each for each in orders}


class RestingContract(BrokerContract):
    """Subclasses give a `bench` where orders rest."""

    async def test_a_limit_order_that_is_not_met_rests_and_is_found_so(
        self, bench: RestingBench[Broker]
    ) -> None:
        request = bench.resting_order()
        report = await bench.broker.place(request, ours)
        assert (report.state, report.filled_quantity) == (OrderState.ACCEPTED, 0)
        assert report.order_id
        found = await bench.broker.find(request.client_order_id, request.symbol)
        assert found is not None
        assert (found.order_id, found.state) == (report.order_id, OrderState.ACCEPTED)
        assert await bench.broker.position(bench.market) == 0

    async def test_what_rests_is_listed_exactly_as_it_was_ordered(self, bench: RestingBench[Broker]) -> None:
        request = bench.resting_order(bench.fine)
        report = await bench.broker.place(request, ours)
        listed = (await bench.listed(bench.market))[request.client_order_id]
        assert listed == OpenOrder(
            order_id=report.order_id,
            symbol=bench.market,
            side=Side.BUY,
            quantity=bench.fine,
            client_order_id=request.client_order_id,
            type=OrderType.LIMIT,
            limit_price=bench.low_price,
        )

    async def test_what_rests_is_listed_by_market_and_for_all(self, bench: RestingBench[Broker]) -> None:
        here, there = bench.resting_order(), bench.resting_order(market=bench.other_market)
        for request in (here, there):
            await bench.broker.place(request, ours)
        assert set(await bench.listed(bench.market)) == {here.client_order_id}
        assert set(await bench.listed(bench.other_market)) == {there.client_order_id}
        assert set(await bench.listed()) == {here.client_order_id, there.client_order_id}

    async def test_cancelling_takes_the_named_orders_and_no_others(self, bench: RestingBench[Broker]) -> None:
        requests = [bench.resting_order() for _ in range(4)]
        reports = [await bench.broker.place(request, ours) for request in requests]
        named = [reports[0].order_id, reports[2].order_id]
        for _ in range(2):  # the second time nothing of it rests
            await bench.broker.cancel_open(bench.market, named, ours)
            left = set(await bench.listed(bench.market))
            assert left == {requests[1].client_order_id, requests[3].client_order_id}
        found = await bench.broker.find(requests[0].client_order_id, bench.market)
        assert found is not None
        assert (found.state, found.filled_quantity) == (OrderState.CANCELED, 0)

    async def test_cancelling_without_ids_cancels_nothing(self, bench: RestingBench[Broker]) -> None:
        request = bench.resting_order()
        await bench.broker.place(request, ours)
        await bench.broker.cancel_open(bench.market, (), ours)
        assert set(await bench.listed(bench.market)) == {request.client_order_id}

    async def test_cancelling_what_is_filled_changes_nothing(self, bench: RestingBench[Broker]) -> None:
        report = await bench.broker.place(bench.order(), ours)
        await bench.broker.cancel_open(bench.market, [report.order_id], ours)
        assert await bench.broker.position(bench.market) == 1

    async def test_nothing_is_cancelled_once_the_lane_is_lost(self, bench: RestingBench[Broker]) -> None:
        request = bench.resting_order()
        report = await bench.broker.place(request, ours)
        with pytest.raises(BrokerUnavailable):
            await bench.broker.cancel_open(bench.market, [report.order_id], not_ours)
        assert set(await bench.listed(bench.market)) == {request.client_order_id}

    async def test_a_resting_order_that_is_filled_counts_and_is_no_longer_listed(
        self, bench: RestingBench[Broker]
    ) -> None:
        request = bench.resting_order(bench.fine)
        await bench.broker.place(request, ours)
        await bench.fill(request.client_order_id)
        found = await bench.broker.find(request.client_order_id, request.symbol)
        assert found is not None
        assert (found.state, found.filled_quantity) == (OrderState.FILLED, bench.fine)
        assert found.average_price == bench.low_price
        assert not await bench.listed(bench.market)
        assert await bench.broker.position(bench.market) == bench.fine

    async def test_an_id_that_rests_is_not_taken_twice_where_the_capabilities_say_so(
        self, bench: RestingBench[Broker]
    ) -> None:
        request = bench.resting_order()
        first = await bench.broker.place(request, ours)
        second = await place_again(bench.broker, request)
        is_double = bench.broker.capabilities.deduplication is Deduplication.NONE
        assert (await bench.executions())[request.client_order_id] == (2 if is_double else 1)
        assert is_double or second in {None, first}
