"""A server under test on a real port, and clients that behave badly."""

import asyncio
import re
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from prometheus_client import CollectorRegistry
from starlette.types import Receive, Scope, Send

from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web import protocol
from libs.common.web.problems import send_json
from libs.common.web.server import HttpServer
from libs.common.web.whole_request import WholeRequest
from tests.support.eventually import eventually
from tests.support.ports import free_port
from tests.support.tree import ROOT

GET = b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"POST /echo HTTP/1.1\r\nHost: x\r\n"

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


SERVER = """
import asyncio, sys, uvloop
from tests.unit.libs.common.web.running_server import App
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


both_ways = pytest.mark.parametrize("running", [False, True], ids=["app", "whole"], indirect=True)
"""For what a server does with posts: each by the app, and where they came whole without a task."""
