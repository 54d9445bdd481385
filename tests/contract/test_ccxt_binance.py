"""Trading at Binance through ccxt keeps the contract."""

from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio

from libs.common.domain.order import Side
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import ExpiryContract
from tests.contract.ccxt_bench import CcxtBench, ccxt_bench
from tests.contract.ccxt_troubles import ExchangeTroubles, StopTroubles
from tests.contract.orders import ours
from tests.contract.resting_contract import RestingContract

_: type[Broker] = CcxtBroker

pytestmark = pytest.mark.contract


class SpotBench(CcxtBench):
    shorts = False  # a spot account owns coins, and sells no more than it owns


class TestBinanceSpot(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with ccxt_bench(SpotBench, "binance", MarketType.SPOT) as bench:
            yield bench

    async def test_coins_beyond_what_is_owned_are_not_sold(self, bench: CcxtBench) -> None:
        bench.exchange.desk.deposit("BTC", Decimal("2.5"))
        await bench.broker.place(bench.order(Side.SELL, Decimal(1)), ours)
        assert await bench.broker.position(bench.market) == Decimal("1.5")


class TestBinanceSwaps(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with ccxt_bench(CcxtBench, "binance", MarketType.SWAP) as bench:
            yield bench


class TestBinanceSpotInTrouble(StopTroubles):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with ccxt_bench(SpotBench, "binance", MarketType.SPOT, timeout_ms=300) as bench:
            yield bench


class TestBinanceSwapsInTrouble(ExchangeTroubles):
    @pytest_asyncio.fixture
    async def bench(self) -> AsyncIterator[CcxtBench]:
        async with ccxt_bench(CcxtBench, "binance", MarketType.SWAP, timeout_ms=300) as bench:
            yield bench
