"""A traced broker hands everything on: trading on paper keeps its contract through it."""

from collections.abc import AsyncIterator
from typing import cast

import pytest
import pytest_asyncio

from libs.common.runtime.paper_exchange import PaperExchange
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import PaperBooks
from libs.common.telemetry.spans import KeepingTracer
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import Broker
from services.worker.brokers.traced import TracedBroker
from tests.contract.broker_contract import ExpiryContract
from tests.contract.orders import ACCOUNT
from tests.contract.resting_contract import RestingContract
from tests.contract.test_paper_broker import PaperBench
from tests.support.redis_server import RedisServer

_: type[Broker] = TracedBroker

pytestmark = [pytest.mark.contract, pytest.mark.redis]


class Spans:
    """Counts what it is given."""

    def __init__(self) -> None:
        self.count = 0

    def put(self, _span: bytes) -> None:
        self.count += 1


class TestTracedBroker(RestingContract, ExpiryContract):
    @pytest_asyncio.fixture
    async def bench(self, redis_server: RedisServer) -> AsyncIterator[PaperBench]:
        client = connect(redis_server.url, timeout_s=5)
        paper = PaperBroker(
            ACCOUNT, PaperBooks(client, Keys()), PaperExchange(cash=PaperBench.equity), SystemClock()
        )
        broker = TracedBroker(paper, ACCOUNT, "paper", KeepingTracer(Spans()))
        yield PaperBench(cast("PaperBroker", broker), client)
        await broker.aclose()
