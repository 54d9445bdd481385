"""A real server on a real port, and clients that behave badly."""

import asyncio
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web import protocol, server
from libs.common.web.problems import send_json
from libs.common.web.server import HttpServer
from libs.common.web.whole_request import WholeRequest
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.processes import ROOT

GET = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"POST /echo HTTP/1.1\r\nHost: x\r\n"
MANY = 2_000

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class App:
    """Answers with the body's length at `/echo`, without looking at the body elsewhere; waits at `/slow`."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.under_way = 0
        self.asked: list[str] = []
        self.may_end = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/slow":
            await receive()
            self.under_way += 1
            await self.may_end.wait()
        if scope["path"] == "/large":
            await send_json(send, 200, b"x" * 30_000_000)
            return
        if scope["path"] == "/echo":
            body = b""
            is_more = True
            while is_more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                is_more = message["more_body"]
            self.bodies.append(body)
            self.headers.append(list(scope["headers"]))
            await send_json(send, 200, b"%d" % len(body))
            return
        await send_json(send, 404, b"{}")

    def take_whole(self, request: WholeRequest) -> bool:
        """Answer at `/echo` at once, and let the app answer at `/slow`, in time."""
        path = request.scope["path"]
        self.asked.append(path)
        if path == "/echo":
            self.bodies.append(request.body)
            self.headers.append(list(request.scope["headers"]))
            length = b"%d" % len(request.body)
            request.answer(b"content-length: %d\r\n" % len(length), length)
        elif path == "/slow":
            self.under_way += 1
            waiting = self.waiting = asyncio.ensure_future(self.may_end.wait())
            waiting.add_done_callback(lambda _: request.hand_over())
        return path in {"/echo", "/slow"}


class Running:
    """A server under test."""

    def __init__(self, max_connections: int | None, *, takes_whole: bool) -> None:
        self.app = App()
        self.registry = CollectorRegistry()
        metrics = ServerMetrics(self.registry)
        self.server = HttpServer(
            self.app,
            "127.0.0.1",
            free_port(),
            drain_s=1,
            max_connections=max_connections,
            metrics=metrics,
            take_whole=self.app.take_whole if takes_whole else None,
        )

    async def connect(self, sent: bytes = b"") -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        writer.write(sent)
        return reader, writer

    def closed(self, reason: str) -> float:
        return self.registry.get_sample_value("bascule_connections_closed_total", {"reason": reason}) or 0

    def refused(self, code: str) -> float:
        return self.registry.get_sample_value("bascule_requests_unreadable_total", {"reason": code}) or 0


@asynccontextmanager
async def serving(max_connections: int | None = None, *, takes_whole: bool = False) -> AsyncIterator[Running]:
    running = Running(max_connections, takes_whole=takes_whole)
    await running.server.start()
    try:
        yield running
    finally:
        running.app.may_end.set()
        await running.server.stop()


@pytest.fixture
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    async with serving(takes_whole=getattr(request, "param", True)) as one:
        yield one


both_ways = pytest.mark.parametrize("running", [False, True], ids=["app", "whole"], indirect=True)
"""For what a server does with posts: each by the app, and where they came whole without a task."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    monkeypatch.setattr(protocol, "UNREAD_S", 0.5)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Return status, head and body of the next answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    return int(head.split()[1]), head, await reader.readexactly(int(length[1]))


async def connections_of(running: Running) -> list[protocol.Connection]:
    """Return the open connections, once there is one."""
    found = running.server._server.server_state.connections
    await eventually(lambda: found)
    return [one for one in found if isinstance(one, protocol.Connection)]


async def is_closed(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionError):
        await reader.read()
    return True


def post(body: bytes, path: str = "/echo", *, headers: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (
        path.encode(),
        headers,
        len(body),
        body,
    )


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


async def test_an_idle_connection_is_closed_after_the_keep_alive_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 1)
    async with serving() as running:
        reader, writer = await running.connect(GET)
        assert (await answer(reader))[0] == 404
        assert await is_closed(reader)
        assert running.closed("late") == 0
        writer.close()


async def test_the_oldest_half_open_connection_makes_room_for_a_new_one() -> None:
    async with serving(max_connections=4) as running:
        known, known_writer = await running.connect(GET)
        assert (await answer(known))[0] == 404
        strangers = [await running.connect(HALF) for _ in range(9)]
        reader, writer = await running.connect(post(b"abc"))
        assert (await answer(reader))[::2] == (200, b"3")
        for stranger, _ in strangers[:7]:
            assert await is_closed(stranger)
        assert running.closed("displaced") == 7
        known_writer.write(GET)
        assert (await answer(known))[0] == 404
        for open_writer in (known_writer, writer, *(other for _, other in strangers)):
            open_writer.close()


