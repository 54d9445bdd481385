"""A tap on the line between one process and Redis or a venue: it counts every request, and strikes at one."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import tempfile
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.sweep.wire import WHOLE, Language

_CHUNK: Final = 65_536
_HOLD_S: Final = 5.0
"""For how long a late message is held, unless its process gives up before: above every time-out there is."""
_DIGITS: Final = re.compile(rb"\d+")


class Kind(StrEnum):
    """What becomes of a request."""

    CUT_BEFORE = "cut before"
    """The connection is reset, and the request never arrives."""
    CUT_AFTER = "cut after"
    """It is executed; then the connection is reset instead of the reply."""
    LATE_REQUEST = "late request"
    """It is held until its process gives up, and executed then: nobody hears the reply."""
    LATE_REPLY = "late reply"
    """It is executed; its reply is held until its process gives up."""
    REFUSED = "refused"
    """It is answered with an error, and never arrives."""
    KILL_BEFORE = "kill before"
    """Its process dies, and the request never arrives."""
    KILL_AFTER = "kill after"
    """It is executed; then its process dies before the reply."""


BEFORE: Final = frozenset({Kind.CUT_BEFORE, Kind.LATE_REQUEST, Kind.REFUSED, Kind.KILL_BEFORE})
KILLS: Final = frozenset({Kind.KILL_BEFORE, Kind.KILL_AFTER})


@dataclass(frozen=True)
class Outcome:
    """What becomes of a request, and by which word it is refused."""

    kind: Kind
    word: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.word}".strip()


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong once."""

    process: str
    name: str
    """Of the request; see `Language.name`."""
    nth: int
    """Which one since it was armed, from 1."""
    outcome: Outcome
    any_reply: bool = False
    """Whether a reply that says that there was nothing to do counts too."""


@dataclass
class Switch:
    """What the taps of one bridge share: what they have seen, and the fault that is armed.

    Written to by the thread of the taps alone, but for `arm` and the two recordings.
    """

    idle: dict[tuple[str, str], set[bytes]]
    """By process and name, the replies with which a process that has nothing to do is answered, digits made 0."""
    fault: Fault | None = None
    has_fired: bool = False
    _is_learning: bool = False
    _asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    _worked: Counter[tuple[str, str]] = field(default_factory=Counter)

    def arm(self, fault: Fault | None) -> None:
        """Count from here on, and let a fault strike."""
        self.fault, self.has_fired = None, False
        self._asked, self._worked = Counter(), Counter()
        self.fault = fault

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Take what is answered meanwhile for answers to processes that have nothing to do."""
        self._is_learning = True
        try:
            yield
        finally:
            self._is_learning = False

    @property
    def worked(self) -> Counter[tuple[str, str]]:
        """Return how many requests there were since the last `arm`, but for those with an idle reply."""
        return Counter(self._worked)

    def on_request(self, process: str, name: str) -> Outcome | None:
        """Count a request; return what becomes of it instead of being sent on."""
        self._asked[process, name] += 1
        return self._strike(process, name, self._asked, lambda kind: kind in BEFORE)

    def on_reply(self, process: str, name: str, reply: bytes) -> Outcome | None:
        """Count an executed request; return what becomes of its reply instead of being sent on."""
        plain = _DIGITS.sub(b"0", reply)
        if self._is_learning:
            self.idle.setdefault((process, name), set()).add(plain)
        if reply.startswith(b"-NOSCRIPT"):
            return None  # nothing was executed: the script follows, whole
        counts_all = self.fault is not None and self.fault.any_reply
        if not counts_all and plain in self.idle.get((process, name.removesuffix(WHOLE)), ()):
            return None
        self._worked[process, name] += 1
        return self._strike(process, name, self._worked, lambda kind: kind not in BEFORE)

    def _strike(
        self, process: str, name: str, counts: Counter[tuple[str, str]], fits: Callable[[Kind], bool]
    ) -> Outcome | None:
        fault = self.fault
        if fault is None or self.has_fired or (fault.process, fault.name) != (process, name):
            return None
        if not fits(fault.outcome.kind) or counts[process, name] != fault.nth:
            return None
        self.has_fired = True
        return fault.outcome


class Line:
    """The thread in which taps run: tests wait in theirs, and processes must be answered meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="taps", daemon=True)
        self._thread.start()

    def do(self, work: Any) -> Any:
        """Run a coroutine there, and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def close(self) -> None:
        """End the thread; the taps must be closed."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@dataclass
class _Asked:
    """A request whose reply is due."""

    name: str
    canned: bytes | None = None
    """What it is answered without having been sent on."""


