"""Trading at Bybit through ccxt keeps the contract."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import pytest_asyncio

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, Side
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.port import Broker, StillOurs
from tests.contract.broker_contract import ExpiryContract
from tests.contract.ccxt_bench import CcxtBench, ccxt_bench
from tests.contract.ccxt_troubles import StopTroubles
from tests.contract.orders import ours
from tests.contract.resting_contract import RestingContract

_: type[Broker] = CcxtBroker

pytestmark = pytest.mark.contract


class AskingBroker(CcxtBroker):
    """Asks what became of each order, as a worker does: Bybit answers an order with its ids and nothing else."""

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        await super().place(request, still_ours)
        found = await self.find(request.client_order_id, request.symbol)
        assert found is not None
        return found


class SpotBench(CcxtBench):
    shorts = False  # a spot account owns coins, and sells no more than it owns


def run(market_type: MarketType, **settings: Any) -> AbstractAsyncContextManager[CcxtBench]:
    bench = SpotBench if market_type is MarketType.SPOT else CcxtBench
    return ccxt_bench(bench, "bybit", market_type, **settings)


class TestBybitSpot(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with run(MarketType.SPOT, broker_kind=AskingBroker) as bench:
            yield bench


class TestBybitSwaps(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with run(MarketType.SWAP, broker_kind=AskingBroker) as bench:
            yield bench

    async def test_an_answered_order_is_taken_and_no_more_is_said(self, bench: CcxtBench) -> None:
        report = await CcxtBroker.place(bench.broker, bench.order(), ours)
        assert (report.state, report.filled_quantity) == (OrderState.ACCEPTED, 0)

    async def test_exits_that_come_with_an_order_rest_once_it_is_filled(self, bench: CcxtBench) -> None:
        request = bench.order(take_profit=bench.price * 2, stop_loss=bench.price / 2)
        await bench.broker.place(request, ours)
        exits = await bench.broker.open_orders(bench.market)
        assert exits is not None
        assert {(each.side, each.limit_price or each.stop_price) for each in exits} == {
            (Side.SELL, bench.price * 2),
            (Side.SELL, bench.price / 2),
        }
        bench.exchange.desk.set_price(bench.listing(), bench.price * 2, bench.kind)
        assert await bench.broker.position(bench.market) == 0
        assert not await bench.broker.open_orders(bench.market)


class TestBybitSpotInTrouble(StopTroubles):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with run(MarketType.SPOT, timeout_ms=300) as bench:
            yield bench


class TestBybitSwapsInTrouble(StopTroubles):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with run(MarketType.SWAP, timeout_ms=300) as bench:
            yield bench
