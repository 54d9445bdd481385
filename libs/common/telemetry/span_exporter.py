"""Exports the spans of one service: `python -m libs.common.telemetry.span_exporter`, started by that service alone.

A process of its own: encoding spans costs more than all that an ingress does with an alert, and would take turns with
it at one interpreter. It holds nothing back: while a collector is away it reads nothing, and the service's own queue
fills and drops.

Stdin is a socket: in come a `Hello` and then batches of `SpanRecord`, out goes a `Report` on each batch. It ends when
its service does, and not by a signal: whoever stops both at once would lose the last spans.
"""

import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from typing import Any, Final, Protocol, cast

import msgspec
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from libs.common.telemetry.frames import Unframer, frame
from libs.common.telemetry.otlp_bytes import Encoder
from libs.common.telemetry.span_record import AttributeValue, Hello, Report, SpanRecord
from libs.common.telemetry.tracing_settings import GRPC, tracing_settings

MAX_WORDS_LENGTH: Final = 300

SCOPE: Final = "bascule"
"""What makes the spans; also the namespace of the services."""

_RECEIVE_BYTES: Final = 1 << 18
_KEPT: Final = TraceFlags(TraceFlags.SAMPLED)
_KINDS: Final = tuple(SpanKind)
_WELL: Final = Status(StatusCode.UNSET)
_FAILED: Final = Status(StatusCode.ERROR)


class LastWords(logging.Handler):
    """Remembers what the SDK said last, since a service logs it once and in its own form."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Remember one message."""
        self.words = " ".join(record.getMessage().split())[:MAX_WORDS_LENGTH]


def resource_of(hello: Hello) -> Resource:
    """Return what the spans are of; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word."""
    ours = Resource.create(
        {
            "service.namespace": SCOPE,
            "service.name": hello.service,
            "service.version": hello.version,
            "service.instance.id": hello.instance,
        }
    )
    return ours.merge(OTELResourceDetector().detect())


