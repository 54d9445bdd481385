"""Posts that are no alerts: refused by the right status, and nothing of them is queued."""

import asyncio
import time
from urllib.parse import urlsplit

import orjson
import pytest

from tests.e2e.ledger import PREFIX, all_accepted, assert_clean, assert_no_failures, journal
from tests.support import http_client
from tests.support.bridge_config import SECRET

DEADLINE_S = 2.0
GOOD = {"secret": SECRET, "id": "a", "symbol": "BTCUSDT", "action": "buy"}


def changed(**fields):
    return orjson.dumps({**GOOD, **fields})


def without(field):
    return orjson.dumps({name: value for name, value in GOOD.items() if name != field})


def written(fields):
    """An alert with a piece of JSON of one's own in it."""
    return orjson.dumps(GOOD)[:-1] + b"," + fields + b"}"


BAD = [
    ("an empty body", b"", 400),
    ("not JSON", b"buy BTCUSDT now", 400),
    ("half of a document", orjson.dumps(GOOD)[:-9], 400),
    ("two documents", orjson.dumps(GOOD) * 2, 400),
    ("a list", b"[" + orjson.dumps(GOOD) + b"]", 400),
    ("a string", b'"buy"', 400),
    ("a number", b"1", 400),
    ("null", b"null", 400),
    ("bad UTF-8", orjson.dumps(GOOD).replace(b"BTC", b"B\xffC"), 400),
    ("bad UTF-8 in a key nobody reads", written(b'"note":"\xc3\x28"'), 400),
    ("half of a surrogate pair", changed(symbol="BTC").replace(b"BTC", b"\\ud800"), 400),
    ("a bare NaN", written(b'"quantity":NaN'), 400),
    ("a bare Infinity", written(b'"price":-Infinity'), 400),
    ("nesting beyond any need", b"[" * 8_000 + b"]" * 8_000, 400),
    ("nesting in a key nobody reads", written(b'"note":' + b"[" * 7_000 + b"]" * 7_000), 400),
    ("nested objects", written(b'"note":' + b'{"a":' * 2_500 + b"1" + b"}" * 2_500), 400),
    ("no credential", without("secret"), 401),
    ("an empty credential", changed(secret=""), 401),
    ("another credential", changed(secret="not-the-secret"), 401),
    ("no symbol", without("symbol"), 422),
    ("an empty symbol", changed(symbol=""), 422),
    ("an endless symbol", changed(symbol="B" * 5_000), 422),
    ("a symbol with a line break", changed(symbol="BTC\nUSDT"), 422),
    ("a truth value for a symbol", changed(symbol=True), 422),
    ("null for a symbol", changed(symbol=None), 422),
    ("no action", without("action"), 422),
    ("an unknown action", changed(action="hold"), 422),
    ("a list for an action", changed(action=["buy"]), 422),
    ("an object for an id", changed(id={"a": 1}), 422),
    ("a placeholder left as it was", changed(symbol="{{ticker}}"), 422),
    ("a quoted NaN", changed(quantity="NaN"), 422),
    ("a quoted infinity", changed(quantity="inf"), 422),
    ("words for a quantity", changed(quantity="many"), 422),
    ("a quantity of 0", changed(quantity=0), 422),
    ("a quantity below 0", changed(quantity=-1), 422),
    ("a boolean for a quantity", changed(quantity=True), 422),
    ("a quantity beyond all bounds", written(b'"quantity":1e999'), 422),
    ("a quantity of a thousand digits", changed(quantity="1" * 1_000), 422),
    ("a list for a price", changed(price=[1]), 422),
    ("the same key twice", written(b'"symbol":"ETHUSDT"'), 422),
    ("one byte too many", changed(note="x" * 16_384), 413),
    ("40,000 bytes", b"x" * 40_000, 413),
]


async def test_what_is_no_alert_is_refused_with_the_right_status_and_not_queued(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue)

    found = {}
    for what, body, _ in BAD:
        answer = await bridge.post(body)
        found[what] = answer.status
        if answer.status < 500 and answer.status != http_client.NO_ANSWER:
            assert answer.body["ok"] is False, (what, answer)
            assert set(answer.body["error"]) >= {"code", "detail"}, (what, answer)
            assert answer.body["event_id"], (what, answer)
            assert SECRET not in str(answer.body), (what, answer)

    assert found == {what: status for what, _, status in BAD}
    await _assert_nothing_queued(bridge, venue)
    # The door is as open as before.
    all_accepted([await bridge.post(bridge.alert())])
    assert dict(await bridge.wait_ended(1)) == {"EXECUTED": 1}


async def test_ten_megabytes_are_refused_however_they_are_announced(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue)
    [ingress] = bridge.ingresses
    size = 10 * 1024 * 1024
    memory = ingress.metric("process_resident_memory_bytes")

    answers = [
        await _send_slowly(ingress, [f"Content-Length: {size}".encode()], [b"x" * 65_536] * 160),
        await _send_slowly(
            ingress, [b"Transfer-Encoding: chunked"], [b"10000\r\n" + b"x" * 65_536 + b"\r\n"] * 160
        ),
    ]

    assert [status_of(answer) for answer in answers] == [413, 413]
    assert ingress.metric("process_resident_memory_bytes") - memory < size / 2
    await _assert_nothing_queued(bridge, venue)


@pytest.mark.alone
async def test_a_body_that_does_not_come_is_refused_at_the_deadline_and_holds_nobody_up(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue)
    [ingress] = bridge.ingresses
    started_s = time.monotonic()
    slow = [
        asyncio.create_task(
            _send_slowly(ingress, [b"Content-Length: 100"], [b'{"secret"'], is_complete=False)
        )
        for _ in range(50)
    ]
    dripping = asyncio.create_task(
        _send_slowly(ingress, [b"Content-Length: 10000"], [b"{"] * 10_000, pause_s=0.05)
    )
    swift = await bridge.send_many([bridge.alert(symbol=f"S{n}") for n in range(100)])
    all_accepted(swift)
    assert max(answer.elapsed_s for answer in swift) < 1.0

    answers = await asyncio.gather(*slow, dripping)
    assert {status_of(answer) for answer in answers} == {408}
    assert time.monotonic() - started_s < DEADLINE_S + 1.0
    await bridge.wait_ended(100)
    assert len(venue.ledger()) == 100
    assert_no_failures(bridge)


async def _send_slowly(ingress, headers, pieces, *, pause_s=0.0, is_complete=True):
    """Post a body piece by piece, for as long as the other side listens, and return what it says."""
    parts = urlsplit(ingress.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        lines = [b"POST /webhook HTTP/1.1", b"Host: bridge", b"Content-Type: application/json", *headers]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
        answering = asyncio.ensure_future(reader.read(65_536))
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            done, _ = await asyncio.wait([answering], timeout=pause_s)
            if done:
                break
        return await asyncio.wait_for(answering, 10)
    finally:
        writer.transport.abort()


def status_of(answer):
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer.split(b" ", 2)[1])


async def _assert_nothing_queued(bridge, venue):
    for kind in ("alert", "instruction", "order", "lane", "seen"):
        assert not list(bridge.client.scan_iter(match=f"{PREFIX}{kind}:*")), kind
    assert {event.event for event in journal(bridge)} <= {"INCARNATED"}
    assert not venue.ledger()
    assert not bridge.dead_letters()
    await assert_clean(bridge)
    assert_no_failures(bridge)
