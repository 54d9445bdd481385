"""HTTP as the `http` adapter speaks it: where an answer begins and ends, and that none is taken for another's."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown
from libs.common.domain.lifecycle import OrderState
from libs.common.runtime.secrets import Secret
from libs.common.runtime.system_clock import SystemClock
from libs.common.wire.signing import sign_body
from services.worker.brokers.http import LONGEST_ANSWER, LONGEST_LIST, HttpBroker
from services.worker.brokers.http_connection import MOST_HEADERS, HttpConnection
from tests.contract.orders import MARKET, order, ours
from tests.contract.scripted_venue import Script, ScriptedVenue, answers, drops, sends
from tests.support.certificates import Authority
from tests.support.eventually import eventually

pytestmark = pytest.mark.contract

GOOD = b'{"order_id":"v-1","status":"filled","filled_quantity":"1","average_price":"100"}'
ANOTHER = GOOD.replace(b"v-1", b"v-2")
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD


@asynccontextmanager
async def broker_at(url: str) -> AsyncIterator[HttpBroker]:
    broker = HttpBroker(url, Secret("secret"), SystemClock(), timeout_ms=5_000, connections=1)
    try:
        yield broker
    finally:
        await broker.aclose()


def chunked(*pieces: bytes) -> bytes:
    """Return an answer in chunks."""
    return (
        OK
        + b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b""))
    )


def piece_by_piece(data: bytes) -> Script:
    """Answer a byte at a time."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await writer.drain()
            await asyncio.sleep(0)

    return script


# fmt: off
WHOLE_ANSWERS: dict[str, Script] = {
    "of a length": sends(WHOLE),
    "byte by byte": piece_by_piece(WHOLE),
    "in chunks": sends(chunked(GOOD[:7], GOOD[7:])),
    "in chunks, byte by byte": piece_by_piece(chunked(GOOD[:7], GOOD[7:])),
    "to the end of the connection": sends(OK + b"\r\n" + GOOD, closes=True),
    "of HTTP/1.0, to the end of the connection": sends(b"HTTP/1.0 200 OK\r\n\r\n" + GOOD, closes=True),
    "of bare line feeds": sends(WHOLE.replace(b"\r\n", b"\n")),
    "without a reason": sends(WHOLE.replace(b" OK", b"")),
    "after 100": sends(b"HTTP/1.1 100 Continue\r\n\r\n" + WHOLE),
    "after 103 with headers": sends(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + WHOLE),
    "the last on its connection": sends(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), closes=True),
    "the last on a connection that stays": sends(WHOLE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")),
}
# fmt: on