async def test_without_strangers_the_longest_idle_connection_makes_room() -> None:
    async with serving(max_connections=3) as running:
        idle = []
        for _ in range(3):
            idle.append(await running.connect(GET))
            assert (await answer(idle[-1][0]))[0] == 404
        reader, writer = await running.connect(GET)
        assert (await answer(reader))[0] == 404
        assert await is_closed(idle[0][0])
        for one, its_writer in idle[1:]:
            its_writer.write(GET)
            assert (await answer(one))[0] == 404
        for _, its_writer in [*idle, (reader, writer)]:
            its_writer.close()


async def test_a_new_connection_is_closed_where_all_others_are_busy() -> None:
    async with serving(max_connections=2) as running:
        busy = [await running.connect(post(b"", "/slow")) for _ in range(2)]
        await eventually(lambda: running.app.under_way == 2)
        reader, writer = await running.connect()
        assert await is_closed(reader)
        assert running.closed("full") == 1
        running.app.may_end.set()
        for one, _ in busy:
            assert (await answer(one))[0] == 404
        for open_writer in (writer, *(other for _, other in busy)):
            open_writer.close()


async def test_a_closed_connection_makes_room(running: Running) -> None:
    async with serving(max_connections=1) as one:
        for _ in range(5):
            reader, writer = await one.connect(GET.replace(b"Host", b"Connection: close\r\nHost"))
            assert (await answer(reader))[0] == 404
            assert await is_closed(reader)
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
@pytest.mark.parametrize("at", [1, 60, 80, 100])
async def test_a_request_that_comes_in_two_parts_is_read(running: Running, at: int) -> None:
    whole = post(b"x" * 50)
    reader, writer = await running.connect(whole[:at])
    await eventually(lambda: running.server._server.server_state.connections)
    await asyncio.sleep(0)
    writer.write(whole[at:])
    assert (await answer(reader))[::2] == (200, b"50")
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


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(post(b"abc", "/echo?x=1"), id="a query"),
        pytest.param(post(b"abc", "/ech%6f"), id="an escape"),
        pytest.param(post(b"abc", "/echo#x"), id="a fragment"),
        pytest.param(post(b"abc", "http://somewhere/echo"), id="a whole address"),
        pytest.param(post(b"abc", headers=b"Expect: 100-continue\r\n"), id="an expectation"),
        pytest.param(post(b"abc").replace(b"POST", b"PUT"), id="another method"),
    ],
)
async def test_what_an_app_would_read_otherwise_is_left_to_it(running: Running, raw: bytes) -> None:
    _, writer = await running.connect(raw)
    await eventually(lambda: running.app.bodies)
    assert running.app.asked == []
    writer.close()


async def test_no_answer_is_put_behind_one_that_nobody_takes(running: Running) -> None:
    _, writer = await running.connect(post(b"abc", "/large"))
    (connection,) = await connections_of(running)
    await eventually(lambda: connection.flow.write_paused)
    running.app.asked.clear()
    before = connection.cycle
    writer.write(post(b"abc"))
    await eventually(lambda: connection.cycle is not before)
    assert running.app.asked == []
    writer.transport.abort()


@pytest.mark.parametrize("at", [20, 60])
@pytest.mark.parametrize("url", ["http://x", "//", "/a b"])
async def test_an_address_that_is_none_is_answered_in_whatever_parts_it_comes(
    running: Running, url: str, at: int
) -> None:
    raw = post(b"x" * 50, url)
    reader, writer = await running.connect(raw[:-at])
    await connections_of(running)
    writer.write(raw[-at:])
    assert (await reader.readline()).startswith(b"HTTP/1.1 4")
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
async def test_a_server_that_stops_answers_what_is_under_way(running: Running) -> None:
    reader, writer = await running.connect(post(b"abc", "/slow"))
    await eventually(lambda: running.app.under_way)
    stopping = asyncio.create_task(running.server.stop())
    await eventually(lambda: running.server._server.should_exit)
    running.app.may_end.set()
    assert (await answer(reader))[0] == 404
    await stopping
    assert await is_closed(reader)
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


SERVER = """
import asyncio, sys, uvloop
from tests.unit.libs.common.web.test_server import App
from libs.common.web.server import HttpServer

async def main():
    server = HttpServer(App(), "127.0.0.1", int(sys.argv[1]))
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

uvloop.run(main())
"""


@asynccontextmanager
async def apart(max_files: int = 1_024) -> AsyncIterator[tuple[int, int]]:
    """Run a server in a process of its own; give its process id and port."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (max_files, max_files))
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        yield process.pid, port
    finally:
        process.kill()
        process.communicate()


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


async def test_half_open_connections_leave_descriptors_for_senders() -> None:
    async with apart(max_files=256) as (pid, port):
        strangers = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for one in strangers:
            one.send(HALF)

        async def answered() -> bool:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(post(b"abc"))
            try:
                return (await answer(reader))[::2] == (200, b"3")
            except (ConnectionError, asyncio.IncompleteReadError):
                return False
            finally:
                writer.close()

        await eventually(answered)
        assert len(list(Path(f"/proc/{pid}/fd").iterdir())) <= 256 - 32
        for one in strangers:
            one.close()
