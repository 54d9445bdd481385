"""The test venue as a process: `python -m tests.support.venue_server --directory DIR`.

It prints `{"url", "pid", "ledger", "refused"}` on stdout once it listens. Started again on the same directory it
remembers what it has executed and what rests.
"""

import argparse
import asyncio
import json
import os
import signal
import time
from collections import deque
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httptools
import orjson
import uvloop

from tests.support.venue_book import Arrival, Book
from tests.support.venue_desk import Answer, Desk, signature

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Connection(asyncio.Protocol):
    """One connection: requests in order, one at a time, kept alive."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._current: Arrival | None = None
        self._waiting: deque[Arrival] = deque()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._desk.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._current = Arrival("", "", time.time_ns() // 1_000)

    def on_url(self, url: bytes) -> None:
        assert self._current is not None
        self._current.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._current is not None
        self._current.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        assert self._current is not None
        self._current.body += body

    def on_message_complete(self) -> None:
        assert self._current is not None
        self._current.method = self._parser.get_method().decode("ascii")
        self._waiting.append(self._current)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        while self._waiting:
            arrival = self._waiting.popleft()
            answer = self._desk.answer_at_once(arrival) or await self._desk.answer(arrival)
            self._send(answer)

    def _send(self, answer: Answer | object) -> None:
        if self._transport.is_closing():
            return
        if not isinstance(answer, Answer):
            self._transport.abort()
            return
        body = orjson.dumps(answer.document) if answer.raw is None else answer.raw
        headers = {"Content-Type": "application/json", **answer.headers}
        if self._desk.secret is not None:
            headers["X-Signature"] = signature(self._desk.secret, body)
        announced = len(body) if answer.announced is None else answer.announced
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, '')}\r\n{lines}Content-Length: {announced}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + body)
        if answer.announced is not None:
            self._transport.close()


async def serve(directory: Path, port: int, secret: bytes | None) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    desk = Desk(Book(directory), secret)
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", port)
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    ready = {
        "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "pid": os.getpid(),
        "ledger": str(desk.book.ledger_path),
        "refused": str(desk.book.refused_path),
    }
    print(json.dumps(ready), flush=True)
    await is_over.wait()
    server.close()


def main() -> None:
    """Run a venue from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.venue_server", description=serve.__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the ledger is kept")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    secret = os.environ.get("VENUE_SECRET")
    uvloop.run(serve(options.directory, options.port, secret.encode() if secret else None))


if __name__ == "__main__":
    main()
