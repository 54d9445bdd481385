"""The truth table of the `http` adapter: for everything that can go wrong, whether the order may have traded."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from decimal import Decimal

import pytest

from libs.common.domain.errors import (
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.lifecycle import OrderState
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from libs.common.wire.signing import sign_body, sign_request
from services.worker.brokers.http import LONGEST_ANSWER, HttpBroker
from tests.contract.orders import MARKET, not_ours, order, ours
from tests.contract.scripted_venue import (
    Script,
    ScriptedVenue,
    answers,
    drips,
    drops,
    hangs,
    resets,
    sends,
)
from tests.support.eventually import eventually
from tests.support.ports import free_port

pytestmark = pytest.mark.contract

GOOD = b'{"order_id":"v-1","status":"filled","filled_quantity":"1","average_price":"100"}'
OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def broker_at(url: str, *, timeout_ms: int = 2_000, connections: int = 4) -> AsyncIterator[HttpBroker]:
    broker = HttpBroker(url, Secret("secret"), SystemClock(), timeout_ms=timeout_ms, connections=connections)
    try:
        yield broker
    finally:
        await broker.aclose()


# fmt: off
PLACING: dict[str, tuple[Script, type[BrokerError]]] = {
    # No answer, or not all of it: it may have traded.
    "dropped before an answer": (drops, OrderOutcomeUnknown),
    "reset before an answer": (resets, OrderOutcomeUnknown),
    "cut within the head": (sends(b"HTTP/1.1 200 O", closes=True), OrderOutcomeUnknown),
    "cut within the body": (sends(OK + b"Content-Length: 900\r\n\r\n" + GOOD, closes=True), OrderOutcomeUnknown),
    "cut within a chunk": (
        sends(OK + b"Transfer-Encoding: chunked\r\n\r\n40\r\n" + GOOD[:9], closes=True), OrderOutcomeUnknown,
    ),
    "not HTTP": (sends(b"SSH-2.0-OpenSSH_9.6\r\n", closes=True), OrderOutcomeUnknown),
    "longer than any answer": (answers(200, b" " * (LONGEST_ANSWER + 1) + GOOD), OrderOutcomeUnknown),
    # A 2xx that does not promise an order.
    "200 without a body": (answers(200), OrderOutcomeUnknown),
    "200 with a page": (answers(200, b"<html>fine</html>"), OrderOutcomeUnknown),
    "200 with another kind of JSON": (answers(200, b"[]"), OrderOutcomeUnknown),
    "200 with bad UTF-8": (answers(200, b'{"order_id":"\xff","status":"filled"}'), OrderOutcomeUnknown),
    "200 without an order_id": (answers(200, b'{"status":"filled","filled_quantity":"1"}'), OrderOutcomeUnknown),
    "200 with an empty order_id": (answers(200, GOOD.replace(b"v-1", b"")), OrderOutcomeUnknown),
    "200 with a null order_id": (answers(200, GOOD.replace(b'"v-1"', b"null")), OrderOutcomeUnknown),
    "200 without a status": (answers(200, b'{"order_id":"v-1"}'), OrderOutcomeUnknown),
    "200 with an unknown status": (answers(200, GOOD.replace(b"filled\"", b"queued\"", 1)), OrderOutcomeUnknown),
    "200 about another order": (answers(200, GOOD[:-1] + b',"client_order_id":"x"}'), OrderOutcomeUnknown),
    "200 with NaN filled": (answers(200, GOOD.replace(b'"1"', b'"NaN"')), OrderOutcomeUnknown),
    "200 with less than nothing filled": (answers(200, GOOD.replace(b'"1"', b'"-1"')), OrderOutcomeUnknown),
    "202": (answers(202, GOOD), OrderOutcomeUnknown),
    "204": (answers(204), OrderOutcomeUnknown),
    # Statuses that do not tell.
    "409 without the order": (answers(409, b'{"code":"duplicate"}'), OrderOutcomeUnknown),
    "302": (answers(302, Location="/elsewhere"), OrderOutcomeUnknown),
    "303": (answers(303, Location="/orders/1"), OrderOutcomeUnknown),
    "402": (answers(402), OrderOutcomeUnknown),
    "408": (answers(408), OrderOutcomeUnknown),
    "418": (answers(418), OrderOutcomeUnknown),
    "500": (answers(500), OrderOutcomeUnknown),
    "502 of a proxy": (answers(502, b"<html>bad gateway</html>"), OrderOutcomeUnknown),
    "503 with Retry-After": (answers(503, Retry_After="1"), OrderOutcomeUnknown),
    "504": (answers(504), OrderOutcomeUnknown),
    # The venue's no.
    "400": (answers(400, b'{"code":"bad_symbol","detail":"no such symbol"}'), OrderRejected),
    "400 with a page": (answers(400, b"<html>bad request</html>"), OrderRejected),
    "422": (answers(422, b'{"code":"expired","detail":"too late"}'), OrderRejected),
    "200 rejected": (answers(200, b'{"order_id":"1","status":"rejected","detail":"no money"}'), OrderRejected),
    "409 rejected": (answers(409, b'{"order_id":"1","status":"REJECTED"}'), OrderRejected),
    # Certainly nothing happened.
    "429": (answers(429, Retry_After="3"), BrokerThrottled),
    "301": (answers(301, Location="https://elsewhere/orders"), BrokerUnavailable),
    "307": (answers(307, Location="https://elsewhere/orders"), BrokerUnavailable),
    "308": (answers(308, Location="https://elsewhere/orders"), BrokerUnavailable),
    "401": (answers(401), BrokerUnavailable),
    "403 of a firewall": (answers(403, b"<html>forbidden</html>"), BrokerUnavailable),
    "404": (answers(404), BrokerUnavailable),
    "405": (answers(405), BrokerUnavailable),
    "413": (answers(413), BrokerUnavailable),
}
# fmt: on


@pytest.mark.parametrize(("script", "expected"), PLACING.values(), ids=PLACING.keys())
async def test_a_failed_order_is_classed_by_whether_it_may_have_traded(
    script: Script, expected: type[BrokerError]
) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerError) as raised:
            await broker.place(order(), ours)
        assert type(raised.value) is expected, repr(raised.value)
        assert len(venue.bodies) == 1, "one call sends one order"


@pytest.mark.parametrize("script", [hangs, drips])
async def test_an_answer_that_does_not_end_in_time_is_unknown(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url, timeout_ms=150) as broker:
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(order(), ours)


@asynccontextmanager
async def _nobody() -> AsyncIterator[str]:
    yield f"http://127.0.0.1:{free_port()}"


@asynccontextmanager
async def _no_such_name() -> AsyncIterator[str]:
    yield "http://no-such-host.invalid"


@asynccontextmanager
async def _no_tls() -> AsyncIterator[str]:
    async def speak_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(speak_plainly, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def _never_accepting() -> AsyncIterator[str]:
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):  # fill its backlog: further connections are not answered
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("address", [_nobody, _no_such_name, _no_tls, _never_accepting])
async def test_without_a_connection_nothing_was_sent(
    address: Callable[[], AbstractAsyncContextManager[str]],
) -> None:
    async with address() as url, broker_at(url, timeout_ms=500) as broker:
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.place(order(), ours)
        with pytest.raises(LookUpUnavailable):
            await broker.find(order().client_order_id, MARKET)


async def test_an_order_that_waited_in_vain_for_a_connection_was_not_sent() -> None:
    async with ScriptedVenue(hangs) as venue, broker_at(venue.url, timeout_ms=200, connections=1) as broker:
        first = asyncio.create_task(broker.place(order(), ours))
        await eventually(lambda: venue.bodies)
        broker._timeout_s = 0.05  # the second gives up before the first lets go
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.place(order(), ours)
        with pytest.raises(OrderOutcomeUnknown):
            await first
        assert len(venue.bodies) == 1


async def test_a_lane_that_is_lost_before_the_call_sends_nothing() -> None:
    async with ScriptedVenue(drops) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerUnavailable):
            await broker.place(order(), not_ours)
        assert not venue.bodies


async def test_a_lane_that_is_lost_while_connecting_sends_no_order() -> None:
    is_ours = [True, False]
    async with ScriptedVenue(answers(200, GOOD)) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.place(order(), lambda: is_ours.pop(0))
        assert not venue.bodies
        assert not is_ours, "asked at the start and at the last moment"


async def test_cancelling_a_call_frees_its_connection() -> None:
    async with ScriptedVenue(hangs) as venue, broker_at(venue.url, connections=1) as broker:
        call = asyncio.create_task(broker.place(order(), ours))
        await eventually(lambda: venue.bodies)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        venue.script = answers(200, GOOD)
        assert (await broker.place(order(), ours)).state is OrderState.FILLED


async def test_a_connection_that_the_venue_closed_meanwhile_is_replaced() -> None:
    async with ScriptedVenue(
        sends(OK + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD, closes=True)
    ) as venue:
        async with broker_at(venue.url, connections=1) as broker:
            for _ in range(5):
                assert (await broker.place(order(), ours)).order_id == "v-1"
                for _ in range(10):  # let the end of the connection arrive
                    await asyncio.sleep(0)
        assert len(venue.bodies) == 5


async def test_a_refusal_carries_the_venues_code_and_words() -> None:
    async with (
        ScriptedVenue(answers(422, b'{"code":"no_money","detail":"buy less"}')) as venue,
        broker_at(venue.url) as broker,
    ):
        with pytest.raises(OrderRejected) as raised:
            await broker.place(order(), ours)
    assert (raised.value.code, raised.value.detail) == ("no_money", "buy less")


@pytest.mark.parametrize(
    ("header", "expected_ms"), [("3", 3_000), ("0", 0), ("soon", None), ("-1", None), ("9" * 40, 86_400_000)]
)
async def test_a_throttle_says_when_to_come_back(header: str, expected_ms: int | None) -> None:
    async with ScriptedVenue(answers(429, Retry_After=header)) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerThrottled) as raised:
            await broker.place(order(), ours)
    assert raised.value.retry_after_ms == expected_ms


async def test_an_order_that_exists_is_adopted() -> None:
    async with ScriptedVenue(answers(409, GOOD)) as venue, broker_at(venue.url) as broker:
        report = await broker.place(order(), ours)
    assert (report.order_id, report.state, report.filled_quantity) == ("v-1", OrderState.FILLED, Decimal(1))


LOOK_UPS: dict[str, Script] = {
    "dropped": drops,
    "200 without a body": answers(200),
    "200 with a page": answers(200, b"<html></html>"),
    "200 without an order_id": answers(200, b'{"status":"filled"}'),
    "200 about another order": answers(200, GOOD[:-1] + b',"client_order_id":"x"}'),
    "301": answers(301, Location="/"),
    "401": answers(401),
    "410": answers(410),
    "429": answers(429),
    "500": answers(500),
    "503": answers(503),
}


@pytest.mark.parametrize("script", LOOK_UPS.values(), ids=LOOK_UPS.keys())
async def test_a_look_up_that_was_not_answered_says_nothing(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        with pytest.raises(LookUpUnavailable):
            await broker.find(order().client_order_id, MARKET)


@pytest.mark.parametrize(
    "body", [b"", b"  ", b'{"code":"not_found"}', b"null", b"<html>no such order</html>"]
)
async def test_a_venues_own_404_means_that_it_does_not_know_the_order(body: bytes) -> None:
    async with ScriptedVenue(answers(404, body)) as venue, broker_at(venue.url) as broker:
        assert await broker.find(order().client_order_id, MARKET) is None


@pytest.mark.parametrize("answer", [(404, b""), (404, b'{"code":"not_found"}'), (200, GOOD)])
async def test_a_look_up_that_anybody_could_have_answered_is_not_believed_where_answers_are_verified(
    answer: tuple[int, bytes],
) -> None:
    status, body = answer
    async with ScriptedVenue(answers(status, body)) as venue:
        broker = HttpBroker(
            venue.url, Secret("secret"), SystemClock(), timeout_ms=2_000, connections=4, verify_answers=True
        )
        with pytest.raises(LookUpUnavailable, match="signature"):
            await broker.find(order().client_order_id, MARKET)
        venue.script = answers(status, body, X_Signature=sign_body("secret", body))
        found = await broker.find(order().client_order_id, MARKET)
        assert (found is None) == (status == 404)
        await broker.aclose()


@pytest.mark.parametrize("status", [200, 401, 404, 409, 422, 429, 500])
async def test_an_order_whose_answer_is_not_signed_is_unknown_whatever_it_says(status: int) -> None:
    async with ScriptedVenue(answers(status, GOOD)) as venue:
        broker = HttpBroker(
            venue.url, Secret("secret"), SystemClock(), timeout_ms=2_000, connections=4, verify_answers=True
        )
        with pytest.raises(OrderOutcomeUnknown, match="signature"):
            await broker.place(order(), ours)
        await broker.aclose()


@pytest.mark.parametrize(
    "script",
    [
        answers(404),
        answers(200, b'{"quantity":null}'),
        answers(200, b'{"quantity":"NaN"}'),
        answers(200, b"7"),
    ],
)
async def test_a_position_that_was_not_told_is_not_taken_for_zero(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        with pytest.raises(LookUpUnavailable):
            await broker.position(MARKET)


async def test_a_position_may_be_a_number_too_and_stays_exact() -> None:
    script = answers(200, b'{"quantity":-123456789.123456789}')
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        assert await broker.position(MARKET) == Decimal("-123456789.123456789")


async def test_a_price_that_the_venue_does_not_offer_is_none() -> None:
    async with ScriptedVenue(answers(404)) as venue, broker_at(venue.url) as broker:
        assert await broker.price(MARKET) is None
        venue.script = answers(200, b'{"price":"101.5"}')
        assert await broker.price(MARKET) == Decimal("101.5")


async def test_a_question_signs_the_path_as_it_is_sent() -> None:
    async with (
        ScriptedVenue(answers(200, b'{"quantity":"0"}')) as venue,
        broker_at(f"{venue.url}/api/v1") as broker,
    ):
        await broker.position(MARKET)
    lines = venue.heads[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)
    assert lines[0] == "GET /api/v1/positions/BTC%2FUSDT HTTP/1.1"
    expected = sign_request("secret", "GET", "/api/v1/positions/BTC%2FUSDT", int(headers["X-Timestamp"]))
    assert headers["X-Signature"] == expected
