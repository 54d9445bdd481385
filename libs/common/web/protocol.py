"""What one connection may ask of a server before anybody knows who it is.

uvicorn and its parser bound neither a head (request line and headers) nor the time it takes, nor the number of
requests sent ahead. A normal request pays nothing: what a connection owes is looked at twice a second, for all of them,
which also spares uvicorn's timer per request; and bytes are counted by what the network handed over.
"""

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from libs.common.domain import ids
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import EventId
from libs.common.web.connections import Connections
from libs.common.web.known_heads import Head, KnownHeads
from libs.common.web.problems import CLOSE, JSON, problem_body
from libs.common.web.whole_request import WholeRequest

if TYPE_CHECKING:
    from collections import deque

MAX_HEAD_BYTES: Final = 32_768
"""Of request line and headers. Twice what proxies let through by default."""

MAX_HEADERS: Final = 100

HEAD_S: Final = 3.0
"""The time for a head, from the opening of a connection or from the first byte of a later request; also for the rest
of a body whose request is answered already."""

UNREAD_S: Final = 10.0
"""How long answers may wait for somebody to take them."""

_PIECE_BYTES: Final = 4_096
"""Read at once. Larger, and one read could make thousands of requests that wait in memory."""

_ENTROPY_BYTES: Final = 10
_LINE_EXTRA_BYTES: Final = 4  # a colon, a space, the end of the line

TakeWhole = Callable[[WholeRequest], bool]
"""Takes a POST that came whole, or leaves it to the app: False."""


