"""What one connection may ask of a server, and what becomes of requests on it."""

import asyncio
import os
import re
import socket
from pathlib import Path

import orjson
import pytest

from libs.common.web import protocol
from tests.support.eventually import eventually
from tests.unit.libs.common.web.running_server import (
    GET,
    HALF,
    Running,
    answer,
    apart,
    both_ways,
    is_closed,
    post,
)

MANY = 2_000


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="a URL"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 33_000 + b"\r\n\r\n", id="a header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: " + b"a" * 33_000, id="half a header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"\r\n", id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 102, id="many headers without an end"),
        pytest.param(b"GET / HTTP/1.1\r\n" + (b"X: " + b"a" * 500 + b"\r\n") * 70 + b"\r\n", id="their sum"),
        pytest.param(b"\r\n" * 17_000, id="empty lines"),
    ],
)
@pytest.mark.parametrize("before", [b"", GET], ids=["first", "second"])
async def test_a_head_beyond_the_bounds_is_answered_431_in_the_shape_of_all_refusals(
    running: Running, head: bytes, before: bytes
) -> None:
    reader, writer = await running.connect(before)
    if before:
        assert (await answer(reader))[0] == 404
    writer.write(head)
    status, answered, body = await answer(reader)
    assert status == 431
    assert b"connection: close" in answered
    document = orjson.loads(body)
    assert document["ok"] is False
    assert document["error"]["code"] == "headers_too_large"
    assert document["error"]["field"] is None
    assert re.fullmatch("[0-9a-v]{26}", document["event_id"])
    assert await is_closed(reader)
    assert running.refused("headers_too_large") == 1
    assert running.app.bodies == []
    writer.close()


@pytest.mark.parametrize(
    "head",
    [
        b"X: a\r\n" * 98,
        b"X: " + b"a" * 32_000 + b"\r\n",
    ],
    ids=["headers", "bytes"],
)
async def test_a_head_within_the_bounds_is_read(running: Running, head: bytes) -> None:
    reader, writer = await running.connect(post(b"x" * 100_000, headers=head))
    assert (await answer(reader))[::2] == (200, b"100000")
    writer.close()


async def test_what_is_no_http_is_answered_400_in_the_shape_of_all_refusals(running: Running) -> None:
    reader, writer = await running.connect(b"\x16\x03\x01 hello\r\n\r\n")
    status, _, body = await answer(reader)
    assert (status, orjson.loads(body)["error"]["code"]) == (400, "invalid_http")
    assert await is_closed(reader)
    writer.close()


async def test_trailers_are_bounded_too(running: Running) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await running.connect(head + b"1\r\na\r\n0\r\nX: " + b"a" * 40_000)
    assert (await answer(reader))[0] == 431
    assert running.app.bodies == []
    writer.close()


@both_ways
async def test_trailers_are_nobodys_headers(running: Running) -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await running.connect(head + b"1\r\na\r\n0\r\nX-Forwarded-For: 1.2.3.4\r\n\r\n")
    assert (await answer(reader))[::2] == (200, b"1")
    assert [name for name, _ in running.app.headers[0]] == [b"host", b"transfer-encoding"]
    writer.close()


@both_ways
async def test_requests_before_a_wrong_one_get_their_own_answers(running: Running) -> None:
    reader, writer = await running.connect(post(b"abc", "/slow") + b"no such thing\r\n\r\n")
    await eventually(lambda: running.app.under_way)
    running.app.may_end.set()
    assert (await answer(reader))[0] == 404
    assert await is_closed(reader)
    assert running.refused("invalid_http") == 1
    writer.close()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "sent",
    [b"", b"P", HALF, b"\r\n", GET + b"P", GET + HALF, GET + b"\r\n"],
    ids=["nothing", "a byte", "half a head", "a line", "a second byte", "a second half", "a line behind"],
)
async def test_half_a_head_is_not_waited_for(running: Running, sent: bytes) -> None:
    reader, writer = await running.connect(sent[: len(GET)] if sent.startswith(GET) else sent)
    if sent.startswith(GET):
        assert (await answer(reader))[0] == 404
        writer.write(sent[len(GET) :])
    assert await is_closed(reader)
    assert running.closed("late") == 1
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_half_a_head_behind_a_request_under_way_is_not_waited_for(running: Running) -> None:
    reader, writer = await running.connect(post(b"", "/slow") + HALF)
    await eventually(lambda: running.app.under_way)
    running.app.may_end.set()
    assert (await answer(reader))[0] == 404
    assert await is_closed(reader)
    assert running.closed("late") == 1
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_head_that_comes_byte_by_byte_is_not_waited_for(running: Running) -> None:
    reader, writer = await running.connect(HALF)

    async def drip() -> bool:
        writer.write(b"X: a\r\n")
        return running.closed("late") == 1

    await eventually(drip)
    assert await is_closed(reader)
    writer.close()


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_nobody_reads_is_not_waited_for(running: Running) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000000\r\n\r\n"
    reader, writer = await running.connect(head)
    assert (await answer(reader))[0] == 404
    writer.write(b"x")
    assert await is_closed(reader)
    assert running.closed("late") == 1
    writer.close()


