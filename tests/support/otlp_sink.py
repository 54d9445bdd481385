"""A stand-in for a collector: takes spans over OTLP/HTTP, on a port of its own."""

import asyncio
import gzip
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.ports import free_port

KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
ERROR: Final = 2

_ANSWER: Final = b"HTTP/1.1 %d Word\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"


@dataclass(frozen=True)
class Received:
    """One span as it came."""

    resource: dict[str, Any]
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    has_failed: bool
    started_at_ns: int
    ended_at_ns: int

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


class OtlpSink:
    """Runs in a thread of its own; as a context manager it runs while the block does."""

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.status = 200
        """What it answers from now on; 0: nothing, ever."""
        self.bodies: list[bytes] = []
        """All that was posted, as it came but for compression."""
        self.headers: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that have a service export here, soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def spans(self, **attributes: Any) -> list[Received]:
        """Return the spans so far, in the order of their start, that have these attributes of ours."""
        wanted = {f"bascule.{name}": value for name, value in attributes.items()}
        found = [span for body in list(self.bodies) for span in spans_of(body)]
        return sorted(
            (span for span in found if wanted.items() <= span.attributes.items()),
            key=lambda span: span.started_at_ns,
        )

    def _take(self, head: str, body: bytes) -> int:
        if self.status == 200:
            self.headers.append(head)
            is_packed = "content-encoding: gzip" in head.lower()
            self.bodies.append(gzip.decompress(body) if is_packed else body)
        return self.status

    async def _listen(self) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._take), "127.0.0.1", self.port
        )

    async def _stop(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()


class Connection(asyncio.Protocol):
    """Reads requests with a length, and answers each with nothing but a status."""

    def __init__(self, take: Callable[[str, bytes], int]) -> None:
        self._take = take
        self._buffer = bytearray()
        self._wanted = 0
        """Bytes until the request is complete; 0 while its headers are not."""
        self._head_length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._is_complete():
            head = self._buffer[: self._head_length].decode("latin-1")
            body = bytes(self._buffer[self._head_length : self._wanted])
            del self._buffer[: self._wanted]
            self._wanted = 0
            if status := self._take(head, body):
                self._transport.write(_ANSWER % status)

    def _is_complete(self) -> bool:
        if not self._wanted:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._head_length = end + 4
            lines = bytes(self._buffer[:end]).lower().split(b"\r\n")
            length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
            self._wanted = self._head_length + length
        return len(self._buffer) >= self._wanted


def spans_of(body: bytes) -> list[Received]:
    """Return the spans in one request."""
    return [
        Received(
            resource=_values(group.resource.attributes),
            name=span.name,
            kind=KINDS[span.kind],
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_values(span.attributes),
            links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            has_failed=span.status.code == ERROR,
            started_at_ns=span.start_time_unix_nano,
            ended_at_ns=span.end_time_unix_nano,
        )
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Sequence[Any]) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
