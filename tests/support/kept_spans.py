"""Where tests' spans go: a list."""

from dataclasses import dataclass, field

import msgspec

from libs.common.telemetry.span_record import SpanRecord


@dataclass
class Kept:
    """Keeps what it is given."""

    spans: list[SpanRecord] = field(default_factory=list)

    def put(self, span: bytes) -> None:
        """Take one finished span."""
        self.spans.append(msgspec.msgpack.decode(span, type=SpanRecord))
