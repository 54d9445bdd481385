"""The service's side of its exporter: a bounded queue of finished spans, and the process that they are handed to.

Nothing here waits. What the exporter does not take stays in the queue, and what the queue does not hold is dropped and
counted.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from libs.common.telemetry.frames import Unframer, frame, frame_of_array
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.span_metrics import EXPORTER_LOST, NOT_EXPORTED, QUEUE_FULL, SpanMetrics
from libs.common.telemetry.span_record import Hello, Report
from libs.common.telemetry.tracing_settings import TracingSettings

CLOSE_WITHIN_S: Final = 2.0
"""For the last spans, at the end of a drain."""

RESTART_S: Final = 5.0
"""Between the end of an exporter and the start of the next."""

COMMAND: Final = (sys.executable, "-m", "libs.common.telemetry.span_exporter")

MAX_IN_FLIGHT: Final = 2
"""Batches that the exporter has and has not reported on: one that it exports, and the next."""

_RECEIVE_BYTES: Final = 65_536
_PASSED_ON: Final = frozenset({
    "LANG", "PATH", "HOME", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
})  # fmt: skip
_PREFIXES_PASSED_ON: Final = ("OTEL_", "PYTHON", "LC_", "GRPC_")

log = get_logger()


class SpanQueue:
    """Takes packed spans and has them exported."""

    def __init__(
        self,
        settings: TracingSettings,
        hello: Hello,
        environ: Mapping[str, str],
        metrics: SpanMetrics,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Args:
        settings: How much may wait, and for how long.
        hello: Who we are.
        environ: What the exporter is configured by; it gets none of our secrets.
        metrics: Count what becomes of spans.
        command: Of the exporter.
        """
        self._settings = settings
        self._hello = frame(msgspec.msgpack.encode(hello))
        self._environ = {name: value for name, value in environ.items() if _is_passed_on(name.upper())}
        self._metrics = metrics
        self._command = tuple(command)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[bytes] = deque()
        self._max_waiting, self._batch = settings.queue, settings.batch
        self._delay_s = settings.delay_ms / 1_000
        self._timer: asyncio.TimerHandle | None = None
        self._channel: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._unframer = Unframer()
        self._outgoing = memoryview(b"")
        self._is_blocked = False
        self._in_flight: deque[int] = deque()
        """The sizes of the batches that the exporter has, or is being sent, and has not reported on."""
        self._is_told_all = False
        self._is_closing = False
        self._ended = asyncio.Event()
        self._is_failing = False
        self._is_full = False

    def start(self) -> None:
        """Start the exporter."""
        ours, its = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environ,
            )
        except OSError as error:
            ours.close()
            log.warning("span_exporter_not_started", error=str(error))
            self._loop.call_later(RESTART_S, self._restart)
            return
        finally:
            its.close()
        ours.setblocking(False)
        self._channel, self._unframer = ours, Unframer()
        self._is_told_all = False
        self._ended.clear()
        self._outgoing = memoryview(self._hello)
        self._loop.add_reader(ours, self._read)
        self._send()

    def put(self, span: bytes) -> None:
        """Take one span; drop it where too many wait."""
        waiting = self._waiting
        if len(waiting) >= self._max_waiting:
            self._overflow()
            return
        waiting.append(span)
        if self._timer is None:
            self._timer = self._loop.call_later(self._delay_s, self._due)
        if len(waiting) == self._batch:
            self._send()  # those behind a full flight leave with its report

    async def aclose(self) -> None:
        """Have the last spans exported, and end the exporter; give up after a while."""
        self._is_closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self._channel is not None:
            self._send()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._ended.wait()
        self._let_go()
        if lost := len(self._waiting):
            self._metrics.dropped(NOT_EXPORTED, lost)
            log.warning("spans_lost", spans=lost)

    def _due(self) -> None:
        self._timer = None
        self._send()

    def _overflow(self) -> None:
        self._metrics.dropped(QUEUE_FULL)
        if not self._is_full:
            self._is_full = True
            log.warning("span_queue_full", spans=self._max_waiting)

    def _send(self) -> None:
        """Send what there is, as far as the exporter takes it."""
        channel = self._channel
        if channel is None or self._is_blocked:
            return
        try:
            while self._outgoing or (self._waiting and len(self._in_flight) < MAX_IN_FLIGHT):
                if not self._outgoing:
                    self._board()
                sent = channel.send(self._outgoing)
                self._outgoing = self._outgoing[sent:]
            if self._is_closing and not self._waiting and not self._is_told_all:
                self._is_told_all = True
                channel.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            self._is_blocked = True
            self._loop.add_writer(channel, self._writable)
        except OSError:
            self._lose()

    def _board(self) -> None:
        waiting = self._waiting
        batch = [waiting.popleft() for _ in range(min(len(waiting), self._batch))]
        self._in_flight.append(len(batch))
        self._outgoing = memoryview(frame_of_array(batch))

    def _writable(self) -> None:
        assert self._channel is not None
        self._loop.remove_writer(self._channel)
        self._is_blocked = False
        self._send()

    def _read(self) -> None:
        assert self._channel is not None
        try:
            data = self._channel.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        for message in self._unframer.feed(data):
            self._note(msgspec.msgpack.decode(message, type=Report))
        # What waits for company may go on doing so.
        if self._is_closing or len(self._waiting) >= self._batch:
            self._send()
        elif self._waiting and self._timer is None:
            self._timer = self._loop.call_later(self._delay_s, self._due)

    def _note(self, report: Report) -> None:
        if report.exported or report.failed:
            self._in_flight.popleft()
        if report.exported:
            self._metrics.exported(report.exported)
            # Said again only after it was well again.
            self._is_full = self._is_full and len(self._waiting) >= self._max_waiting // 2
        if report.failed:
            self._metrics.dropped(NOT_EXPORTED, report.failed)
        is_failing = bool(report.words)
        if is_failing and not self._is_failing:
            log.warning("spans_not_exported", endpoint=self._settings.endpoint, error=report.words)
        elif self._is_failing and not is_failing:
            log.info("spans_exported_again")
        self._is_failing = is_failing

    def _lose(self) -> None:
        """Take note that the exporter has ended."""
        self._let_go()
        self._ended.set()
        if not self._is_closing:
            log.warning("span_exporter_ended", again_in_s=RESTART_S)
            self._loop.call_later(RESTART_S, self._restart)

    def _let_go(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            self._loop.remove_reader(channel)
            self._loop.remove_writer(channel)
            channel.close()
        self._is_blocked = False
        self._outgoing = memoryview(b"")
        if lost := sum(self._in_flight):
            self._metrics.dropped(EXPORTER_LOST, lost)
        self._in_flight.clear()
        if self._process is not None:
            # It has nothing more to do, or is past its time.
            self._process.kill()
            self._process.wait()
            self._process = None

    def _restart(self) -> None:
        if not self._is_closing:
            self.start()


def _is_passed_on(name: str) -> bool:
    return name in _PASSED_ON or name.startswith(_PREFIXES_PASSED_ON)
