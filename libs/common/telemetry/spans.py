"""Spans as our own processes make them: cheap, and handed on as bytes.

Making a span with the SDK and encoding it costs an ingress as much as half an alert. So a span here is a few fields,
packed when it ends and queued; the SDK is loaded by the process that exports them alone, see `span_exporter.py`.
"""

import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from time import time_ns
from typing import Final, Protocol

import msgspec

from libs.common.telemetry.span_record import AttributeValue
from libs.common.telemetry.trace_sampler import ALWAYS, Sampler
from libs.common.wire.trace_context import TraceContext

MAX_TEXT_LENGTH: Final = 256
"""Of an attribute that a sender or a venue chose; the rest is cut off."""

_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16
_POOL_BYTES: Final = 12_288


class Sink(Protocol):
    """Takes finished spans, packed."""

    def put(self, span: bytes) -> None:
        """Take one; never blocks, and may drop it."""
        ...


class Span:
    """A span that is not kept: it only says which trace it would belong to."""

    __slots__ = ("context",)

    is_kept: bool = False

    def __init__(self, context: TraceContext | None) -> None:
        self.context = context
        """None where tracing is off."""

    def set(self, name: str, value: AttributeValue | None) -> None:
        """Note a fact; None is none."""

    def get(self, name: str) -> AttributeValue | None:  # noqa: ARG002
        """Return a fact that was noted."""
        return None

    def link(self, context: TraceContext) -> None:
        """Note another span that led to it."""

    def fail(self, kind: str) -> None:
        """Note that it failed, and by what kind of error, of a fixed set."""

    def end(self) -> None:
        """Hand it on; what is never ended is not kept."""


ERROR_TYPE: Final = "error.type"
NO_SPAN: Final = Span(None)


class KeptSpan(Span):
    """A span that is exported when it has ended."""

    __slots__ = (
        "_attributes",
        "_has_failed",
        "_is_remote",
        "_kind",
        "_links",
        "_name",
        "_parent",
        "_sink",
        "_started_at_ns",
    )

    is_kept = True

    def __init__(
        self,
        sink: Sink,
        name: str,
        kind: int,
        context: TraceContext,
        parent: TraceContext | None,
        attributes: dict[str, AttributeValue],
        is_remote: bool,
    ) -> None:
        self.context: TraceContext | None = context
        self._is_remote = is_remote
        self._sink = sink
        self._name = name
        self._kind = kind
        self._parent = parent
        self._attributes = attributes
        self._links: list[tuple[str, str]] = []
        self._has_failed = False
        self._started_at_ns = time_ns()

    def set(self, name: str, value: AttributeValue | None) -> None:
        """Note a fact; None is none."""
        if value is not None:
            # A name or word of ours may be an enumeration's; what is packed is a plain text.
            self._attributes[name] = value[:MAX_TEXT_LENGTH] if isinstance(value, str) else value

    def get(self, name: str) -> AttributeValue | None:
        """Return a fact that was noted."""
        return self._attributes.get(name)

    def link(self, context: TraceContext) -> None:
        """Note another span that led to it."""
        self._links.append((context.trace_id, context.span_id))

    def fail(self, kind: str) -> None:
        """Note that it failed, and by what kind of error, of a fixed set."""
        self._has_failed = True
        self._attributes[ERROR_TYPE] = kind

    def end(self) -> None:
        """Hand it on."""
        context, parent = self.context, self._parent
        assert context is not None
        self._sink.put(
            _pack(
                (
                    self._name,
                    self._kind,
                    context.trace_id,
                    context.span_id,
                    "" if parent is None else parent.span_id,
                    self._is_remote and parent is not None,
                    self._started_at_ns,
                    time_ns(),
                    self._attributes,
                    self._links,
                    self._has_failed,
                )
            )
        )


_pack: Final = msgspec.msgpack.Encoder().encode
"""As `SpanRecord` is packed."""


class Tracer:
    """Makes spans. This one is off: it makes none."""

    is_on: bool = False

    def start(
        self,
        name: str,  # noqa: ARG002
        kind: int,  # noqa: ARG002
        parent: TraceContext | None,  # noqa: ARG002
        attributes: dict[str, AttributeValue],  # noqa: ARG002
        *,
        is_remote: bool = True,  # noqa: ARG002
    ) -> Span:
        """Return a new span.

        Args:
            name: One of few: what it is about are its attributes.
            kind: As in `span_record.py`.
            parent: What led to it; None begins a trace of its own.
            attributes: What is known now. They become the span's.
            is_remote: Whether the parent is another process's.
        """
        return NO_SPAN


OFF: Final = Tracer()


class KeepingTracer(Tracer):
    """Makes spans of the traces that its sampler keeps."""

    is_on = True

    def __init__(self, sink: Sink, sampler: Sampler = ALWAYS) -> None:
        """Args:
        sink: Gets what is kept.
        sampler: Says what is kept.
        """
        self._sink = sink
        self._sampler = sampler
        self._digits = _digits()

    def start(
        self,
        name: str,
        kind: int,
        parent: TraceContext | None,
        attributes: dict[str, AttributeValue],
        *,
        is_remote: bool = True,
    ) -> Span:
        """Return a new span; see `Tracer`."""
        fresh = next(self._digits)
        trace_id = fresh[_SPAN_DIGITS:] if parent is None else parent.trace_id
        is_kept = self._sampler.keeps(trace_id, parent)
        context = TraceContext(trace_id, fresh[:_SPAN_DIGITS], is_kept)
        if not is_kept:
            return Span(context)
        return KeptSpan(self._sink, name, kind, context, parent, attributes, is_remote)


def _digits() -> Iterator[str]:
    """Yield random digits for one span's ids at a time, of which the system is asked for many at once: asking is dear."""
    step = _SPAN_DIGITS + _TRACE_DIGITS
    while True:
        pool = os.urandom(_POOL_BYTES).hex()
        for start in range(0, len(pool), step):
            yield pool[start : start + step]


_CURRENT: Final[ContextVar[Span]] = ContextVar("span", default=NO_SPAN)


def current_span() -> Span:
    """Return the span of what this task does now; one that is not kept where there is none."""
    return _CURRENT.get()


class within:  # noqa: N801 - used as a function is
    """Makes a span the current one of this task, and ends it; an exception is noted by its kind."""

    __slots__ = ("_before", "_span")

    def __init__(self, span: Span) -> None:
        self._span = span

    def __enter__(self) -> Span:
        self._before = _CURRENT.set(self._span)
        return self._span

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _CURRENT.reset(self._before)
        if kind is not None:
            self._span.fail(kind.__name__)
        self._span.end()


def clipped(facts: Mapping[str, str | None]) -> dict[str, AttributeValue]:
    """Return the texts among some facts, none longer than an attribute may be."""
    return {name: value[:MAX_TEXT_LENGTH] for name, value in facts.items() if value}
