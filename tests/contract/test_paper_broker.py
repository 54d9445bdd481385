"""Trading on paper keeps the contract."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.venue import Instrument
from libs.common.policy.book import Book
from libs.common.policy.exchange import Step, tick
from libs.common.policy.order_checks import Rules
from libs.common.runtime.paper_exchange import PaperExchange
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import PaperBooks, PlacedOrder
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import ExpiryContract
from tests.contract.orders import ACCOUNT, MARKET, now_ms
from tests.contract.resting_contract import RestingBench, RestingContract
from tests.support.redis_server import RedisServer

_: type[Broker] = PaperBroker

pytestmark = [pytest.mark.contract, pytest.mark.redis]


class PaperBench(RestingBench[PaperBroker]):
    tells_price = True
    equity = Decimal(100_000)
    instrument = Instrument()

    def __init__(self, broker: PaperBroker, client: Redis) -> None:
        super().__init__(broker)
        self._books = PaperBooks(client, Keys())
        self._client = client

    async def executions(self) -> Counter[str]:
        # A double would not show as a second record, so the ids are held against what was traded and what rests.
        found = [key async for key in self._client.scan_iter(Keys().paper_order(ACCOUNT, ClientOrderId("*")))]
        ids = [ClientOrderId(key.decode().rpartition(":")[2]) for key in found]
        books = (await self._books.positions(ACCOUNT)).values()
        placed = sum(book.quantity + sum(order.remaining for order in book.orders) for book in books)
        orders = [await self._books.order(ACCOUNT, one) for one in ids]
        assert placed == sum(self._quantity(order) for order in orders)
        return Counter(ids)

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        report = await self.broker.find(client_order_id, MARKET)
        return None if report is None else format(report.filled_quantity, "f")

    async def fill(self, client_order_id: ClientOrderId) -> None:
        def meet(book: Book) -> Step:
            order = book.order_of(client_order_id)
            assert order is not None
            assert order.limit_price is not None
            return tick(book, order.limit_price, at_ms=now_ms(), rules=Rules(), uniform=random.uniform)

        await self._books.amend(ACCOUNT, MARKET, meet)

    def _quantity(self, order: PlacedOrder | None) -> Decimal:
        assert order is not None
        return Decimal(1) if order.report.state is OrderState.ACCEPTED else order.report.filled_quantity


class TestPaperBroker(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self, redis_server: RedisServer) -> AsyncIterator[PaperBench]:
        client = connect(redis_server.url, timeout_s=5)
        paper = PaperExchange(cash=PaperBench.equity)
        broker = PaperBroker(ACCOUNT, PaperBooks(client, Keys()), paper, SystemClock())
        yield PaperBench(broker, client)
        await broker.aclose()
        await client.aclose()