def readable(record: SpanRecord, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Return a span as the SDK exports it."""
    trace_id = int(record.trace_id, 16)
    parent = (
        SpanContext(trace_id, int(record.parent_id, 16), record.has_remote_parent, _KEPT)
        if record.parent_id
        else None
    )
    return ReadableSpan(
        name=record.name,
        context=SpanContext(trace_id, int(record.span_id, 16), is_remote=False, trace_flags=_KEPT),
        parent=parent,
        resource=resource,
        attributes=record.attributes,
        links=[
            Link(SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=_KEPT))
            for trace, span in record.links
        ],
        kind=_KINDS[record.kind],
        instrumentation_scope=scope,
        status=_FAILED if record.has_failed else _WELL,
        start_time=record.started_at_ns,
        end_time=record.ended_at_ns,
    )


def cause_in_words(error: BaseException) -> str:
    """Return what lies at the bottom of an error that libraries have wrapped."""
    seen = {id(error)}
    while True:
        under = [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
        found = next((one for one in under if isinstance(one, BaseException) and id(one) not in seen), None)
        if found is None:
            text = " ".join(str(error).split())
            return f"{type(error).__name__}: {text}" if text else type(error).__name__
        seen.add(id(found))
        error = found


class Way(Protocol):
    """How spans reach a collector."""

    def export(self, records: Sequence[SpanRecord]) -> str | None:
        """Send spans; return why they were not taken, None where they were. Empty: the SDK may have said why."""
        ...

    def shutdown(self) -> None:
        """Close connections."""
        ...


class OverHttp:
    """By the SDK's exporter, with its variables, retries and connections, but in bytes that are cheaper to make."""

    def __init__(self, resource: Resource, version: str) -> None:
        """Args:
        resource: What the spans are of.
        version: Of this software.
        """
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        self._exporter: Any = OTLPSpanExporter()
        # There is no public way to send what is encoded already; all parts of the SDK are pinned to one release.
        self._client = self._exporter._client  # noqa: SLF001
        self._encoder = Encoder(cast("dict[str, AttributeValue]", resource.attributes), SCOPE, version)

    def export(self, records: Sequence[SpanRecord]) -> str | None:
        """Send spans; return why they were not taken, None where they were."""
        result: Any = self._client.export(self._encoder.encode(records))
        if result.success:
            return None
        # The SDK itself says no more of the last of several tries than that they were several.
        if result.status_code:
            return f"it answered {result.status_code} {result.reason or ''}".rstrip()
        return "" if result.error is None else cause_in_words(result.error)

    def shutdown(self) -> None:
        """Close connections."""
        self._exporter.shutdown()


class OverGrpc:
    """By the SDK's exporter alone."""

    def __init__(self, resource: Resource, version: str) -> None:
        """Args:
        resource: What the spans are of.
        version: Of this software.
        """
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        self._exporter: SpanExporter = OTLPSpanExporter()
        self._resource = resource
        self._scope = InstrumentationScope(SCOPE, version)

    def export(self, records: Sequence[SpanRecord]) -> str | None:
        """Send spans; return nothing but whether they were taken: the SDK says why not."""
        spans = [readable(record, self._resource, self._scope) for record in records]
        return None if self._exporter.export(spans) is SpanExportResult.SUCCESS else ""

    def shutdown(self) -> None:
        """Close connections."""
        self._exporter.shutdown()


class Exporting:
    """Exports batches, and says what became of them."""

    def __init__(self, hello: Hello, protocol: str, last: LastWords) -> None:
        """Args:
        hello: Whose spans.
        protocol: See `TracingSettings`.
        last: What the SDK says.
        """
        resource = resource_of(hello)
        self._way: Way = (OverGrpc if protocol == GRPC else OverHttp)(resource, hello.version)
        self._last = last

    def export(self, records: Sequence[SpanRecord]) -> Report:
        """Export one batch, and return what became of it."""
        self._last.words = ""
        try:
            why_not = self._way.export(records)
        except Exception as error:  # noqa: BLE001 - the outermost loop: the next batch may fare better
            return Report(0, len(records), repr(error)[:MAX_WORDS_LENGTH])
        if why_not is None:
            return Report(len(records), 0, "")
        words = why_not or self._last.words or "the collector did not take them"
        return Report(0, len(records), words[:MAX_WORDS_LENGTH])

    def shutdown(self) -> None:
        """Close connections."""
        self._way.shutdown()


def export_one(record: SpanRecord, hello: Hello, protocol: str, within_s: float) -> None:
    """Export one span from a process that is about to end; nobody is told where that fails.

    Args:
        record: The span.
        hello: Whose it is.
        protocol: See `TracingSettings`.
        within_s: How long to wait for the collector, seconds.
    """
    # What the SDK says of a collector that is away belongs into no command's output.
    last, sdk = LastWords(), logging.getLogger("opentelemetry")
    sdk.handlers, sdk.propagate = [last], False

    def export() -> None:
        Exporting(hello, protocol, last).export([record])

    thread = threading.Thread(target=export, daemon=True)
    thread.start()
    thread.join(within_s)


def run(channel: socket.socket) -> None:
    """Export what comes until the other side closes."""
    last = LastWords()
    root = logging.getLogger()
    root.handlers = [last]
    settings = tracing_settings(os.environ)
    assert settings is not None, "started without an endpoint"
    pack = msgspec.msgpack.Encoder().encode
    batches = msgspec.msgpack.Decoder(list[SpanRecord])
    unframer, exporting = Unframer(), None
    while data := channel.recv(_RECEIVE_BYTES):
        for message in unframer.feed(data):
            if exporting is None:
                hello = msgspec.msgpack.decode(message, type=Hello)
                exporting = Exporting(hello, settings.protocol, last)
                continue
            channel.sendall(frame(pack(exporting.export(batches.decode(message)))))
    if exporting is not None:
        exporting.shutdown()


def main() -> None:
    """Run on stdin."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=0) as channel:
        try:
            run(channel)
        except OSError:  # a service that is gone reads no reports
            return
        except Exception as error:  # noqa: BLE001 - the outermost loop: its service says it in its own log
            words = Report(0, 0, f"the exporter failed: {error!r}"[:MAX_WORDS_LENGTH])
            channel.sendall(frame(msgspec.msgpack.encode(words)))


if __name__ == "__main__":
    main()
