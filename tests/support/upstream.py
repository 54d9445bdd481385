"""A tiny HTTP server inside the test that records what comes and answers what the test says."""

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import Final, Self

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
"""An answer that is a success."""

CONNECTIONS_AT_ONCE: Final = 512
"""More than any test makes: those that the kernel has no place for come again a second later, or later still."""


@dataclass(frozen=True)
class Received:
    """One request, as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    """With lower-case names."""
    body: bytes
    connection: int
    """Which connection it came down, from 0."""

    def values(self, name: str) -> list[str]:
        """Return the values of a header, in their order."""
        return [value for own, value in self.headers if own == name]


@dataclass
class Upstream:
    """Use as `async with Upstream() as upstream:`; it takes requests with a Content-Length or without a body.

    `answer` holds the bytes that each request gets; None closes the connection instead, `is_last` closes it behind the
    answer. While `gate` is clear, requests are recorded and then wait.
    """

    answer: bytes | None = OK
    is_last: bool = False
    received: list[Received] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    tls: ssl.SSLContext | None = None
    connections: int = 0
    port: int = 0

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    def answers(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """Answer so from now on; `retry_after="3"` is the header `Retry-After: 3`."""
        named = {"Content-Length": str(len(body))} | {
            name.replace("_", "-").title(): value for name, value in headers.items()
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self.answer = f"HTTP/1.1 {status} Word\r\n{lines}\r\n".encode("latin-1") + body

    async def __aenter__(self) -> Self:
        self.gate.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.tls, backlog=CONNECTIONS_AT_ONCE
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        number, self.connections = self.connections, self.connections + 1
        try:
            # At the end of the test too: asyncio would log the cancellation as an error.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    self.received.append(await _read(reader, number))
                    await self.gate.wait()
                    if self.answer is None:
                        return
                    writer.write(self.answer)
                    await writer.drain()
                    if self.is_last:
                        return
        finally:
            self._tasks.discard(task)
            writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Received(method, target, headers, await reader.readexactly(length), connection)
