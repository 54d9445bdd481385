"""The dry run keeps the contract."""

from collections import Counter

import pytest

from libs.common.domain.ids import ClientOrderId
from services.worker.brokers.log import LogBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import Bench, BrokerContract

_: type[Broker] = LogBroker

pytestmark = pytest.mark.contract


class LogBench(Bench[LogBroker]):
    executes = False

    async def executions(self) -> Counter[str]:
        return Counter()

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        return None


class TestLogBroker(BrokerContract):
    @pytest.fixture
    def bench(self) -> LogBench:
        return LogBench(LogBroker())
