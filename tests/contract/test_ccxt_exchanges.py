"""Each named exchange, against a server that answers as it does: ids on the wire, look-ups, refusals, exact numbers."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from libs.common.domain.errors import LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market, client_order_id
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderRequest, OrderType, Side
from libs.common.runtime.account_settings import CcxtAccount
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.ccxt_exchange import Credentials
from tests.contract.ccxt_answers import EXCHANGES, ORDER_ID, SECRET, ExchangeAnswers
from tests.contract.ccxt_server import Answering, Reply, Server, serve

ID = client_order_id(AccountName("desk"), AlertId("0" * 26), 0)
ALL = pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one.name}-{one.market_type}")
DIGITS = Decimal("1.234567890123456789")


@asynccontextmanager
async def connected(
    exchange: ExchangeAnswers, routes: Mapping[str, Answering], timeout_ms: int = 5_000
) -> AsyncIterator[tuple[CcxtBroker, Server]]:
    async with serve({**exchange.start, **routes}) as server:
        account = CcxtAccount(
            exchange=exchange.name,
            market_type=exchange.market_type,
            api_key="K",
            secret="S",
            url=server.url,
            timeout_ms=timeout_ms,  # type: ignore[arg-type]
        )
        broker = CcxtBroker(
            account, Credentials(Secret("key-of-a-test"), Secret(SECRET), Secret("pass")), SystemClock()
        )
        try:
            await broker.ready()
            yield broker, server
        finally:
            await broker.aclose()


def request(
    exchange: ExchangeAnswers,
    *,
    quantity: Decimal = Decimal("1.5"),
    expires_in_ms: int = 5_000,
    **plan: object,
) -> OrderRequest:
    values: dict[str, object] = {"side": Side.BUY, "quantity": quantity, **plan}
    if not exchange.buys_at_market and "type" not in plan:
        values |= {"type": OrderType.LIMIT, "limit_price": Decimal(100)}
    return OrderRequest(
        client_order_id=ID,
        account=AccountName("desk"),
        symbol=Market(exchange.symbol),
        alert_id=AlertId("0" * 26),
        strategy=None,
        plan=OrderPlan(**values),  # type: ignore[arg-type]
        expires_at_ms=time.time_ns() // 1_000_000 + expires_in_ms,
    )


def taking(exchange: ExchangeAnswers) -> dict[str, Answering]:
    return {exchange.order: lambda asked: Reply(exchange.accepted(asked.values()[exchange.id_key]))}


@ALL
async def test_our_id_leaves_in_the_bytes_of_the_order(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, taking(exchange)) as (broker, server):
        report = await broker.place(request(exchange), lambda: True)
        (asked,) = server.of(exchange.order)
        assert report.order_id == ORDER_ID
        assert asked.values()[exchange.id_key] == ID
        assert asked.raw.count(ID.encode()) == 1


@ALL
async def test_an_order_is_one_request_and_the_lane_is_asked_for_before_it(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, taking(exchange)) as (broker, server):
        before = len(server.asked)
        await broker.place(request(exchange), lambda: True)
        assert [f"{one.method} {one.path}" for one in server.asked[before:]] == [exchange.order]


@ALL
async def test_the_look_up_finds_the_order(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, exchange.look_up(ID)) as (broker, _):
        report = await broker.find(ID, Market(exchange.symbol))
        assert report is not None
        assert (report.order_id, report.state) == (ORDER_ID, OrderState.FILLED)
        assert (report.filled_quantity, report.average_price) == (Decimal("1.5"), Decimal(100))


@ALL
async def test_what_the_exchange_does_not_know_is_not_found(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, exchange.missing) as (broker, _):
        assert await broker.find(ID, Market(exchange.symbol)) is None


@ALL
@pytest.mark.parametrize("junk", [{}, [], "<html>busy</html>", "", {"code": "0"}, {"result": {}}], ids=str)
async def test_junk_is_not_taken_for_an_order_that_is_not_there(
    exchange: ExchangeAnswers, junk: object
) -> None:
    async with connected(exchange, dict.fromkeys(exchange.missing, Reply(junk))) as (broker, _):
        with pytest.raises(LookUpUnavailable):
            await broker.find(ID, Market(exchange.symbol))


@ALL
async def test_an_order_that_the_exchange_has_already_is_looked_up_and_adopted(
    exchange: ExchangeAnswers,
) -> None:
    routes = {exchange.order: exchange.duplicate, **exchange.look_up(ID)}
    async with connected(exchange, routes) as (broker, _):
        assert (await broker.place(request(exchange), lambda: True)).order_id == ORDER_ID


@ALL
async def test_one_that_it_has_but_does_not_find_is_unknown(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, {exchange.order: exchange.duplicate, **exchange.missing}) as (broker, _):
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(request(exchange), lambda: True)


@ALL
async def test_a_lack_of_money_is_a_refusal_with_the_exchange_s_code(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, {exchange.order: exchange.refused}) as (broker, _):
        with pytest.raises(OrderRejected) as caught:
            await broker.place(request(exchange), lambda: True)
        assert caught.value.code == exchange.refused_code


@ALL
async def test_no_digit_of_a_quantity_is_lost(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, taking(exchange)) as (broker, server):
        await broker.place(request(exchange, quantity=DIGITS), lambda: True)
        (asked,) = server.of(exchange.order)
        assert str(exchange.quantity(asked.values())) == str(DIGITS)
        assert str(DIGITS).encode() in asked.raw


@pytest.mark.parametrize(
    "exchange", [one for one in EXCHANGES if one.expiry], ids=lambda one: f"{one.name}-{one.market_type}"
)
async def test_the_exchange_is_told_when_the_order_must_not_be_executed_any_more(
    exchange: ExchangeAnswers,
) -> None:
    async with connected(exchange, taking(exchange)) as (broker, server):
        sent = request(exchange, expires_in_ms=4_000)
        await broker.place(sent, lambda: True)
        (asked,) = server.of(exchange.order)
        assert exchange.expiry is not None
        # Never later; earlier by what the exchange's answer about its time took.
        assert 0 <= sent.expires_at_ms - exchange.expiry(asked) < 1_500
        assert broker.capabilities.honours_expiry


@ALL
async def test_it_knows_the_market_s_steps_and_the_list_of_markets(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, {}) as (broker, _):
        found = await broker.instrument(Market(exchange.symbol))
        assert found is not None
        assert (found.quantity_step, found.price_step) == (Decimal("1e-18"), Decimal("0.01"))
        assert await broker.markets() == (exchange.symbol,)


@ALL
async def test_a_request_that_would_not_carry_our_id_is_never_sent(exchange: ExchangeAnswers) -> None:
    async with connected(exchange, taking(exchange)) as (broker, server):
        other = ClientOrderId("a" * 26)

        async def create_order(*_: object) -> object:
            arguments = (exchange.symbol, "limit", "buy", "1", "100", {broker._venue.id_parameter: other})
            return await type(broker._exchange).create_order(broker._exchange, *arguments)

        broker._exchange.create_order = create_order
        with pytest.raises(OrderRejected, match="no client order id"):
            await broker.place(request(exchange), lambda: True)
        assert server.of(exchange.order) == []
