"""The least HTTP server, for what stands at the other end of the product: requests in, prepared bytes out."""

import asyncio
import http.client
import signal
import time
from collections.abc import Callable
from typing import Any

import httptools
import orjson

Handler = Callable[["Request"], None]
"""Called with each request; answers it now or later with `Request.answer`."""


class Request:
    """One request as it came."""

    def __init__(self, transport: asyncio.Transport, arrived_ns: int) -> None:
        self._transport = transport
        self.arrived_ns = arrived_ns
        """Since the epoch: when its first bytes were handed to this process."""
        self.method = ""
        self.target = ""
        self.body = b""

    def answer(self, status: int, body: bytes = b"") -> None:
        """Answer, unless the sender has gone."""
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % (status, len(body)) + body)


class Connection(asyncio.Protocol):
    """A kept-alive connection with one request under way at a time."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._request: Any = None
        self._arrived_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._request is None:
            self._arrived_ns = time.time_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._request = Request(self._transport, self._arrived_ns)

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._request.body += body

    def on_message_complete(self) -> None:
        request, self._request = self._request, None
        request.method = self._parser.get_method().decode("ascii")
        self._handle(request)


async def serve(handle: Handler, port: int) -> None:
    """Listen on a port of 127.0.0.1, say so with a line on stdout, and return at SIGTERM."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(handle), "127.0.0.1", port)
    stopping = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    print("ready", flush=True)
    await stopping.wait()
    server.close()


def ask(port: int, method: str, path: str, document: object = None) -> Any:
    """Send one request to such a server and return the JSON of its answer.

    Raises:
        RuntimeError: The answer is not 200.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, orjson.dumps(document))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{method} {path} was answered {answer.status}: {body!r}")
        return orjson.loads(body) if body else None
    finally:
        connection.close()
