"""Spans as an OTLP request, byte for byte what the SDK would send.

A fifth of the time that the SDK takes, which goes through a message object for every attribute of every span: what
spans say of themselves repeats, so its bytes are kept.

Source:
    opentelemetry-proto 1.x, `trace.proto`, `common.proto`, `resource.proto`; the wire format of Protocol Buffers.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from libs.common.telemetry.span_record import AttributeValue, SpanRecord

MAX_KEPT: Final = 4_096
"""Attributes of texts of one length, and of numbers, whose bytes are kept."""

_TIMES: Final = struct.Struct("<BQBQ").pack
_TIMES_TAGS: Final = (0x39, 0x41)
_DOUBLE: Final = struct.Struct("<Bd").pack
_LOCAL: Final = b"\x85\x01\x00\x01\x00\x00"
_REMOTE: Final = b"\x85\x01\x00\x03\x00\x00"
_LINK_FLAGS: Final = b"\x35\x00\x03\x00\x00"
_WELL: Final = b"\x7a\x00"
_FAILED: Final = b"\x7a\x02\x18\x02"


def _varint(number: int) -> bytes:
    """Return an unsigned number as seven bits a byte, least first; a negative one as its 64-bit complement."""
    number &= 0xFFFF_FFFF_FFFF_FFFF
    if number < 0x80:
        return bytes((number,))
    found = bytearray()
    while number >= 0x80:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _nested(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(content)) + content


def _text(tag: int, text: str) -> bytes:
    return _nested(tag, text.encode("utf-8", "replace"))


def _attribute(tag: int, key: str, value: AttributeValue) -> bytes:
    if isinstance(value, str):
        content = _text(0x0A, value)
    elif isinstance(value, bool):
        content = b"\x10\x01" if value else b"\x10\x00"
    elif isinstance(value, int):
        content = b"\x18" + _varint(value)
    else:
        content = _DOUBLE(0x21, value)
    return _nested(tag, _text(0x0A, key) + _nested(0x12, content))


class Encoder:
    """Encodes the spans of one process."""

    def __init__(self, resource: Mapping[str, AttributeValue], scope: str, version: str) -> None:
        """Args:
        resource: What the spans are of.
        scope: What made them.
        version: Of that.
        """
        self._resource = _nested(
            0x0A, b"".join(_attribute(0x0A, key, value) for key, value in resource.items())
        )
        self._scope = _nested(0x0A, _text(0x0A, scope) + _text(0x12, version))
        self._starts: dict[tuple[str, int], bytes] = {}
        self._numbers: dict[tuple[str, AttributeValue, type], bytes] = {}
        self._heads: dict[tuple[str, int], bytes] = {}

    def encode(self, records: Sequence[SpanRecord]) -> bytes:
        """Return a request that holds these spans."""
        spans = [self._scope]
        for record in records:
            span = self._span(record)
            spans += (b"\x12", _varint(len(span)), span)
        return _nested(0x0A, self._resource + _nested(0x12, b"".join(spans)))

    def _span(self, record: SpanRecord) -> bytes:
        parts = [b"\x0a\x10", bytes.fromhex(record.trace_id), b"\x12\x08", bytes.fromhex(record.span_id)]
        if record.parent_id:
            parts += (b"\x22\x08", bytes.fromhex(record.parent_id))
        parts.append(self._head(record.name, record.kind))
        parts.append(_TIMES(_TIMES_TAGS[0], record.started_at_ns, _TIMES_TAGS[1], record.ended_at_ns))
        starts = self._starts
        for key, value in record.attributes.items():
            if isinstance(value, str):
                text = value.encode("utf-8", "replace")
                parts += (starts.get((key, len(text))) or self._start(key, len(text)), text)
            else:
                parts.append(self._number(key, value))
        parts += [_link(trace, span) for trace, span in record.links]
        parts.append(_FAILED if record.has_failed else _WELL)
        parts.append(_REMOTE if record.has_remote_parent else _LOCAL)
        return b"".join(parts)

    def _start(self, key: str, length: int) -> bytes:
        """Return all of a text's attribute but the text: identifiers come and go, their lengths do not."""
        if len(self._starts) >= MAX_KEPT:
            self._starts.clear()
        whole = _attribute(0x4A, key, "x" * length)
        found = self._starts[key, length] = whole[: len(whole) - length]
        return found

    def _number(self, key: str, value: bool | int | float) -> bytes:
        # 1, 1.0 and True are the same key, and not the same bytes; nor are 0.0 and -0.0.
        known = (key, value or str(value), value.__class__)
        found = self._numbers.get(known)
        if found is None:
            if len(self._numbers) >= MAX_KEPT:
                self._numbers.clear()
            found = self._numbers[known] = _attribute(0x4A, key, value)
        return found

    def _head(self, name: str, kind: int) -> bytes:
        found = self._heads.get((name, kind))
        if found is None:
            # Names are few, and kinds count from 1 here.
            found = self._heads[name, kind] = _text(0x2A, name) + b"\x30" + _varint(kind + 1)
        return found


def _link(trace_id: str, span_id: str) -> bytes:
    return _nested(
        0x6A, b"\x0a\x10" + bytes.fromhex(trace_id) + b"\x12\x08" + bytes.fromhex(span_id) + _LINK_FLAGS
    )
