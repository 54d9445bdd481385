"""A small HTTP server that answers as a test says, and keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """By lower-case name."""
    body: str
    raw: bytes

    def values(self) -> dict[str, Any]:
        """Return what its query and its body hold, whether as a form or as JSON."""
        found: dict[str, Any] = dict(parse_qsl(self.query))
        if self.body.startswith("{"):
            return {**found, **json.loads(self.body)}
        return {**found, **dict(parse_qsl(self.body))}


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer."""

    content: Any = None
    """JSON, or text that is sent as it is."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return its bytes."""
        is_text = isinstance(self.content, str)
        body = (self.content if is_text else json.dumps(self.content)).encode()
        kind = "text/html" if is_text else "application/json"
        head = {"Content-Type": kind, "Content-Length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} X", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        return "\r\n".join(lines).encode() + body


@dataclass(frozen=True)
class Hang:
    """No answer at all."""


@dataclass(frozen=True)
class Drop:
    """The connection is closed without one."""


@dataclass(frozen=True)
class Truncate:
    """Half of an answer."""


Answer = Reply | Hang | Drop | Truncate
Answering = Answer | Callable[[Asked], Answer]


class Server:
    """Answers by method and path; what no test said anything about is a 404 in JSON."""

    def __init__(self, routes: Mapping[str, Answering]) -> None:
        """Args:
        routes: "GET /path" -> an answer, or what makes one of the request.
        """
        self.routes = dict(routes)
        self.asked: list[Asked] = []
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()

    def of(self, route: str) -> list[Asked]:
        """Return the requests for one route."""
        return [one for one in self.asked if f"{one.method} {one.path}" == route]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self._open.add(writer)
        try:
            while True:
                asked = await _read(reader)
                self.asked.append(asked)
                answering = self.routes.get(f"{asked.method} {asked.path}", Reply({"code": -404}, 404))
                answer = answering(asked) if callable(answering) else answering
                if isinstance(answer, Hang):
                    await reader.read()
                    return
                if isinstance(answer, Drop):
                    return
                if isinstance(answer, Truncate):
                    writer.write(
                        b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"or'
                    )
                    await writer.drain()
                    return
                writer.write(answer.encode())
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Close every connection that is open."""
        for writer in self._open:
            writer.close()


@asynccontextmanager
async def serve(routes: Mapping[str, Answering]) -> AsyncIterator[Server]:
    """Run a server on a free port."""
    server = Server(routes)
    listening = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listening.close()
        server.hang_up()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    return Asked(method, parts.path, parts.query, headers, body.decode(), head + body)
