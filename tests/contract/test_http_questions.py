"""What the `http` adapter asks about the account and its markets, and how: on the wire."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import Market
from libs.common.domain.venue import Balance, Instrument
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from libs.common.wire.signing import sign_body, sign_request
from services.worker.brokers.http import LONGEST_ANSWER, LONGEST_LIST, HttpBroker
from tests.contract.scripted_venue import Script, ScriptedVenue, answers, drips, drops, hangs, resets

pytestmark = pytest.mark.contract

ODD = Market("ÄÖ/%2F? #&=+")
ODD_PATH = "%C3%84%C3%96%2F%252F%3F%20%23%26%3D%2B"

Question = Callable[[HttpBroker], Awaitable[object]]

# fmt: off
QUESTIONS: dict[str, tuple[Question, str, bytes, object]] = {
    "position": (lambda broker: broker.position(ODD), f"/positions/{ODD_PATH}", b'{"quantity":"-2"}', Decimal(-2)),
    "price": (lambda broker: broker.price(ODD), f"/prices/{ODD_PATH}", b'{"price":100.5}', Decimal("100.5")),
    "account": (
        lambda broker: broker.account(), "/account", b'{"equity":"7","currency":"USD"}',
        Balance(equity=Decimal(7), currency="USD"),
    ),
    "instrument": (
        lambda broker: broker.instrument(ODD), f"/instruments/{ODD_PATH}", b'{"price_step":"0.1"}',
        Instrument(price_step=Decimal("0.1")),
    ),
    "open orders": (lambda broker: broker.open_orders(), "/orders", b"[]", ()),
    "open orders of one": (lambda broker: broker.open_orders(ODD), f"/orders?symbol={ODD_PATH}", b"[]", ()),
    "markets": (lambda broker: broker.markets(), "/instruments", b'{"symbols":["BTC"]}', ("BTC",)),
}
# fmt: on


async def put(question: Question, script: Script, *, timeout_ms: int = 2_000, verify: bool = False) -> object:
    """Return what the adapter makes of an answer to a question."""
    async with ScriptedVenue(script) as venue:
        broker = HttpBroker(
            venue.url,
            Secret("secret"),
            SystemClock(),
            timeout_ms=timeout_ms,
            connections=1,
            verify_answers=verify,
        )
        try:
            return await question(broker)
        finally:
            await broker.aclose()


@pytest.mark.parametrize("name", QUESTIONS)
async def test_a_question_is_a_signed_get_of_its_own_address(name: str) -> None:
    question, path, body, expected = QUESTIONS[name]
    async with ScriptedVenue(answers(200, body)) as venue:
        broker = HttpBroker(
            f"{venue.url}/desk/", Secret("secret"), SystemClock(), timeout_ms=2_000, connections=1
        )
        assert await question(broker) == expected
        await broker.aclose()
    first, *lines = venue.heads[0].decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines if line)
    assert first == f"GET /desk{path} HTTP/1.1"
    assert headers["X-Signature"] == sign_request(
        "secret", "GET", f"/desk{path}", int(headers["X-Timestamp"])
    )


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize(
    "script",
    [drops, resets, answers(429, Retry_After="1"), answers(500), answers(401), answers(200, b"<html>")],
)
async def test_no_failure_is_taken_for_an_answer(name: str, script: Script) -> None:
    with pytest.raises(LookUpUnavailable):
        await put(QUESTIONS[name][0], script)


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("script", [hangs, drips])
async def test_an_answer_is_waited_for_no_longer_than_for_an_order(name: str, script: Script) -> None:
    with pytest.raises(LookUpUnavailable):
        await put(QUESTIONS[name][0], script, timeout_ms=50)


@pytest.mark.parametrize("name", sorted(set(QUESTIONS) - {"position"}))
async def test_a_404_means_that_the_venue_does_not_tell(name: str) -> None:
    assert await put(QUESTIONS[name][0], answers(404)) is None


@pytest.mark.parametrize("name", QUESTIONS)
async def test_an_answer_that_is_not_signed_is_none_where_answers_are_verified(name: str) -> None:
    question, _, body, expected = QUESTIONS[name]
    for script in (answers(200, body), answers(404)):
        with pytest.raises(LookUpUnavailable, match="signature"):
            await put(question, script, verify=True)
    signed = answers(200, body, X_Signature=sign_body("secret", body))
    assert await put(question, signed, verify=True) == expected


@pytest.mark.parametrize("name", ["open orders", "open orders of one"])
async def test_a_list_of_orders_may_be_longer_than_other_answers_but_not_endless(name: str) -> None:
    question = QUESTIONS[name][0]
    assert await put(question, answers(200, b"[]".ljust(LONGEST_ANSWER + 1))) == ()
    with pytest.raises(LookUpUnavailable, match=str(LONGEST_LIST)):
        await put(question, answers(200, b"[]".ljust(LONGEST_LIST + 1)))
