"""Orders over HTTP keep the contract, against a venue that executes whatever arrives."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal

import pytest
import pytest_asyncio

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import Bench, BrokerContract
from tests.contract.orders import order, ours
from tests.support.venue import Venue

_: type[Broker] = HttpBroker

pytestmark = pytest.mark.contract

SECRET = "a-shared-secret"


class HttpBench(Bench[HttpBroker]):
    def __init__(self, broker: HttpBroker, venue: Venue) -> None:
        super().__init__(broker)
        self.venue = venue
        self._first = len(venue.ledger())

    def executed(self) -> list[dict[str, str]]:
        return self.venue.ledger()[self._first :]

    async def executions(self) -> Counter[str]:
        return Counter(entry["client_order_id"] for entry in self.executed())

    async def quantity_of(self, client_order_id: ClientOrderId) -> str | None:
        return next(
            (entry["quantity"] for entry in self.executed() if entry["client_order_id"] == client_order_id),
            None,
        )


@pytest.fixture(scope="module")
def signing_venue() -> Iterator[Venue]:
    with Venue(secret=SECRET) as venue:
        yield venue


@pytest_asyncio.fixture
async def bench(signing_venue: Venue, request: pytest.FixtureRequest) -> AsyncIterator[HttpBench]:
    signing_venue.control(reset=True)
    # A book of its own for each test; the path is signed with it.
    prefix = request.node.name.partition("[")[0]
    broker = HttpBroker(
        f"{signing_venue.url}/{prefix}/",
        Secret(SECRET),
        SystemClock(),
        timeout_ms=2_000,
        connections=16,
        verify_answers=True,
    )
    yield HttpBench(broker, signing_venue)
    await broker.aclose()


class TestHttpBroker(BrokerContract):
    """With signatures checked on both sides."""


async def test_the_id_is_also_the_idempotency_key(bench: HttpBench) -> None:
    request = order()
    await bench.broker.place(request, ours)
    assert bench.executed()[0]["idempotency_key"] == request.client_order_id


async def test_an_order_keeps_its_connection_for_the_next(bench: HttpBench) -> None:
    await bench.broker.place(order(), ours)
    connections = bench.venue.stats()["connections"]
    for _ in range(5):
        await bench.broker.place(order(), ours)
    assert bench.venue.stats()["connections"] == connections + 1  # the one that asked


async def test_a_wrong_secret_trades_nothing_and_says_so(bench: HttpBench) -> None:
    broker = HttpBroker(bench.venue.url, Secret("another"), SystemClock(), timeout_ms=2_000, connections=1)
    with pytest.raises(BrokerUnavailable, match=r"401: .*bad_signature"):
        await broker.place(order(), ours)
    with pytest.raises(LookUpUnavailable, match="401"):
        await broker.position(order().symbol)
    assert not bench.executed()
    await broker.aclose()


async def test_an_answer_signed_with_another_secret_is_not_believed(bench: HttpBench) -> None:
    with Venue() as unsigned:
        broker = HttpBroker(
            unsigned.url, Secret(SECRET), SystemClock(), timeout_ms=2_000, connections=1, verify_answers=True
        )
        request = order()
        with pytest.raises(OrderOutcomeUnknown, match="signature"):
            await broker.place(request, ours)
        with pytest.raises(LookUpUnavailable, match="signature"):
            await broker.find(request.client_order_id, request.symbol)
        await broker.aclose()


@pytest.mark.parametrize("garbage", ["no_order_id", "truncated", "not_json", "empty"])
async def test_an_executed_order_with_a_broken_answer_is_unknown_and_then_found(
    bench: HttpBench, garbage: str
) -> None:
    bench.venue.control(garbage=garbage)
    request = order()
    with pytest.raises(OrderOutcomeUnknown):
        await bench.broker.place(request, ours)
    found = await bench.broker.find(request.client_order_id, request.symbol)
    assert found is not None
    assert found.state is OrderState.FILLED


async def test_an_order_that_takes_too_long_is_unknown_and_then_found(bench: HttpBench) -> None:
    bench.venue.control(delay_ms=60_000)
    hasty = HttpBroker(bench.venue.url, Secret(SECRET), SystemClock(), timeout_ms=100, connections=1)
    request = order()
    with pytest.raises(OrderOutcomeUnknown, match="TimeoutError"):
        await hasty.place(request, ours)
    assert await hasty.find(request.client_order_id, request.symbol) is not None
    await hasty.aclose()


async def test_a_resting_order_is_reported_as_accepted(bench: HttpBench) -> None:
    bench.venue.control(order_status="accepted")
    report = await bench.broker.place(order(), ours)
    assert (report.state, report.filled_quantity) == (OrderState.ACCEPTED, Decimal(0))


async def test_a_partial_fill_is_reported_with_its_share(bench: HttpBench) -> None:
    bench.venue.control(order_status="partially_filled", fill="0.25")
    report = await bench.broker.place(order(quantity=Decimal(10)), ours)
    assert (report.state, report.filled_quantity) == (OrderState.PARTIAL, Decimal("2.5"))


async def test_every_field_is_on_the_wire_and_numbers_are_strings() -> None:
    received = asyncio.Queue[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        received.put_nowait(await reader.readexactly(length))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    broker = HttpBroker(
        f"http://127.0.0.1:{port}", Secret(SECRET), SystemClock(), timeout_ms=2_000, connections=1
    )
    request = order(quantity=Decimal("1E-8"), limit_price=Decimal("1E+2"))
    with pytest.raises(OrderOutcomeUnknown):
        await broker.place(request, ours)
    await broker.aclose()
    server.close()
    assert json.loads(received.get_nowait()) == {
        "client_order_id": request.client_order_id,
        "account": "desk",
        "symbol": "BTC/USDT",
        "side": "buy",
        "type": "market",
        "quantity": "0.00000001",
        "limit_price": "100",
        "stop_price": None,
        "take_profit": None,
        "stop_loss": None,
        "reduce_only": False,
        "time_in_force": None,
        "alert_id": request.alert_id,
        "strategy": None,
        "expires_at_ms": request.expires_at_ms,
    }