@pytest.mark.parametrize("script", WHOLE_ANSWERS.values(), ids=WHOLE_ANSWERS.keys())
async def test_a_whole_answer_is_read_however_it_comes(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        for _ in range(3):
            report = await broker.place(order(), ours)
            assert (report.order_id, report.state) == ("v-1", OrderState.FILLED)
        assert len(venue.bodies) == 3


# fmt: off
BROKEN_ANSWERS: dict[str, Script] = {
    "nothing after 100": sends(b"HTTP/1.1 100 Continue\r\n\r\n", closes=True),
    "cut before the last chunk": sends(chunked(GOOD)[:-5], closes=True),
    "two lengths": sends(WHOLE.replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n"), closes=True),
    "a length and chunks": sends(chunked(GOOD).replace(b"\r\n\r\n", b"\r\nContent-Length: 7\r\n\r\n", 1)),
    "another protocol from here on": sends(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n" + WHOLE
    ),
    "a head without an end": sends(OK + b"X-Filler: " + b"x" * (3 * LONGEST_ANSWER)),
    "a thousand interim answers": sends(b"HTTP/1.1 100 Continue\r\n\r\n" * LONGEST_ANSWER),
}
# fmt: on


@pytest.mark.parametrize("script", BROKEN_ANSWERS.values(), ids=BROKEN_ANSWERS.keys())
async def test_what_is_no_whole_answer_is_none(script: Script) -> None:
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        with pytest.raises(OrderOutcomeUnknown, match="no answer from the venue: BrokenError"):
            await broker.place(order(), ours)


@pytest.mark.parametrize(
    "first", [WHOLE, chunked(GOOD), OK + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 204 Done\r\n\r\n"]
)
async def test_an_answer_is_not_taken_for_the_next_where_none_comes(first: bytes) -> None:
    async with ScriptedVenue(sends(first)) as venue, broker_at(venue.url) as broker:
        if first.endswith(b"\r\n\r\n") and b"chunked" not in first:
            await broker.cancel_open(MARKET, ["v-1"], ours)
        else:
            await broker.place(order(), ours)
        venue.script = drops
        with pytest.raises(OrderOutcomeUnknown, match="no answer from the venue"):
            await broker.place(order(), ours)


@pytest.mark.parametrize("behind", [WHOLE, WHOLE[:-1], OK, b"x"])
async def test_what_comes_behind_an_answer_answers_nothing(behind: bytes) -> None:
    async with ScriptedVenue(sends(WHOLE + behind)) as venue, broker_at(venue.url) as broker:
        assert (await broker.place(order(), ours)).order_id == "v-1"
        venue.script = answers(200, ANOTHER)
        assert (await broker.place(order(), ours)).order_id == "v-2"


async def test_what_comes_unasked_answers_nothing() -> None:
    told = asyncio.Event()

    async def tells_more(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)
        await told.wait()
        writer.write(b"HTTP/1.1 408 Too Slow\r\nContent-Length: 0\r\n\r\n")

    async with ScriptedVenue(tells_more) as venue, broker_at(venue.url) as broker:
        assert (await broker.place(order(), ours)).order_id == "v-1"
        [connection] = broker._connections._idle
        told.set()
        await eventually(lambda: not connection.is_fresh())
        venue.script = answers(200, ANOTHER)
        assert (await broker.place(order(), ours)).order_id == "v-2"


async def test_a_connection_is_used_again() -> None:
    async with ScriptedVenue(answers(200, GOOD)) as venue, broker_at(venue.url) as broker:
        for _ in range(5):
            await broker.place(order(), ours)
        with pytest.raises(LookUpUnavailable):
            await broker.position(MARKET)
        assert len(venue._writers) == 1


async def test_headers_of_one_name_count_as_one() -> None:
    script = sends(
        b"HTTP/1.1 429 Wait\r\nRetry-After: 7\r\nretry-after: 8\r\nX-Odd: \xe9\r\nContent-Length: 0\r\n\r\n"
    )
    async with ScriptedVenue(script) as venue, broker_at(venue.url) as broker:
        received = await broker._exchange(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", lambda: None)
    assert dict(received.headers) == {"retry-after": "7, 8", "x-odd": "é", "content-length": "0"}


async def test_over_tls_a_venue_is_asked_who_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, stranger = Authority(tmp_path, "ours"), Authority(tmp_path, "strangers")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    for signer, alternative, is_trusted in (
        (authority, "IP:127.0.0.1", True),
        (authority, "IP:127.0.0.2", False),
        (stranger, "IP:127.0.0.1", False),
    ):
        certificate, key = signer.issue("venue", "/CN=venue", alternative)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        async with ScriptedVenue(piece_by_piece(WHOLE), tls) as venue, broker_at(venue.url) as broker:
            if is_trusted:
                for _ in range(3):
                    assert (await broker.place(order(), ours)).order_id == "v-1"
            else:
                with pytest.raises(BrokerUnavailable, match="nothing was sent: SSLCertVerificationError"):
                    await broker.place(order(), ours)
            assert len(venue.bodies) == (3 if is_trusted else 0)


async def test_no_answer_of_headers_alone_keeps_the_loop_from_all_else() -> None:
    flood = OK + b"a:\r\n" * (LONGEST_LIST // 2)
    async with ScriptedVenue(sends(flood)) as venue, broker_at(venue.url) as broker:
        with pytest.raises(LookUpUnavailable, match=f"more than {MOST_HEADERS} headers"):
            await broker.open_orders()


async def test_what_stands_behind_a_body_is_none_of_its_headers() -> None:
    answer = chunked(GOOD).removesuffix(b"\r\n") + b"X-Signature: %b\r\n\r\n"
    signature = sign_body("secret", GOOD).encode()
    script = sends(answer % signature)
    async with ScriptedVenue(script) as venue:
        broker = HttpBroker(
            venue.url, Secret("secret"), SystemClock(), timeout_ms=5_000, connections=1, verify_answers=True
        )
        with pytest.raises(OrderOutcomeUnknown, match="signature does not fit"):
            await broker.place(order(), ours)
        await broker.aclose()


async def test_nothing_leaves_once_its_time_is_over() -> None:
    loop = asyncio.get_running_loop()
    left: list[bytes] = []
    async with ScriptedVenue(sends(WHOLE)) as venue:
        connection = HttpConnection("127.0.0.1", venue.port, None)
        for until_s in (loop.time() + 5, loop.time()):
            request = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
            calling = connection.exchange(
                request, lambda: left.append(b"one"), longest=LONGEST_ANSWER, until_s=until_s
            )
            if until_s > loop.time():
                await calling
            else:
                with pytest.raises(TimeoutError):
                    await calling
        connection.close()
    assert left == [b"one"]
