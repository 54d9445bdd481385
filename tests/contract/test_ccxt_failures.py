"""What may go wrong between us and an exchange, and what each of it says about the order."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from libs.common.domain.errors import (
    BrokerNotReady,
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import Market
from libs.common.runtime.account_settings import CcxtAccount
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from services.worker.brokers.ccxt_broker import CcxtBroker
from services.worker.brokers.ccxt_errors import ClockRefused, CredentialsRefused
from services.worker.brokers.ccxt_exchange import Credentials
from tests.contract.ccxt_answers import EXCHANGES, SECRET, ExchangeAnswers
from tests.contract.ccxt_server import Answer, Drop, Hang, Reply, Server, Truncate
from tests.contract.test_ccxt_exchanges import ID, connected, request, taking
from tests.support.eventually import eventually
from tests.support.ports import free_port

BINANCE, BYBIT = EXCHANGES[0], EXCHANGES[2]
HTML = "<html><body>Access denied</body></html>"

UNKNOWN: dict[str, Answer] = {
    "a hang": Hang(),
    "a dropped connection": Drop(),
    "a truncated answer": Truncate(),
    "junk": Reply("junk"),
    "nothing": Reply(""),
    "an empty object": Reply({}),
    "a list": Reply([]),
    "a page of a proxy": Reply(HTML, 502),
    "a 500": Reply(HTML, 500),
    "a 504": Reply("", 504),
    "a 408": Reply("", 408),
    "a 302": Reply(HTML, 302, {"Location": "/elsewhere"}),
}

NOT_EXECUTED: dict[str, Answer] = {
    "a 403 of a firewall": Reply(HTML, 403),
    "a 400 of a firewall": Reply(HTML, 400),
    "a 404": Reply(HTML, 404),
    "a 301": Reply(HTML, 301, {"Location": "/elsewhere"}),
}


def binance(code: int, message: str, status: int = 400) -> Reply:
    return Reply({"code": code, "msg": message}, status)


def bybit(code: int, message: str) -> Reply:
    return Reply({"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": 1})


@pytest.mark.parametrize("exchange", [BINANCE, BYBIT], ids=lambda one: one.name)
@pytest.mark.parametrize("what", UNKNOWN)
async def test_these_say_nothing_about_the_order(exchange: ExchangeAnswers, what: str) -> None:
    # Short only where it is waited for: on a busy machine another question may take longer.
    timeout_ms = 1_000 if what == "a hang" else 10_000
    async with connected(exchange, {exchange.order: UNKNOWN[what]}, timeout_ms=timeout_ms) as (
        broker,
        server,
    ):
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(request(exchange), lambda: True)
        assert len(server.of(exchange.order)) == 1
        assert all(asked.path != "/elsewhere" for asked in server.asked)


@pytest.mark.parametrize("exchange", [BINANCE, BYBIT], ids=lambda one: one.name)
@pytest.mark.parametrize("what", NOT_EXECUTED)
async def test_these_come_from_a_door_before_the_exchange(exchange: ExchangeAnswers, what: str) -> None:
    async with connected(exchange, {exchange.order: NOT_EXECUTED[what]}) as (broker, server):
        with pytest.raises(BrokerUnavailable):
            await broker.place(request(exchange), lambda: True)
        assert len(server.of(exchange.order)) == 1


@pytest.mark.parametrize(
    ("exchange", "status"),
    [(BINANCE, 429), (BINANCE, 418), (BYBIT, 429)],
    ids=lambda value: str(getattr(value, "name", value)),
)
async def test_too_many_requests_says_when_to_come_back(exchange: ExchangeAnswers, status: int) -> None:
    answer = Reply(
        {"code": -1003, "retCode": 10006, "msg": "Too many requests"}, status, {"Retry-After": "7"}
    )
    async with connected(exchange, {exchange.order: answer}) as (broker, _):
        with pytest.raises(BrokerThrottled) as caught:
            await broker.place(request(exchange), lambda: True)
        assert caught.value.retry_after_ms == 7_000


@pytest.mark.parametrize(
    ("exchange", "answer", "meaning"),
    [
        (BINANCE, binance(-1021, "Timestamp for this request is outside of the recvWindow."), ClockRefused),
        (BINANCE, binance(-1007, "Timeout waiting for response from backend server."), OrderOutcomeUnknown),
        (BINANCE, binance(-1006, "An unexpected response was received."), OrderOutcomeUnknown),
        (
            BINANCE,
            binance(-1001, "Internal error; unable to process your request.", 503),
            OrderOutcomeUnknown,
        ),
        (BINANCE, binance(-2015, "Invalid API-key, IP, or permissions for action.", 401), CredentialsRefused),
        (BINANCE, binance(-2014, "API-key format invalid.", 401), CredentialsRefused),
        (BINANCE, binance(-1022, "Signature for this request is not valid."), CredentialsRefused),
        (BINANCE, binance(-2010, "Account has insufficient balance for requested action."), OrderRejected),
        (BINANCE, binance(-1013, "Filter failure: NOTIONAL"), OrderRejected),
        (BINANCE, binance(-1121, "Invalid symbol."), OrderRejected),
        (BINANCE, binance(-9999, "Something that nobody has heard of."), OrderOutcomeUnknown),
        (BYBIT, bybit(10002, "invalid request, please check your server timestamp"), ClockRefused),
        (BYBIT, bybit(170146, "Order creation timeout"), OrderOutcomeUnknown),
        (BYBIT, bybit(170007, "Timeout waiting for response from backend server."), OrderOutcomeUnknown),
        (BYBIT, bybit(10016, "System error. Please try again later."), OrderOutcomeUnknown),
        (BYBIT, bybit(10003, "API key is invalid."), CredentialsRefused),
        (BYBIT, bybit(10005, "Permission denied"), CredentialsRefused),
        (BYBIT, bybit(10006, "Too many visits!"), BrokerThrottled),
        (BYBIT, bybit(170131, "Balance insufficient."), OrderRejected),
        (BYBIT, bybit(170140, "Order value exceeded lower limit."), OrderRejected),
        (BYBIT, bybit(99999, "Something that nobody has heard of."), OrderOutcomeUnknown),
    ],
    ids=lambda value: str(getattr(value, "content", getattr(value, "name", value)))[:60],
)
async def test_codes_mean_what_the_exchange_says(
    exchange: ExchangeAnswers, answer: Reply, meaning: type[Exception]
) -> None:
    async with connected(exchange, {exchange.order: answer}) as (broker, _):
        with pytest.raises(meaning) as caught:
            await broker.place(request(exchange), lambda: True)
        assert type(caught.value) is meaning


async def test_a_key_that_was_good_before_is_refused_all_the_same() -> None:
    refusal = binance(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    async with connected(BINANCE, taking(BINANCE)) as (broker, server):
        await broker.place(request(BINANCE), lambda: True)
        server.routes[BINANCE.order] = refusal
        with pytest.raises(CredentialsRefused):
            await broker.place(request(BINANCE), lambda: True)


@asynccontextmanager
async def prepared(exchange: ExchangeAnswers) -> AsyncIterator[tuple[CcxtBroker, Server]]:
    async with connected(exchange, taking(exchange)) as (broker, server):
        yield broker, server


async def test_a_refused_connection_is_told_from_a_dropped_one() -> None:
    async with prepared(BINANCE) as (broker, server):
        server.hang_up()
        broker._exchange.urls["api"]["private"] = f"http://127.0.0.1:{free_port()}/api/v3"
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.place(request(BINANCE), lambda: True)


async def test_a_name_that_does_not_resolve_sent_nothing() -> None:
    async with prepared(BINANCE) as (broker, _):
        broker._exchange.urls["api"]["private"] = "http://exchange.invalid/api/v3"
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.place(request(BINANCE), lambda: True)


async def test_a_server_that_does_not_accept_sent_nothing() -> None:
    async with connected(BINANCE, taking(BINANCE), timeout_ms=300) as (broker, _):
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(0)
            port = listening.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port)):  # the queue is full now
                broker._exchange.urls["api"]["private"] = f"http://127.0.0.1:{port}/api/v3"
                with pytest.raises(BrokerUnavailable, match="nothing was sent"):
                    await broker.place(request(BINANCE), lambda: True)


async def test_a_lane_that_is_no_longer_ours_sends_nothing() -> None:
    async with prepared(BINANCE) as (broker, server):
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.place(request(BINANCE), lambda: False)
        assert server.of(BINANCE.order) == []


async def test_one_that_is_lost_while_the_connection_is_made_sends_nothing() -> None:
    answers = iter([True, False])
    async with prepared(BINANCE) as (broker, server):
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.place(request(BINANCE), lambda: next(answers))
        assert server.of(BINANCE.order) == []


async def test_an_order_whose_time_is_over_is_not_sent() -> None:
    async with prepared(BINANCE) as (broker, server):
        with pytest.raises(OrderRejected, match="its time is over") as caught:
            await broker.place(request(BINANCE, expires_in_ms=-1), lambda: True)
        assert caught.value.code == "expired"
        assert server.of(BINANCE.order) == []


async def test_no_order_leaves_before_the_markets_are_loaded() -> None:
    account = CcxtAccount(exchange="binance", api_key="K", secret="S", url=f"http://127.0.0.1:{free_port()}")
    broker = CcxtBroker(account, Credentials(Secret("k"), Secret(SECRET)), SystemClock())
    try:
        with pytest.raises(BrokerNotReady, match="not loaded yet"):
            await broker.place(request(BINANCE), lambda: True)
        with pytest.raises(BrokerNotReady, match="not loaded yet"):
            await broker.cancel_open(Market("BTC/USDT"), ["1"], lambda: True)
        with pytest.raises(LookUpUnavailable, match="not loaded yet"):
            await broker.find(ID, Market("BTC/USDT"))
    finally:
        await broker.aclose()


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one.name}-{one.market_type}")
@pytest.mark.parametrize(
    "answer", [Reply(HTML, 403), Reply("junk"), Drop(), Reply({"code": -2015}, 401)], ids=str
)
async def test_no_error_holds_a_secret_or_a_signature(exchange: ExchangeAnswers, answer: Answer) -> None:
    routes = {exchange.order: answer, **dict.fromkeys(exchange.missing, answer)}
    async with connected(exchange, routes) as (broker, server):
        said = repr(broker)
        doing: Callable[[], Awaitable[object]]
        for doing in (
            lambda: broker.place(request(exchange), lambda: True),
            lambda: broker.find(ID, Market(exchange.symbol)),
        ):
            with pytest.raises(
                (BrokerUnavailable, OrderOutcomeUnknown, OrderRejected, LookUpUnavailable)
            ) as caught:
                await doing()
            said += str(caught.value)
        for secret in ("key-of-a-test", SECRET, "signature="):
            assert secret not in said
        assert server.asked


async def test_ccxt_leaves_the_decimal_context_alone() -> None:
    import decimal

    before = (decimal.getcontext().rounding, decimal.getcontext().traps[decimal.Underflow])
    async with prepared(BINANCE) as (broker, _):
        await broker.place(request(BINANCE, quantity=Decimal("1.23456")), lambda: True)
        assert (decimal.getcontext().rounding, decimal.getcontext().traps[decimal.Underflow]) == before


async def test_a_clock_that_is_refused_is_compared_again() -> None:
    refusal = binance(-1021, "Timestamp for this request is outside of the recvWindow.")
    async with connected(BINANCE, {BINANCE.order: refusal}) as (broker, server):
        await asyncio.sleep(0)
        asked = len(server.of("GET /api/v3/time"))
        with pytest.raises(ClockRefused):
            await broker.place(request(BINANCE), lambda: True)
        await eventually(lambda: len(server.of("GET /api/v3/time")) > asked)
