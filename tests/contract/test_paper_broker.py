"""Trading on paper keeps the contract."""

from collections import Counter
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from libs.common.domain.ids import ClientOrderId
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import PaperBooks
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import Bench, BrokerContract
from tests.contract.orders import ACCOUNT, MARKET
from tests.support.redis_server import RedisServer

_: type[Broker] = PaperBroker

pytestmark = [pytest.mark.contract, pytest.mark.redis]


class PaperBench(Bench[PaperBroker]):
    def __init__(self, broker: PaperBroker, client: Redis) -> None:
        super().__init__(broker)
        self._client = client

    async def executions(self) -> Counter[str]:
        # A double would not show as a second record, so the ids are held against what was traded: 1 each.
        found = [key async for key in self._client.scan_iter(Keys().paper_order(ACCOUNT, ClientOrderId("*")))]
        counts = Counter({key.decode().rpartition(":")[2]: 1 for key in found})
        books = await PaperBooks(self._client, Keys()).positions(ACCOUNT)
        assert sum(position.quantity for position in books.values()) == counts.total()
        return counts

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        report = await self.broker.find(client_order_id, MARKET)
        return None if report is None else format(report.filled_quantity, "f")


class TestPaperBroker(BrokerContract):
    @pytest_asyncio.fixture
    async def bench(self, redis_server: RedisServer) -> AsyncIterator[PaperBench]:
        client = connect(redis_server.url, timeout_s=5)
        broker = PaperBroker(
            ACCOUNT,
            PaperBooks(client, Keys()),
            default_price=None,
            slippage_bps=Decimal(0),
            fee_bps=Decimal(0),
        )
        yield PaperBench(broker, client)
        await broker.aclose()
        await client.aclose()