class _Pair:
    """A connection of the process and the one to the server that goes with it."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.client = client
        self.server = server
        self.due: deque[_Asked] = deque()
        self.is_gone = asyncio.Event()
        """Set once the process has closed its side."""

    def reset(self) -> None:
        raw = self.client.get_extra_info("socket")
        if raw is not None and raw.family == socket.AF_INET:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.transport.abort()
        self.server.transport.abort()


class Tap:
    """Forwards whole messages between one process and a server.

    Args:
        process: What the process is called.
        upstream: `unix:///path`, or a URL with host and port; `url` has the same form.
        language: How they talk.
        switch: Told of every request.
        line: Where it runs.
        pid: The process's id now; None while there is none.
    """

    def __init__(
        self,
        process: str,
        upstream: str,
        language: Language,
        switch: Switch,
        line: Line,
        pid: Callable[[], int | None],
    ) -> None:
        self._process = process
        self._upstream = urlsplit(upstream)
        self._language = language
        self._switch = switch
        self._line = line
        self._pid = pid
        self._directory: Path | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        if self._upstream.scheme == "unix":
            # Directly under /tmp: a socket's path may have 107 bytes.
            self._directory = Path(tempfile.mkdtemp(prefix="bascule-tap-", dir="/tmp"))
            self.url = f"unix://{self._directory}/tap.sock"
        else:
            self._port = free_port()
            self.url = f"{self._upstream.scheme}://127.0.0.1:{self._port}{self._upstream.path}"
        line.do(self._listen())

    def close(self) -> None:
        """Close every connection and stop listening."""
        self._line.do(self._shut())
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _listen(self) -> None:
        if self._directory is not None:
            self._server = await asyncio.start_unix_server(self._serve, str(self._directory / "tap.sock"))
        else:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
        for pair in list(self._pairs):
            pair.reset()
        # Not cancelled: with both its sides reset each comes to its end.
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self._upstream.scheme == "unix":
                back, forth = await asyncio.open_unix_connection(self._upstream.path)
            else:
                back, forth = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        except OSError:
            writer.transport.abort()
            return
        pair = _Pair(writer, forth)
        self._pairs.add(pair)
        directions = [
            asyncio.ensure_future(self._requests(reader, pair)),
            asyncio.ensure_future(self._replies(back, pair)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            self._pairs.discard(pair)
            for side in (pair.client, pair.server):
                side.close()

    async def _requests(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        try:
            async for request in _messages(reader, self._language.request_end):
                name = self._language.name(request)
                outcome = self._switch.on_request(self._process, name)
                if outcome is None:
                    pair.due.append(_Asked(name))
                    pair.server.write(request)
                elif outcome.kind is Kind.REFUSED:
                    pair.due.append(_Asked(name, self._language.refusals[outcome.word]))
                    self._answer_canned(pair)
                elif outcome.kind is Kind.LATE_REQUEST:
                    # Its process sends nothing more before the reply: what is read next is the end.
                    with contextlib.suppress(TimeoutError, OSError):
                        await asyncio.wait_for(reader.read(_CHUNK), _HOLD_S)
                    pair.server.write(request)
                    return
                else:
                    self._end(pair, outcome)
                    return
        finally:
            pair.is_gone.set()

    async def _replies(self, reader: asyncio.StreamReader, pair: _Pair) -> None:
        async for reply in _messages(reader, self._language.reply_end):
            asked = pair.due.popleft()
            outcome = self._switch.on_reply(self._process, asked.name, reply)
            if outcome is not None and outcome.kind is Kind.LATE_REPLY:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(pair.is_gone.wait(), _HOLD_S)
            elif outcome is not None:
                self._end(pair, outcome)
                return
            pair.client.write(reply)
            self._answer_canned(pair)

    def _answer_canned(self, pair: _Pair) -> None:
        """Send the replies that are made here, as far as it is their turn."""
        while pair.due and (reply := pair.due[0].canned) is not None:
            pair.due.popleft()
            pair.client.write(reply)

    def _end(self, pair: _Pair, outcome: Outcome) -> None:
        """Strike: kill the process or not, and reset the connection."""
        if outcome.kind in KILLS and (pid := self._pid()) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        pair.reset()


async def _messages(reader: asyncio.StreamReader, end_of: Callable[[bytes, int], int | None]) -> Any:
    """Yield whole messages until the other side has closed."""
    held = b""
    while True:
        try:
            chunk = await reader.read(_CHUNK)
        except OSError:
            return
        if not chunk:
            return
        held += chunk
        while held and (end := end_of(held, 0)) is not None:
            yield held[:end]
            held = held[end:]
