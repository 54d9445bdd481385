"""The list of markets that a venue behind the `http` adapter may give."""

import orjson
import pytest

from libs.common.domain.errors import LookUpUnavailable
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from libs.common.wire.signing import sign_body, sign_request
from services.worker.brokers.http import LONGEST_ANSWER, LONGEST_LIST, HttpBroker
from tests.contract.scripted_venue import Script, ScriptedVenue, answers, drops, hangs

pytestmark = pytest.mark.contract


async def listed(script: Script, *, timeout_ms: int = 2_000, verify_answers: bool = False) -> object:
    """Return what the adapter makes of an answer."""
    async with ScriptedVenue(script) as venue:
        broker = HttpBroker(
            f"{venue.url}/desk",
            Secret("secret"),
            SystemClock(),
            timeout_ms=timeout_ms,
            connections=1,
            verify_answers=verify_answers,
        )
        try:
            return await broker.markets()
        finally:
            await broker.aclose()


def body(*names: str) -> bytes:
    return orjson.dumps({"symbols": names})


async def test_the_names_are_those_of_the_venue_in_its_order() -> None:
    assert await listed(answers(200, body("ETH/USDT", "BTC/USDT:USDT"))) == ("ETH/USDT", "BTC/USDT:USDT")


async def test_a_venue_may_list_nothing() -> None:
    assert await listed(answers(200, body())) == ()


async def test_names_that_no_entry_can_hold_are_left_out_and_others_given_once() -> None:
    names = ("BTC", "", "a b", "x" * 65, "{BTC}", "ÄÖ", "BTC", "BTC|USD")
    assert await listed(answers(200, body(*names))) == ("BTC",)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_venue_without_a_list_has_none(status: int) -> None:
    assert await listed(answers(status, b"<html>not here</html>")) is None


@pytest.mark.parametrize(
    "script",
    [
        answers(500),
        answers(503, b"busy"),
        answers(401),
        answers(204),
        answers(301, location="/elsewhere"),
        answers(200),
        answers(200, b"[]"),
        answers(200, b'["BTC"]'),
        answers(200, b'{"symbols": "BTC"}'),
        answers(200, b'{"symbols": [1]}'),
        answers(200, b'{"symbols": ["BTC"'),
        answers(200, b'{"symbols": ["\xff"]}'),
        drops,
    ],
)
async def test_anything_else_is_no_answer(script: Script) -> None:
    with pytest.raises(LookUpUnavailable):
        await listed(script)


async def test_a_venue_that_hangs_is_waited_for_no_longer_than_for_an_order() -> None:
    with pytest.raises(LookUpUnavailable, match="TimeoutError"):
        await listed(hangs, timeout_ms=50)


async def test_a_list_may_be_longer_than_other_answers_but_not_endless() -> None:
    names = [f"MARKET{number}/USDT" for number in range(5_000)]
    long = body(*names)
    assert LONGEST_ANSWER < len(long) < LONGEST_LIST
    assert await listed(answers(200, long)) == tuple(names)
    with pytest.raises(LookUpUnavailable, match=str(LONGEST_LIST)):
        await listed(answers(200, long.ljust(LONGEST_LIST + 1)))


async def test_the_request_is_signed_like_every_other() -> None:
    async with ScriptedVenue(answers(200, body("BTC"))) as venue:
        broker = HttpBroker(
            f"{venue.url}/desk", Secret("secret"), SystemClock(), timeout_ms=2_000, connections=1
        )
        await broker.markets()
        await broker.aclose()
    first, *lines = venue.heads[0].decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines if line)
    assert first == "GET /desk/instruments HTTP/1.1"
    signature = sign_request("secret", "GET", "/desk/instruments", int(headers["x-timestamp"]))
    assert headers["x-signature"] == signature


async def test_where_answers_are_verified_an_unsigned_list_is_none() -> None:
    good = body("BTC")
    signed = answers(200, good, X_Signature=sign_body("secret", good))
    assert await listed(signed, verify_answers=True) == ("BTC",)
    with pytest.raises(LookUpUnavailable, match="signature"):
        await listed(answers(200, good), verify_answers=True)
