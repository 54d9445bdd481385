"""The receiver that users copy keeps the contract of the `http` adapter, as a process of its own."""

import http.client
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderType, Side
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import Bench, ExpiryContract
from tests.contract.orders import ours
from tests.support.child_server import ChildServer
from tests.support.clock import ManualClock
from tests.support.ports import free_port

pytestmark = pytest.mark.contract

RECEIVER = Path(__file__).parents[2] / "docs/examples/receiver.py"
SECRET = "a-shared-secret"


class Receiver(ChildServer):
    """The example as it stands in the documentation, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__("receiver", directory)
        self.port = free_port()
        self.path = directory / "receiver.db"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str | os.PathLike[str]]:
        """Return what is run."""
        return [sys.executable, RECEIVER]

    def environment(self) -> dict[str, str]:
        """Return the variables that it is started with."""
        own = {"DESK_SECRET": SECRET, "RECEIVER_DB": str(self.path), "PORT": str(self.port)}
        return {**os.environ, **own}

    def listens(self) -> bool:
        """Return whether it refuses a question without a signature."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/orders/none")
            return connection.getresponse().status == 401
        except OSError:
            return False
        finally:
            connection.close()

    def orders(self) -> list[tuple[str, str]]:
        """Return id and answer of every order, in order."""
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True) as database:
            return database.execute("SELECT id, answer FROM orders ORDER BY rowid").fetchall()


class ReceiverBench(Bench[HttpBroker]):
    def __init__(self, broker: HttpBroker, receiver: Receiver, name: str) -> None:
        super().__init__(broker)
        self.receiver = receiver
        self._first = len(receiver.orders())
        # Positions live as long as the process: each test has markets of its own.
        self.market, self.other_market = Market(f"BTC/{name}"), Market(f"ETH/{name}")

    async def executions(self) -> Counter[str]:
        return Counter(client_order_id for client_order_id, _ in self.receiver.orders()[self._first :])

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        found = await self.broker.find(client_order_id, self.market)
        return None if found is None else format(found.filled_quantity, "f")


@pytest.fixture(scope="module")
def receiver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with Receiver(tmp_path_factory.mktemp("receiver")) as receiver:
        yield receiver


def broker_at(url: str, *, secret: str = SECRET, clock: Clock | None = None) -> HttpBroker:
    return HttpBroker(
        url, Secret(secret), clock or SystemClock(), timeout_ms=5_000, connections=8, verify_answers=True
    )


@pytest_asyncio.fixture
async def bench(receiver: Receiver, request: pytest.FixtureRequest) -> AsyncIterator[ReceiverBench]:
    broker = broker_at(receiver.url)
    yield ReceiverBench(broker, receiver, request.node.name.partition("[")[0])
    await broker.aclose()


class TestReceiver(ExpiryContract):
    """With signatures checked on both sides."""

    async def test_the_same_id_again_does_what_the_capabilities_say(self, bench: Bench[Broker]) -> None:
        """Do better than an adapter may rely on: never execute an id twice."""
        request = bench.order()
        first = await bench.broker.place(request, ours)
        assert await bench.broker.place(request, ours) == first
        assert (await bench.executions())[request.client_order_id] == 1
        assert await bench.broker.position(bench.market) == 1


async def test_what_was_executed_is_known_after_a_crash(bench: ReceiverBench) -> None:
    request = bench.order(quantity=Decimal("0.5"))
    first = await bench.broker.place(request, ours)
    bench.receiver.kill()
    bench.receiver.start()
    assert await bench.broker.find(request.client_order_id, request.symbol) == first
    assert await bench.broker.place(request, ours) == first
    assert await bench.broker.position(bench.market) == Decimal("0.5")


async def test_an_order_that_was_taken_but_whose_fill_was_never_written_is_accepted(
    bench: ReceiverBench,
) -> None:
    request = bench.order()
    await bench.broker.place(request, ours)
    with sqlite3.connect(bench.receiver.path) as database:
        database.execute(
            "UPDATE orders SET answer = ? WHERE id = ?",
            ('{"order_id": "r-1", "status": "accepted", "filled_quantity": "0"}', request.client_order_id),
        )
    found = await bench.broker.place(request, ours)
    assert (found.order_id, found.state) == ("r-1", OrderState.ACCEPTED)


async def test_a_wrong_secret_trades_nothing(bench: ReceiverBench) -> None:
    request = bench.order()
    stranger = HttpBroker(
        bench.receiver.url, Secret("another"), SystemClock(), timeout_ms=5_000, connections=1
    )
    with pytest.raises(BrokerUnavailable, match="bad_signature"):
        await stranger.place(request, ours)
    with pytest.raises(LookUpUnavailable, match="401"):
        await stranger.position(bench.market)
    await stranger.aclose()
    suspicious = broker_at(bench.receiver.url, secret="another")
    with pytest.raises(OrderOutcomeUnknown, match="signature"):
        await suspicious.place(request, ours)
    await suspicious.aclose()
    assert not await bench.executions()


async def test_an_old_question_is_not_answered_again(bench: ReceiverBench, clock: ManualClock) -> None:
    late = broker_at(bench.receiver.url, clock=clock)
    with pytest.raises(LookUpUnavailable, match="bad_signature"):
        await late.position(bench.market)
    await late.aclose()


@pytest.mark.parametrize(
    "plan",
    [
        {"type": OrderType.LIMIT, "limit_price": Decimal(90)},
        {"type": OrderType.STOP, "stop_price": Decimal(110)},
        {"take_profit": Decimal(120)},
        {"stop_loss": Decimal(80)},
        {"time_in_force": "opg"},
    ],
)
async def test_what_it_cannot_do_is_refused(bench: ReceiverBench, plan: dict[str, Any]) -> None:
    with pytest.raises(OrderRejected) as refused:
        await bench.broker.place(bench.order(**plan), ours)
    assert refused.value.code == "unsupported"
    assert not await bench.executions()


async def test_an_order_that_only_lessens_never_turns_a_position_around(bench: ReceiverBench) -> None:
    await bench.broker.place(bench.order(Side.BUY, Decimal(2)), ours)
    for side, quantity in ((Side.SELL, Decimal("2.5")), (Side.BUY, Decimal(1))):
        with pytest.raises(OrderRejected) as refused:
            await bench.broker.place(bench.order(side, quantity, reduce_only=True), ours)
        assert refused.value.code == "reduce_only"
    await bench.broker.place(bench.order(Side.SELL, Decimal(2), reduce_only=True), ours)
    assert await bench.broker.position(bench.market) == 0


async def test_what_it_does_not_offer_is_left_out_and_not_an_error(bench: ReceiverBench) -> None:
    assert await bench.broker.open_orders(bench.market) is None
    with pytest.raises(OrderRejected) as refused:
        await bench.broker.cancel_open(bench.market, ["v-1"], ours)
    assert refused.value.code == "not_supported"
