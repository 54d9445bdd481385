import asyncio
import json
from typing import Any

import pytest

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import SECRET
from tests.support.eventually import eventually

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]

GOOD = {"secret": SECRET, "id": "a", "symbol": "BTCUSDT", "action": "buy"}
START = json.dumps(GOOD)[:-1].encode()
DEPTH = 7_000


def with_field(text: str) -> bytes:
    return START + b", " + text.encode() + b"}"


BAD: list[tuple[str, bytes, int, str]] = [
    ("empty", b"", 400, "not_json"),
    ("text", b"buy BTCUSDT now", 400, "unknown_dialect"),
    ("a bare NaN", with_field('"price": NaN'), 400, "not_json"),
    ("a list", b"[1, 2]", 400, "not_an_object"),
    ("bad UTF-8", START + b', "comment": "\xff\xfe"}', 400, "not_utf8"),
    ("bad UTF-8 in a field", b'{"secret": "\xc3\x28"}', 400, "not_utf8"),
    ("half a pair", with_field('"comment": "\\ud800"').replace(b'"a"', b'"\\ud800"'), 400, "not_json"),
    ("deep lists", with_field('"deep": ' + "[" * DEPTH + "]" * DEPTH), 400, "too_deep"),
    ("deep objects", with_field('"deep": ' + '{"a":' * 2_500 + "1" + "}" * 2_500), 400, "too_deep"),
    ("never closed", b"[" * 16_000, 400, "not_an_object"),
    ("no secret", b'{"id": "a", "symbol": "BTCUSDT", "action": "buy"}', 401, "unauthorized"),
    ("wrong secret", json.dumps({**GOOD, "secret": "wrong"}).encode(), 401, "unauthorized"),
    ("wrong secret and all else", b'{"secret": "wrong", "id": 1, "action": 2}', 401, "unauthorized"),
    ("secret of a wrong type", json.dumps({**GOOD, "secret": 1}).encode(), 401, "unauthorized"),
    ("id of a wrong type", json.dumps({**GOOD, "id": [1]}).encode(), 422, "wrong_type"),
    ("no symbol", json.dumps({**GOOD, "symbol": ""}).encode(), 422, "missing_field"),
    ("unknown action", json.dumps({**GOOD, "action": "hold"}).encode(), 422, "invalid_action"),
    ("a quoted NaN", with_field('"price": "NaN"'), 422, "invalid_number"),
    ("an infinite number", with_field('"quantity": 1e999'), 422, "invalid_number"),
    ("a placeholder", json.dumps({**GOOD, "symbol": "{{ticker}}"}).encode(), 422, "unfilled_placeholder"),
    ("a field twice", with_field('"action": "sell"'), 422, "repeated_field"),
    ("the secret as id", json.dumps({**GOOD, "id": f"x-{SECRET}"}).encode(), 422, "credential_in_field"),
    ("40,000 bytes", with_field('"comment": "' + "x" * 40_000 + '"'), 413, "too_large"),
    ("10 MB", with_field('"comment": "' + "x" * 10_000_000 + '"'), 413, "too_large"),
]


async def assert_nothing_was_queued(bridge: Bridge) -> None:
    names = set(bridge.client.scan_iter(match="bascule:*", count=1_000))
    assert {name.partition("}:")[2] for name in names} <= {"refused", "probe", "meta"}


async def test_bad_input_gets_the_right_4xx_and_queues_nothing(ingress: Bridge) -> None:
    for name, raw, status, code in BAD:
        answer = await ingress.post(raw)
        assert (name, answer.status, answer.body["error"]["code"]) == (name, status, code)
        assert answer.body["ok"] is False
        assert answer.body["error"]["detail"]
        assert len(answer.body["event_id"]) == 26
        assert SECRET not in json.dumps(answer.body)
    await assert_nothing_was_queued(ingress)
    assert (await ingress.post(GOOD)).status == 200


async def test_a_stranger_learns_nothing_from_the_answer(ingress: Bridge) -> None:
    shapes = set()
    for raw in (
        b"{}",
        b'{"secret": "wrong"}',
        b'{"secret": 1, "id": 2}',
        json.dumps({**GOOD, "secret": "x"}).encode(),
    ):
        answer = await ingress.post(raw)
        shapes.add((answer.status, json.dumps(answer.body["error"])))
    assert len(shapes) == 1


async def test_refused_posts_are_kept_for_operators_but_strangers_are_only_counted(ingress: Bridge) -> None:
    events = {}
    for _, raw, status, code in BAD:
        body = (await ingress.post(raw)).body
        if status != 401:
            events[body["event_id"]] = (str(status), code)
    kept = {entry["event"]: entry for _, entry in ingress.client.xrange("bascule:{s0}:refused")}
    assert {event: (entry["status"], entry["code"]) for event, entry in kept.items()} == events
    assert all(entry["webhook"] == "default" for entry in kept.values())


@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "declared"])
async def test_a_body_that_is_too_large_is_not_read_to_its_end(ingress: Bridge, is_chunked: bool) -> None:
    port = ingress.ingresses[0].config["ingress"]["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: 10485760"
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\n" + length + b"\r\n\r\n")
    if is_chunked:
        writer.write(b"5000\r\n" + b"x" * 0x5000 + b"\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


async def test_a_slow_body_is_given_up_at_the_deadline(ingress: Bridge) -> None:
    port = ingress.ingresses[0].config["ingress"]["port"]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started_s = asyncio.get_running_loop().time()
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b'{"secret":')
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        answer = await reader.read()
    assert b'"body_too_slow"' in answer
    assert asyncio.get_running_loop().time() - started_s > 1.9
    writer.close()


async def test_a_sender_that_leaves_in_the_middle_is_counted_and_nothing_else(ingress: Bridge) -> None:
    service = ingress.ingresses[0]
    _, writer = await asyncio.open_connection("127.0.0.1", service.config["ingress"]["port"])
    writer.write(b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n" + b'{"secret":')
    await writer.drain()
    writer.close()
    await eventually(lambda: service.metric("bascule_posts_abandoned_total") == 1)
    assert service.metric("bascule_posts_total", status="500") == 0
    await assert_nothing_was_queued(ingress)


ELSEWHERE: list[tuple[str, str, int, str]] = [
    ("GET", "/webhook", 405, "wrong_method"),
    ("PUT", "/tv-webhook", 405, "wrong_method"),
    ("POST", "/health", 405, "wrong_method"),
    ("POST", "/", 404, "unknown_path"),
    ("POST", "/webhook/", 404, "unknown_path"),
    ("GET", "/%ff%00", 404, "unknown_path"),
]


async def test_wrong_methods_and_paths_are_answered_in_the_same_shape(ingress: Bridge) -> None:
    for method, path, status, code in ELSEWHERE:
        url = ingress.ingresses[0].url + path
        answer, connection = await http_client.send_on(None, url, b"", method=method)
        assert connection is not None
        connection.close()
        expected: dict[str, Any] = {"code": code, "detail": answer.body["error"]["detail"], "field": None}
        assert (answer.status, answer.body["ok"], answer.body["error"]) == (status, False, expected)
        assert ("allow" in answer.headers) == (status == 405)
