"""A ccxt broker in front of a simulated exchange, for the contract."""

import importlib.util
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.venue import Instrument
from libs.common.runtime.account_settings import CcxtAccount, MarketType
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.ccxt_exchange import Credentials
from tests.contract.resting_contract import RestingBench
from tests.support.exchange_desk import FINE, Kind, Listing
from tests.support.exchange_server import LocalExchange
from tests.support.exchange_wire import API_KEY, API_SECRET
from tests.support.tools import missing_tool

KINDS = {MarketType.SPOT: Kind.SPOT, MarketType.SWAP: Kind.SWAP}


def named(base: str, market_type: MarketType) -> Market:
    """Return what ccxt calls the market of a coin."""
    return Market(f"{base}/USDT" if market_type is MarketType.SPOT else f"{base}/USDT:USDT")


class CcxtBench(RestingBench[CcxtBroker]):
    """One exchange, spot or swaps."""

    tells_price = True
    equity = Decimal(10_000_000_000)
    low_price = Decimal("50.1234")
    fine = Decimal("12345678.12345678")
    instrument: Instrument | None = FINE

    def __init__(self, broker: CcxtBroker, exchange: LocalExchange, market_type: MarketType) -> None:
        super().__init__(broker)
        self.exchange = exchange
        self.kind = KINDS[market_type]
        self.market = named("BTC", market_type)
        self.other_market = named("ETH", market_type)
        self.untraded_market = named("SOL", market_type)
        self.coarse_market = named("XRP", market_type)
        self.many_markets = tuple(named(f"S{number}", market_type) for number in range(10))

    async def executions(self) -> Counter[str]:
        return self.exchange.desk.executions()

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        lines = [line for line in self.exchange.desk.accepted if line["client_order_id"] == client_order_id]
        return lines[0]["quantity"] if lines else None

    async def fill(self, client_order_id: ClientOrderId) -> None:
        desk = self.exchange.desk
        for listing, order in desk.resting(self.kind):
            if order.client_order_id == client_order_id:
                assert order.limit_price is not None
                desk.set_price(listing, order.limit_price, self.kind)

    def listing(self) -> Listing:
        """Return the exchange's entry for `market`."""
        return self.exchange.desk.listings["BTCUSDT"]


@asynccontextmanager
async def ccxt_bench(
    kind: type[CcxtBench],
    exchange_name: str,
    market_type: MarketType,
    *,
    broker_kind: type[CcxtBroker] = CcxtBroker,
    **settings: Any,
) -> AsyncIterator[CcxtBench]:
    """Run an exchange and a broker that trades there, ready."""
    if importlib.util.find_spec("ccxt") is None:
        missing_tool("ccxt", "the contract of ccxt accounts")
    async with LocalExchange(exchange_name) as exchange:
        account = CcxtAccount(
            exchange=exchange_name,
            market_type=market_type,
            api_key="DESK_KEY",
            secret="DESK_SECRET",
            url=exchange.url,
            **settings,
        )
        credentials = Credentials(api_key=Secret(API_KEY), secret=Secret(API_SECRET), password=None)
        broker = broker_kind(account, credentials, SystemClock(), connections=72)
        try:
            await broker.ready()
            yield kind(broker, exchange, market_type)
        finally:
            await broker.aclose()
