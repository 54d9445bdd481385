"""The dry run keeps the contract."""

from collections import Counter

import pytest

from libs.common.domain.ids import ClientOrderId
from services.worker.brokers.log import LogBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import Bench, BrokerContract
from tests.contract.orders import ours

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

    async def test_cancelling_what_is_filled_changes_nothing(self, bench: LogBench) -> None:
        report = await bench.broker.place(bench.order(), ours)
        await bench.broker.cancel_open(bench.market, [report.order_id], ours)
        assert await bench.broker.position(bench.market) == 0
