"""Cancelling through the `http` adapter: only what is named, and for every failure whether it may have taken effect."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl, urlsplit

import pytest

from libs.common.domain.errors import (
    BrokerError,
    BrokerThrottled,
    BrokerUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from libs.common.wire.signing import sign_body, sign_request
from services.worker.brokers.http import CANCELLED_AT_ONCE, LONGEST_ANSWER, HttpBroker
from tests.contract.orders import MARKET, not_ours, ours
from tests.contract.scripted_venue import Script, ScriptedVenue, answers, drips, drops, hangs, resets, sends
from tests.support.eventually import eventually
from tests.support.ports import free_port

pytestmark = pytest.mark.contract

DONE = answers(200, b"[]")


@asynccontextmanager
async def broker_at(
    url: str, *, timeout_ms: int = 2_000, verify_answers: bool = False
) -> AsyncIterator[HttpBroker]:
    broker = HttpBroker(
        url,
        Secret("secret"),
        SystemClock(),
        timeout_ms=timeout_ms,
        connections=1,
        verify_answers=verify_answers,
    )
    try:
        yield broker
    finally:
        await broker.aclose()


def asked_for(venue: ScriptedVenue) -> list[list[tuple[str, str]]]:
    """Return the query of each request, in order."""
    targets = [head.decode().split(" ")[1] for head in venue.heads]
    return [parse_qsl(urlsplit(target).query) for target in targets]


async def test_the_ids_are_in_the_query_and_the_address_is_signed_as_it_is_sent() -> None:
    async with ScriptedVenue(DONE) as venue, broker_at(f"{venue.url}/api/v1") as broker:
        await broker.cancel_open(MARKET, ["v-1", "a&b=c d/é"], ours)
    first, *lines = venue.heads[0].decode().split("\r\n")
    method, target, _ = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert method == "DELETE"
    assert target == "/api/v1/orders?symbol=BTC%2FUSDT&order_id=v-1&order_id=a%26b%3Dc%20d%2F%C3%A9"
    assert asked_for(venue) == [[("symbol", MARKET), ("order_id", "v-1"), ("order_id", "a&b=c d/é")]]
    signature = sign_request("secret", "DELETE", target, int(headers["X-Timestamp"]))
    assert headers["X-Signature"] == signature
    assert not venue.bodies


async def test_without_ids_nothing_is_sent_for_that_could_mean_all() -> None:
    async with ScriptedVenue(DONE) as venue, broker_at(venue.url) as broker:
        await broker.cancel_open(MARKET, [], ours)
        assert not venue.heads


async def test_many_ids_go_in_several_requests_each_once() -> None:
    order_ids = [f"00000000-0000-0000-0000-{number:012d}" for number in range(CANCELLED_AT_ONCE * 2 + 1)]
    async with ScriptedVenue(DONE) as venue, broker_at(venue.url) as broker:
        await broker.cancel_open(MARKET, order_ids, ours)
    queries = asked_for(venue)
    assert [len(query) - 1 for query in queries] == [CANCELLED_AT_ONCE, CANCELLED_AT_ONCE, 1]
    assert [value for query in queries for name, value in query if name == "order_id"] == order_ids
    assert all(len(head) < 8_192 for head in venue.heads)


# fmt: off
CANCELLING: dict[str, tuple[Script, type[BrokerError]]] = {
    "dropped before an answer": (drops, OrderOutcomeUnknown),
    "reset before an answer": (resets, OrderOutcomeUnknown),
    "cut within the body": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n[]", closes=True), OrderOutcomeUnknown,
    ),
    "longer than any answer": (answers(200, b" " * (LONGEST_ANSWER + 1)), OrderOutcomeUnknown),
    "202": (answers(202), OrderOutcomeUnknown),
    "500": (answers(500), OrderOutcomeUnknown),
    "503": (answers(503), OrderOutcomeUnknown),
    "400": (answers(400), OrderRejected),
    "404": (answers(404), OrderRejected),
    "405": (answers(405), OrderRejected),
    "422": (answers(422), OrderRejected),
    "501": (answers(501), OrderRejected),
    "429": (answers(429, Retry_After="3"), BrokerThrottled),
    "301": (answers(301, Location="/"), BrokerUnavailable),
    "401": (answers(401), BrokerUnavailable),
}
# fmt: on


@pytest.mark.parametrize(("script", "expected"), CANCELLING.values(), ids=CANCELLING.keys())
async def test_a_failed_cancellation_is_classed_by_whether_it_may_have_taken_effect(
    script: Script, expected: type[BrokerError]
) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerError) as raised:
            await broker.cancel_open(MARKET, ["v-1"], ours)
        assert type(raised.value) is expected, repr(raised.value)
        assert len(venue.heads) == 1


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_venue_that_cancels_nothing_says_not_supported(status: int) -> None:
    async with ScriptedVenue(answers(status)) as venue, broker_at(venue.url) as broker:
        with pytest.raises(OrderRejected) as raised:
            await broker.cancel_open(MARKET, ["v-1"], ours)
    assert raised.value.code == "not_supported"


@pytest.mark.parametrize("script", [hangs, drips])
async def test_an_answer_that_does_not_end_in_time_is_unknown(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url, timeout_ms=150) as broker:
        with pytest.raises(OrderOutcomeUnknown):
            await broker.cancel_open(MARKET, ["v-1"], ours)


async def test_without_a_connection_nothing_was_cancelled() -> None:
    async with broker_at(f"http://127.0.0.1:{free_port()}") as broker:
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.cancel_open(MARKET, ["v-1"], ours)


async def test_a_cancellation_that_waited_in_vain_for_a_connection_was_not_sent() -> None:
    async with ScriptedVenue(hangs) as venue, broker_at(venue.url, timeout_ms=200) as broker:
        first = asyncio.create_task(broker.cancel_open(MARKET, ["v-1"], ours))
        await eventually(lambda: venue.heads)
        broker._timeout_s = 0.05  # the second gives up before the first lets go
        with pytest.raises(BrokerUnavailable, match="nothing was sent"):
            await broker.cancel_open(MARKET, ["v-2"], ours)
        with pytest.raises(OrderOutcomeUnknown):
            await first
        assert len(venue.heads) == 1


async def test_a_lane_that_is_lost_before_the_call_or_while_connecting_cancels_nothing() -> None:
    async with ScriptedVenue(DONE) as venue, broker_at(venue.url) as broker:
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.cancel_open(MARKET, ["v-1"], not_ours)
        is_ours = [True, False]
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.cancel_open(MARKET, ["v-1"], lambda: is_ours.pop(0))
        assert not is_ours, "asked at the start and at the last moment"
        await broker.cancel_open(MARKET, ["v-2"], ours)
        assert [query[1] for query in asked_for(venue)] == [("order_id", "v-2")]


async def test_once_some_are_cancelled_no_failure_says_that_none_were() -> None:
    async def first_only(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await (DONE if len(venue.heads) == 1 else answers(429))(reader, writer)

    order_ids = [str(number) for number in range(CANCELLED_AT_ONCE + 1)]
    async with ScriptedVenue(first_only) as venue, broker_at(venue.url) as broker:
        with pytest.raises(OrderOutcomeUnknown, match=f"{CANCELLED_AT_ONCE} orders were cancelled"):
            await broker.cancel_open(MARKET, order_ids, ours)


async def test_an_answer_that_is_not_signed_is_unknown_where_answers_are_verified() -> None:
    async with ScriptedVenue(DONE) as venue, broker_at(venue.url, verify_answers=True) as broker:
        with pytest.raises(OrderOutcomeUnknown, match="signature"):
            await broker.cancel_open(MARKET, ["v-1"], ours)
        venue.script = answers(200, b"[]", X_Signature=sign_body("secret", b"[]"))
        await broker.cancel_open(MARKET, ["v-1"], ours)