@pytest.mark.usefixtures("impatient")
@both_ways
async def test_answers_that_nobody_takes_are_not_kept(running: Running) -> None:
    with socket.create_connection(("127.0.0.1", running.server.port)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await eventually(lambda: running.closed("unread") == 1)


@pytest.mark.usefixtures("impatient")
@both_ways
async def test_idle_connections_and_requests_under_way_are_left_alone(running: Running) -> None:
    idle, idle_writer = await running.connect(GET)
    assert (await answer(idle))[0] == 404
    busy, busy_writer = await running.connect(post(b"", "/slow"))
    late, late_writer = await running.connect(HALF)
    await eventually(lambda: running.app.under_way)
    assert await is_closed(late)
    later, later_writer = await running.connect(HALF)
    assert await is_closed(later)
    running.app.may_end.set()
    assert (await answer(busy))[0] == 404
    idle_writer.write(GET)
    assert (await answer(idle))[0] == 404
    for writer in (idle_writer, busy_writer, late_writer, later_writer):
        writer.close()


@both_ways
async def test_one_connection_carries_many_requests(running: Running) -> None:
    reader, writer = await running.connect()
    for length in (0, 1, 10_000, 300_000, 5):
        writer.write(post(b"x" * length))
        assert (await answer(reader))[::2] == (200, b"%d" % length)
    writer.close()


@both_ways
async def test_requests_sent_ahead_are_all_answered_in_their_order(running: Running) -> None:
    lengths = [number % 700 for number in range(MANY)]
    reader, writer = await running.connect(b"".join(post(b"x" * length) for length in lengths))
    for length in lengths:
        assert (await answer(reader))[::2] == (200, b"%d" % length)
    writer.close()


@both_ways
async def test_requests_sent_ahead_wait_outside(running: Running) -> None:
    reader, writer = await running.connect(post(b"", "/slow") + GET * 100_000)
    await eventually(lambda: running.app.under_way)
    (connection,) = running.server._server.server_state.connections
    assert isinstance(connection, protocol.Connection)
    await eventually(lambda: connection.flow.read_paused)
    assert len(connection.pipeline) < 300
    running.app.may_end.set()
    for _ in range(2_000):
        assert (await answer(reader))[0] == 404
        assert len(connection.pipeline) < 300
        assert len(connection._held) < 1_000_000
    writer.transport.abort()


@both_ways
async def test_a_request_behind_one_that_is_under_way_is_answered_after_it(running: Running) -> None:
    reader, writer = await running.connect(post(b"abc", "/slow") + post(b"abcd"))
    await eventually(lambda: running.app.under_way)
    running.app.may_end.set()
    assert (await answer(reader))[0] == 404
    assert (await answer(reader))[::2] == (200, b"4")
    writer.write(post(b"abcde"))
    assert (await answer(reader))[::2] == (200, b"5")
    writer.close()


@both_ways
@pytest.mark.parametrize("how", [b"HTTP/1.0", b"HTTP/1.1\r\nConnection: close"], ids=["1.0", "close"])
async def test_who_asks_for_one_answer_only_gets_it_and_the_end(running: Running, how: bytes) -> None:
    reader, writer = await running.connect(b"POST /echo %b\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc" % how)
    status, head, body = await answer(reader)
    assert (status, body) == (200, b"3")
    assert b"connection: close\r\n" in head
    assert await is_closed(reader)
    writer.close()


@both_ways
async def test_who_leaves_before_the_answer_disturbs_nobody(running: Running) -> None:
    _, leaving = await running.connect(post(b"abc", "/slow"))
    await eventually(lambda: running.app.under_way)
    leaving.transport.abort()
    await eventually(lambda: not running.server._server.server_state.connections)
    running.app.may_end.set()
    reader, writer = await running.connect(post(b"abc"))
    assert (await answer(reader))[::2] == (200, b"3")
    writer.close()


@both_ways
@pytest.mark.parametrize("size", [1, 7, 5_000], ids=lambda size: f"by {size}")
async def test_chunked_bodies_are_read(running: Running, size: int) -> None:
    body = os.urandom(20_000)
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part)
        for part in (body[at : at + size] for at in range(0, len(body), size))
    )
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await running.connect((head + chunks + b"0\r\n\r\n") * 2)
    for _ in range(2):
        assert (await answer(reader))[::2] == (200, b"20000")
    assert running.app.bodies == [body, body]
    writer.close()


@both_ways
async def test_what_follows_an_upgrade_is_not_another_request(running: Running) -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: other\r\n"
    reader, writer = await running.connect(post(post(b"abc"), headers=upgrade))
    assert (await answer(reader))[0] == 200
    assert await is_closed(reader)
    assert len(running.app.bodies) == 1
    writer.close()


def resident_mb(pid: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1_024


def _send_all(port: int, start: bytes, piece: bytes, total: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        try:
            client.sendall(start)
            for _ in range(total // len(piece)):
                client.sendall(piece)
        except ConnectionError:
            pass


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        pytest.param(b"POST /echo HTTP/1.1\r\nX: ", b"a" * 65_536, id="one header"),
        pytest.param(b"POST /echo HTTP/1.1\r\n", b"X: a\r\n" * 10_000, id="many headers"),
        pytest.param(b"POST /", b"a" * 65_536, id="a URL"),
        pytest.param(
            b"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
            b"X: a\r\n" * 10_000,
            id="trailers",
        ),
        pytest.param(post(b"", "/slow"), GET * 1_000, id="requests"),
    ],
)
async def test_thirty_megabytes_of_anything_stay_outside(start: bytes, piece: bytes) -> None:
    async with apart() as (pid, port):
        before_mb = resident_mb(pid)
        sending = asyncio.create_task(asyncio.to_thread(_send_all, port, start, piece, 30_000_000))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(GET)
        assert (await answer(reader))[0] == 404
        if b"/slow" not in start:
            await sending
        assert resident_mb(pid) - before_mb < 12
        writer.close()