class Connecting:
    """Makes the protocol of each connection of a server, and has what they share."""

    def __init__(self, connections: Connections, take_whole: TakeWhole | None = None) -> None:
        """Args:
        connections: Their bounds.
        take_whole: Is asked ahead of the app; None leaves everything to the app.
        """
        self.connections = connections
        self.take_whole = take_whole
        self.heads = KnownHeads()
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._lines = b""

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> "Connection":
        """Return the protocol of a new connection; the arguments are uvicorn's."""
        return Connection(self, config, server_state, app_state, _loop)

    def lines_of(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Return headers as lines; the server makes a new list of them once a second."""
        if headers is not self._headers:
            self._headers = headers
            self._lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._lines


class Connection(HttpToolsProtocol):
    """uvicorn's protocol for one connection, with bounds."""

    def __init__(
        self,
        shared: Connecting,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._shared = shared
        self._all = shared.connections
        self.idle_since = 0
        """Which answer of the server it was that left nothing more to do; 0 while something is under way."""
        self._has_proved = False
        # Bytes since the last that was of a body or ended a request: those of a head, or of nothing at all.
        self._unplaced = 0
        # What came behind requests that wait for their turn.
        self._held = b""
        # Nothing more is read.
        self._is_over = False
        # The parser must not be fed from within: an answer may be given while it still parses.
        self._is_parsing = False
        # The body so far of a request that may come whole; None where it is the app's.
        self._body: bytes | None = None
        # Requests begun, and ended: where they are as many, the next byte begins another.
        self._begun = 0
        self._ended = 0
        # Of the newest that was parsed and came whole; None where the newest did not come whole.
        self._head: Head | None = None
        # What all requests say, and room for what each says.
        self._blank: dict[str, Any] = {}
        self.headers = []
        self._owed: tuple[str, object] | None = ("late", None)
        self._owed_since_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Start, if there is room."""
        super().connection_made(transport)
        self.flow = _Flow(transport, self.pipeline)
        self._owed_since_s = time.monotonic()
        self._blank = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            "headers": (),
            "state": {},
            "method": "POST",
            "path": "",
            "raw_path": b"",
            "query_string": b"",
        }
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._held = b""
        self._all.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came, in pieces."""
        if len(data) <= _PIECE_BYTES and not self._held:
            if not self._take_known(data):
                self._read(data)
            return
        self._held += data
        self._read_held()

    def on_message_begin(self) -> None:
        """Take the beginning of a request."""
        super().on_message_begin()
        self._begun += 1
        self._head = None

    def on_headers_complete(self) -> None:
        """Start the request, if its head is within bounds."""
        if len(self.headers) > MAX_HEADERS or (self._unplaced > MAX_HEAD_BYTES and self._is_head_too_large()):
            raise _HeadTooLarge
        # Trailers would be added to what the app takes for headers that a proxy has seen.
        self.headers = []
        if self._may_come_whole():
            self._body = b""
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._unplaced = 0
        if self._body is not None:
            self._body = self._body + body if self._body else body
            return
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """Take the end of a request."""
        self._unplaced = 0
        self._ended += 1
        if self._body is not None:
            self._take_parsed(self._body)
            return
        self._prove()
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def default_lines(self) -> bytes:
        """Return the header lines that all answers have."""
        return self._shared.lines_of(self.server_state.default_headers)

    def run_app(self, request: WholeRequest) -> None:
        """Let the app answer a request that came whole."""
        cycle = RequestResponseCycle(
            scope=request.scope,  # type: ignore[arg-type]  # uvicorn's type of it
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=request.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body += request.body
        cycle.more_body = False
        cycle.disconnected = request.disconnected
        cycle.message_event.set()
        if self._newest() is request:  # else another one waits behind it
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def on_response_complete(self) -> None:
        """Go on with what waited for its turn."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._held = b""
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.server_state.total_requests
        if self._held and not self._is_parsing:
            self._read_held()

    def look(self, now_s: float) -> None:
        """Close it, if it has owed the same thing for too long."""
        owed = self._what_it_owes()
        if owed is None or owed != self._owed:
            self._owed, self._owed_since_s = owed, now_s
            return
        what, _ = owed
        took_s = now_s - self._owed_since_s
        if what == "idle":
            if took_s >= self.timeout_keep_alive:
                self.transport.close()
        elif took_s >= (HEAD_S if what == "late" else UNREAD_S):
            self.close_early(what)

    def close_early(self, reason: str) -> None:
        """Close it at once, whatever is under way."""
        self._all.metrics.closed(reason)
        # The loop closes it in its next turn; until then it must not be counted or chosen again.
        self._all.closed(self)
        self.connections.discard(self)
        self.transport.abort()

    def _read_held(self) -> None:
        held, start = self._held, 0
        while start < len(held) and not self.pipeline and not self.transport.is_closing():
            self._read(held[start : start + _PIECE_BYTES])
            start += _PIECE_BYTES
        self._held = b"" if self.transport.is_closing() else held[start:]

    def _read(self, data: bytes) -> None:
        if self._is_over:
            return
        self.idle_since = 0
        self._unplaced += len(data)
        self._is_parsing = True
        begun, begins = self._begun, self._begun == self._ended
        try:
            self.parser.feed_data(data)
            if self._body is not None:
                self._leave_to_app(self._body)
            # What comes behind a last request begins none, and uvicorn has the parser pass over it: not that one's head.
            elif begins and self._begun == begun + 1 and self._head is not None:
                self._shared.heads.learn(data, self._head)
        except httptools.HttpParserUpgrade:
            # Nothing here is upgraded. What follows is not to be taken for another request.
            self._is_over = True
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            self._refuse(_too_large() if isinstance(error.__context__, _HeadTooLarge) else _unreadable())
            return
        finally:
            self._is_parsing = False
        if self._unplaced and (self._unplaced > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS):
            self._refuse(_too_large())

    def _may_answer(self) -> bool:
        """Tell whether nothing stands in the way of the answer to another request."""
        cycle = self._newest()
        return (cycle is None or cycle.response_complete) and not self.flow.write_paused

    def _may_come_whole(self) -> bool:
        """Tell whether what is left to come of a request is a body, and nothing stands in the way of its answer."""
        parser = self.parser
        return (
            self._shared.take_whole is not None
            and parser.get_method() == b"POST"
            and self._may_answer()
            and not self.expect_100_continue
            and not parser.should_upgrade()
            # As the path of an app it would read otherwise.
            and self.url.startswith(b"/")
            and b"%" not in self.url
            and b"?" not in self.url
            and b"#" not in self.url
            and self.url.isascii()
        )

    def _take_known(self, data: bytes) -> bool:
        """Take a post whose head was read before, and tell whether it was one."""
        if self._begun != self._ended or self._is_over or not self._may_answer():
            return False
        found = self._shared.heads.find(data)
        if found is None:
            return False
        self.idle_since = self._unplaced = 0
        self._take(*found)
        return True

    def _take_parsed(self, body: bytes) -> None:
        self._body = None
        version = self.parser.get_http_version()
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        headers = tuple(self.scope["headers"])
        self._head = Head(self.url, self.url.decode(), version, headers, keep_alive, len(body))
        self._take(self._head, body)

    def _take(self, head: Head, body: bytes) -> None:
        """Take a post that came whole."""
        self._prove()
        scope = self._blank.copy()
        scope["http_version"], scope["headers"] = head.http_version, head.headers
        scope["path"], scope["raw_path"] = head.path, head.url
        scope["state"] = self.app_state.copy()
        self.scope = scope  # type: ignore[assignment]  # uvicorn's type of it
        request = WholeRequest(self, scope, body, head.keep_alive)
        self.cycle = request  # type: ignore[assignment]  # it has what is asked of one
        take = self._shared.take_whole
        if take is None or not take(request):
            self.run_app(request)

    def _prove(self) -> None:
        if not self._has_proved:
            self._has_proved = True
            self._all.proved(self)

    def _leave_to_app(self, body: bytes) -> None:
        """Let the app read a request whose body has not come whole."""
        self._body = None
        super().on_headers_complete()
        if body:
            self.on_body(body)

    def _is_head_too_large(self) -> bool:
        lines = (len(name) + len(value) + _LINE_EXTRA_BYTES for name, value in self.headers)
        return len(self.url) + sum(lines) > MAX_HEAD_BYTES

    def _refuse(self, error: AdmissionError) -> None:
        self._is_over = True
        self._all.metrics.refused(error.code)
        cycle = self._newest()
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            # Requests before it were whole. They get their answers, and the last one's ends the connection.
            cycle.keep_alive = False
            return
        if cycle is None or cycle.response_complete or not cycle.response_started:
            at_ms = time.time_ns() // 1_000_000
            body = problem_body(error, EventId(ids.alert_id(at_ms, os.urandom(_ENTROPY_BYTES))))
            length = (b"content-length", b"%d" % len(body))
            headers = (*self.server_state.default_headers, JSON, length, CLOSE)
            lines = b"".join(b"%b: %b\r\n" % header for header in headers)
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[error.status], lines, body))
        self.transport.close()

    def _newest(self) -> RequestResponseCycle | WholeRequest | None:
        return self.cycle

    def _what_it_owes(self) -> tuple[str, object] | None:
        cycle = self._newest()
        if self.flow.write_paused or self.transport.is_closing():
            return "unread", cycle
        if cycle is None:
            return "late", None
        if not cycle.response_complete:
            return None
        # Half a head may have come before the answer.
        return ("idle" if self.idle_since and self.scope is cycle.scope else "late"), cycle


class _Flow(FlowControl):
    """Reads no further while requests wait for their turn, whoever asks."""

    def __init__(self, transport: asyncio.Transport, waiting: "deque[Any]") -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        if self.read_paused and not self._waiting:
            super().resume_reading()


class _HeadTooLarge(Exception):
    """Takes the parser out of a head."""


def _too_large() -> AdmissionError:
    detail = f"the request line and headers are more than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers"
    return AdmissionError(431, "headers_too_large", detail)


def _unreadable() -> AdmissionError:
    return AdmissionError(400, "invalid_http", "what came is not a request of HTTP/1.1")
