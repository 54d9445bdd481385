"""One connection to a venue over HTTP/1.1: a request leaves in one piece, and its answer is read whole.

llhttp reads it, the parser of Node.js, as it does at our own door.
"""

import asyncio
import select
import ssl
from collections.abc import Callable, Mapping
from typing import Final, cast

import httptools
import msgspec

KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which common servers close an idle connection: an order sent down a dying one is unknown."""

MOST_HEADERS: Final = 256
"""Of one answer. Those of a name are joined anew with each more of them: half a million take seconds."""


class BrokenError(Exception):
    """There is no answer that can be used; the text says why."""


class Received(msgspec.Struct, frozen=True):
    """An answer, complete."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes


class HttpConnection(asyncio.Protocol):
    """Opened by the first call; for one at a time. After a failed one it must be closed."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        """Args:
        host: A name or an address.
        port: Of TCP.
        tls: None speaks plainly.
        """
        self._host = host
        self._port = port
        self._tls = tls
        self._parser = httptools.HttpResponseParser(self)
        # As RFC 9112 (2.2) allows: small servers that people write by hand end lines so.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Received] | None = None
        self._longest = 0
        self._came = 0
        """Bytes since the request left."""
        self._status = 0
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._is_head = False
        """Whether what comes is an answer's head."""
        self._body = bytearray()
        self._ends_with_connection = False
        self._is_over = False
        """Whether no further call may use it."""
        self._idle_since_s = 0.0

    async def exchange(
        self, request: bytes, leave: Callable[[], None], *, longest: int, until_s: float
    ) -> Received:
        """Send a request and return its answer.

        Args:
            request: All of it.
            leave: Called right before the first byte leaves; where it raises, none does.
            longest: Bytes of the answer's body; a longer one counts as broken.
            until_s: When to give up, by the loop's clock.

        Raises:
            BrokenError, OSError: There is no answer; TimeoutError where none came in time.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
            async with asyncio.timeout_at(until_s):
                await loop.create_connection(lambda: self, self._host, self._port, ssl=self._tls)
        transport = self._transport
        if transport is None or self._is_over or transport.is_closing():
            raise BrokenError("the venue has closed the connection")
        if loop.time() >= until_s:
            # The process stood still since it began: nobody would wait for the answer.
            raise TimeoutError
        self._longest, self._came = longest, 0
        waiting = self._waiting = loop.create_future()
        # Costs a third of a time-out that cancels this task.
        late = loop.call_at(until_s, self._fail, TimeoutError())
        try:
            leave()
            transport.write(request)
            received: Received = await waiting
        finally:
            late.cancel()
            self._waiting = None
        self._idle_since_s = loop.time()
        return received

    def is_fresh(self) -> bool:
        """Tell whether another call may use it: nothing came that nobody asked for, and it did not stand idle for long."""
        loop, transport = self._loop, self._transport
        if loop is None:
            return True
        if transport is None or self._is_over or transport.is_closing():
            return False
        return loop.time() - self._idle_since_s < KEEP_ALIVE_S and not _has_news(transport)

    def close(self) -> None:
        """Close it, whatever is under way; again is harmless."""
        self._is_over = True
        if self._transport is not None:
            # What is left to be sent belongs to nobody, and a venue that does not read it must not keep it open.
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the way out."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own is none by its type

    def data_received(self, data: bytes) -> None:
        """Read on in the answer."""
        waiting = self._waiting
        if waiting is None or waiting.done():
            self.close()
            return
        self._came += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(BrokenError(f"what came is no answer: {error.__context__ or error}"))
        # Twice: its head, and what stands around each piece of a body.
        if self._came > 2 * self._longest or len(self._body) > self._longest:
            self._fail(BrokenError(f"the answer is longer than {self._longest} bytes"))

    def eof_received(self) -> bool:
        """Take note that nothing more comes."""
        self._end("the venue has closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that it is gone."""
        if exc is not None:
            self._fail(BrokenError(str(exc) or repr(exc)))
        self._end("the connection is gone")

    def on_message_begin(self) -> None:
        """Begin another answer."""
        if self._waiting is None or self._waiting.done():
            self._is_over = True  # another answer, to nothing
        self._headers, self._ends_with_connection = {}, False
        self._header_count, self._is_head = 0, True
        self._body.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep one header; several of a name count as one, and those behind a body for nothing."""
        if not self._is_head:
            return
        self._header_count += 1
        if self._header_count > MOST_HEADERS:
            raise BrokenError(f"more than {MOST_HEADERS} headers")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """Keep the status."""
        self._is_head = False
        self._status = self._parser.get_status_code()
        headers = self._headers
        self._ends_with_connection = "content-length" not in headers and "transfer-encoding" not in headers

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._body += body

    def on_message_complete(self) -> None:
        """Hand the answer over, unless the proper one is still to come."""
        self._ends_with_connection = False
        if self._status < 200:
            return
        self._is_over |= not self._parser.should_keep_alive()
        self._hand_over()

    def _hand_over(self) -> None:
        if self._waiting is not None and not self._waiting.done() and len(self._body) <= self._longest:
            self._waiting.set_result(Received(self._status, self._headers, bytes(self._body)))

    def _end(self, words: str) -> None:
        self._is_over = True
        if self._ends_with_connection:
            self._hand_over()
        self._fail(BrokenError(words))

    def _fail(self, error: Exception) -> None:
        self._is_over = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)


def _has_news(transport: asyncio.Transport) -> bool:
    # The venue may have closed it while the loop was busy: then the end is still with the system.
    raw = transport.get_extra_info("socket")
    if raw is None:
        return True
    poll = select.poll()
    poll.register(raw.fileno(), select.POLLIN)
    return bool(poll.poll(0))
