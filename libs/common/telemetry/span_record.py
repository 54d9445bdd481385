"""A finished span, as the process that made it hands it to the one that exports it."""

from typing import Final

import msgspec

AttributeValue = str | bool | int | float

INTERNAL: Final = 0
SERVER: Final = 1
CLIENT: Final = 2
PRODUCER: Final = 3
CONSUMER: Final = 4
"""Kinds, numbered as `opentelemetry.trace.SpanKind` is."""


class SpanRecord(msgspec.Struct, frozen=True, array_like=True):
    """One span; the ids are hexadecimal texts."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    """Empty at a root."""
    has_remote_parent: bool
    """Whether the parent is another process's."""
    started_at_ns: int
    """Nanoseconds since the epoch."""
    ended_at_ns: int
    attributes: dict[str, AttributeValue]
    links: tuple[tuple[str, str], ...]
    """Trace id and span id of others that led to it."""
    has_failed: bool


class Hello(msgspec.Struct, frozen=True):
    """The first thing an exporter is told."""

    service: str
    version: str
    instance: str


class Report(msgspec.Struct, frozen=True):
    """What became of one batch."""

    exported: int
    failed: int
    words: str
    """Why they failed; empty where they did not."""
