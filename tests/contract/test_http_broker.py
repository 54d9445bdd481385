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
from libs.common.domain.order import OrderType, Side
from libs.common.domain.venue import Balance, Instrument
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.http import HttpBroker
from services.worker.brokers.port import Broker
from tests.contract.broker_contract import ExpiryContract
from tests.contract.orders import MARKET, order, ours
from tests.contract.resting_contract import RestingBench, RestingContract
from tests.contract.scripted_venue import ScriptedVenue, drops
from tests.support.venue import Venue

_: type[Broker] = HttpBroker

pytestmark = pytest.mark.contract

SECRET = "a-shared-secret"


STEPS = {
    "quantity_step": "0.00000001",
    "price_step": "0.0000000000000001",
    "min_value": "5",
    "max_quantity": None,
}


class HttpBench(RestingBench[HttpBroker]):
    tells_price = True
    equity = Decimal("123456789012.345678")
    instrument = Instrument(quantity_step=Decimal("1E-8"), price_step=Decimal("1E-16"), min_value=Decimal(5))

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

    async def fill(self, client_order_id: ClientOrderId) -> None:
        self.venue.fill(client_order_id)


@pytest.fixture(scope="module")
def signing_venue() -> Iterator[Venue]:
    with Venue(secret=SECRET) as venue:
        yield venue


@pytest_asyncio.fixture
async def bench(signing_venue: Venue, request: pytest.FixtureRequest) -> AsyncIterator[HttpBench]:
    signing_venue.control(reset=True)
    signing_venue.tell(account={"equity": str(HttpBench.equity)}, instruments={MARKET: STEPS})
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


class TestHttpBroker(RestingContract, ExpiryContract):
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


async def test_what_is_filled_of_a_resting_order_is_found_and_its_rest_still_cancelled(
    bench: HttpBench,
) -> None:
    request = bench.resting_order(Decimal(10))
    report = await bench.broker.place(request, ours)
    bench.venue.fill(request.client_order_id, Decimal("2.5"))
    found = await bench.broker.find(request.client_order_id, MARKET)
    assert found is not None
    assert (found.state, found.filled_quantity) == (OrderState.PARTIAL, Decimal("2.5"))
    assert (await bench.listed())[request.client_order_id].filled_quantity == Decimal("2.5")
    await bench.broker.cancel_open(MARKET, [report.order_id], ours)
    found = await bench.broker.find(request.client_order_id, MARKET)
    assert found is not None
    assert (found.state, found.filled_quantity) == (OrderState.CANCELED, Decimal("2.5"))
    assert await bench.broker.position(MARKET) == Decimal("2.5")


async def test_a_stop_order_is_listed_as_one(bench: HttpBench) -> None:
    request = order(Side.SELL, type=OrderType.STOP, stop_price=Decimal("90.5"))
    await bench.broker.place(request, ours)
    listed = (await bench.listed())[request.client_order_id]
    assert (listed.side, listed.type, listed.stop_price) == (Side.SELL, OrderType.STOP, Decimal("90.5"))
    assert listed.limit_price is None


async def test_the_accounts_profit_and_currency_are_told_where_the_venue_does(bench: HttpBench) -> None:
    bench.venue.tell(account={"equity": 1000.25, "day_pnl": "-0.000000001", "currency": "EUR"})
    assert await bench.broker.account() == Balance(
        equity=Decimal("1000.25"), day_pnl=Decimal("-0.000000001"), currency="EUR"
    )


async def test_a_cancellation_whose_answer_is_lost_is_unknown_and_has_taken_effect(bench: HttpBench) -> None:
    request = bench.resting_order()
    report = await bench.broker.place(request, ours)
    bench.venue.control(cancel_drop=1.0)
    with pytest.raises(OrderOutcomeUnknown):
        await bench.broker.cancel_open(MARKET, [report.order_id], ours)
    assert await bench.listed() == {}


async def test_every_field_of_a_rich_order_is_on_the_wire(bench: HttpBench) -> None:
    async with ScriptedVenue(drops) as venue:
        broker = HttpBroker(venue.url, Secret(SECRET), SystemClock(), timeout_ms=2_000, connections=1)
        request = order(
            Side.SELL,
            Decimal("0.5"),
            type=OrderType.STOP_LIMIT,
            limit_price=Decimal("99.123456789012345678"),
            stop_price=Decimal("1E+2"),
            take_profit=Decimal("1E-8"),
            stop_loss=Decimal("120.50"),
            reduce_only=True,
            time_in_force="gtc",
        )
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(request, ours)
        await broker.aclose()
    sent = json.loads(venue.bodies[0])
    assert {name: sent[name] for name in ("side", "type", "quantity", "reduce_only", "time_in_force")} == {
        "side": "sell",
        "type": "stop_limit",
        "quantity": "0.5",
        "reduce_only": True,
        "time_in_force": "gtc",
    }
    prices = [sent[name] for name in ("limit_price", "stop_price", "take_profit", "stop_loss")]
    assert prices == ["99.123456789012345678", "100", "0.00000001", "120.50"]


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
