"""A fast HTTP/1.1 client for tests: kept-alive connections, one request at a time on each, and never a retry."""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httptools
import orjson

NO_ANSWER: Final = 0
"""The status of a request that got none."""


@dataclass(frozen=True)
class Answer:
    """What became of one request. Unpacks into status and body."""

    status: int
    """`NO_ANSWER` when the connection failed or the time ran out."""
    body: Any
    """The decoded JSON; the bytes where it is none; None without an answer."""
    elapsed_s: float
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    error: str = ""
    """Why there is no answer."""

    def __iter__(self) -> Any:
        yield self.status
        yield self.body


class ConnectionLost(Exception):
    """The connection failed before the answer was complete."""


class Connection(asyncio.Protocol):
    """One connection, kept alive. Use `Connection.open`."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._parser: Any = None
        self._future: asyncio.Future[tuple[int, bytes, dict[str, str]]] | None = None
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._host = ""
        self.is_open = False

    @classmethod
    async def open(cls, url: str, timeout_s: float = 5.0) -> Self:
        """Connect to the origin of `url`, `http` or `https` (unverified)."""
        parts = urlsplit(url)
        context = None
        if parts.scheme == "https":
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        port = parts.port or (443 if context else 80)
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(cls, parts.hostname or "127.0.0.1", port, ssl=context)
        _, connection = await asyncio.wait_for(connecting, timeout_s)
        connection._host = parts.netloc
        return connection

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 10.0,
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send one request and return status, body and headers (lower-case names).

        Raises:
            ConnectionLost: The connection failed.
            TimeoutError: The answer took too long; the connection is closed.
        """
        if not self.is_open:
            raise ConnectionLost("closed")
        assert self._future is None, "one request at a time"
        self._parser = httptools.HttpResponseParser(self)
        self._body, self._headers = bytearray(), {}
        self._future = asyncio.get_running_loop().create_future()
        lines = {"Host": self._host, "Content-Length": str(len(body)), **(headers or {})}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._transport.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        try:
            async with asyncio.timeout(timeout_s):
                return await self._future
        except (TimeoutError, asyncio.CancelledError):
            self.close()
            raise
        finally:
            self._future = None

    def close(self) -> None:
        """Close it at once; whatever was under way is lost."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._future is not None and not self._future.done():
            self._future.set_exception(ConnectionLost(str(exc) if exc else "closed by the other side"))

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status: int = self._parser.get_status_code()
        if not self._parser.should_keep_alive():
            self.is_open = False
            self._transport.close()
        if self._future is not None and not self._future.done():
            self._future.set_result((status, bytes(self._body), self._headers))


async def send_on(
    connection: Connection | None,
    url: str,
    body: bytes,
    *,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10.0,
) -> tuple[Answer, Connection | None]:
    """Send one request, connecting if need be, and return its answer and the connection for the next one."""
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    started_s = time.monotonic()
    try:
        if connection is None or not connection.is_open:
            connection = await Connection.open(url, timeout_s)
        named = {"Content-Type": "application/json", **(headers or {})}
        status, raw, answered = await connection.request(method, target, body, named, timeout_s)
    except (ConnectionLost, OSError) as error:  # a TimeoutError is an OSError
        why = f"{type(error).__name__}: {error}"
        return Answer(NO_ANSWER, None, time.monotonic() - started_s, error=why), None
    return Answer(status, _decode(raw), time.monotonic() - started_s, answered), connection


async def post(
    url: str, document: Any, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0
) -> Answer:
    """Post a JSON document, or raw bytes, on a connection of its own."""
    answer, connection = await send_on(None, url, _encode(document), headers=headers, timeout_s=timeout_s)
    if connection is not None:
        connection.close()
    return answer


async def get(url: str, *, headers: Mapping[str, str] | None = None, timeout_s: float = 10.0) -> Answer:
    """Get a resource on a connection of its own."""
    answer, connection = await send_on(None, url, b"", method="GET", headers=headers, timeout_s=timeout_s)
    if connection is not None:
        connection.close()
    return answer


async def send_many(
    urls: str | Sequence[str],
    documents: Sequence[Any],
    connections: int = 16,
    *,
    rate_per_s: float | None = None,
    timeout_s: float = 10.0,
    lane_of: Callable[[Any], object] | None = None,
    on_answer: Callable[[int, Answer], None] | None = None,
) -> list[Answer]:
    """Post every document exactly once and return the answers in the order of the documents.

    Args:
        urls: Where to; connection i uses url i modulo their number.
        documents: JSON documents or raw bytes.
        connections: How many at once; a lost one is opened anew for the next document, never for the same.
        rate_per_s: Send at this pace instead of as fast as answers come.
        timeout_s: Bound on each answer.
        lane_of: Documents for which it returns the same go down one connection, each after the answer to the one
            before, so that they are accepted in the order of the list. Without it any free connection takes the next.
        on_answer: Called with the document's index and its answer as it comes.
    """
    targets = [urls] if isinstance(urls, str) else list(urls)
    answers: list[Answer | None] = [None] * len(documents)
    shared = iter(range(len(documents)))
    own: list[list[int]] = [[] for _ in range(connections)]
    if lane_of is not None:
        places: dict[object, int] = {}
        for index, document in enumerate(documents):
            place = places.setdefault(lane_of(document), len(places) % connections)
            own[place].append(index)
    started_s = time.monotonic()

    async def run(number: int) -> None:
        url, connection = targets[number % len(targets)], None
        for index in shared if lane_of is None else own[number]:
            if rate_per_s is not None:
                await asyncio.sleep(max(0.0, started_s + index / rate_per_s - time.monotonic()))
            body = _encode(documents[index])
            answer, connection = await send_on(connection, url, body, timeout_s=timeout_s)
            answers[index] = answer
            if on_answer is not None:
                on_answer(index, answer)
        if connection is not None:
            connection.close()

    await asyncio.gather(*(run(number) for number in range(connections)))
    return [answer for answer in answers if answer is not None]


def _encode(document: Any) -> bytes:
    return document if isinstance(document, bytes) else orjson.dumps(document)


def _decode(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw
