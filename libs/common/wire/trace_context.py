"""Trace contexts: which trace an alert belongs to, as W3C `traceparent` texts carry it from process to process."""

import re
from typing import Final

import msgspec

_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_VERSION_0: Final = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII)
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_SAMPLED: Final = 1

_STORED: Final = re.compile(rb'"traceparent":"([0-9a-f-]{55})"')
_REPLAYED: Final = re.compile(rb'"replay_of":"([0-9a-f-]{55})"')


class TraceContext(msgspec.Struct, frozen=True):
    """One span, as those after it name it."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 of them."""
    is_sampled: bool

    @property
    def traceparent(self) -> str:
        """Return it as a text."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.is_sampled else '00'}"


def read_traceparent(text: str) -> TraceContext | None:
    """Return what a `traceparent` names; None where it is none.

    Source:
        W3C Trace Context, level 1: versions after 00 may append fields, all-zero ids are invalid.
    """
    found = _TRACEPARENT.fullmatch(text)
    if found is None or (text.startswith("00") and not _VERSION_0.fullmatch(text)):
        return None
    trace_id, span_id, flags = found[1], found[2], found[3]
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def stored_context(body: bytes) -> TraceContext | None:
    """Return the context in an encoded instruction, which need not be readable otherwise; None where it has none."""
    return _stored(_STORED, body)


def replayed_context(body: bytes) -> TraceContext | None:
    """Return the context that an encoded instruction had before it was replayed; None where it never was."""
    return _stored(_REPLAYED, body)


def _stored(pattern: re.Pattern[bytes], body: bytes) -> TraceContext | None:
    # Within a text of the sender's the quotes would be escaped.
    found = pattern.search(body)
    return None if found is None else read_traceparent(found[1].decode())
