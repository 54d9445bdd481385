"""What log lines of a worker say about the alert that they are written for."""

from collections.abc import Mapping

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import market_of
from libs.common.store.following import FollowedOrder
from libs.common.store.head import Head, Held
from libs.common.telemetry.subject import (
    ACCOUNT,
    ALERT_ID,
    ELAPSED_MS,
    STRATEGY,
    SYMBOL,
    TRACE_ID,
    instruction_fields,
)
from libs.common.wire import codec
from libs.common.wire.trace_context import read_traceparent


class HeadSubject(msgspec.Struct, frozen=True):
    """The head of a lane, from when it was handed out."""

    held: Held
    head: Head
    clock: Clock
    at_ms: int
    """Monotonic; when the head's own `now_ms` was true."""

    def log_fields(self) -> Mapping[str, object]:
        """Return the fields of its lines; what cannot be read of it is not known."""
        head, market = self.head, market_of(self.held.lane)
        elapsed_ms = head.now_ms - head.admitted_at_ms + self.clock.monotonic_ms() - self.at_ms
        return instruction_fields(head.alert_id, head.account, market, head.body, elapsed_ms)


class FollowedSubject(msgspec.Struct, frozen=True):
    """A resting order, from when it was claimed."""

    order: FollowedOrder
    clock: Clock
    at_ms: int
    """Monotonic; when the order's own `now_ms` was true."""

    def log_fields(self) -> Mapping[str, object]:
        """Return the fields of its lines; of an alert whose record is gone the symbol is the venue's."""
        order, strategy, symbol = self.order, None, str(self.order.market)
        try:
            content = codec.ALERT.decode(order.alert).content
        except StoreCorrupt:
            pass
        else:
            strategy, symbol = content.strategy, content.symbol
        began_at_ms = order.admitted_at_ms or order.signed_at_ms
        fields: dict[str, object] = {
            ALERT_ID: order.alert_id,
            ACCOUNT: order.account,
            STRATEGY: strategy,
            SYMBOL: symbol,
            ELAPSED_MS: max(0, order.now_ms - began_at_ms + self.clock.monotonic_ms() - self.at_ms),
        }
        if (context := read_traceparent(order.traceparent)) is not None:
            fields[TRACE_ID] = context.trace_id
        return fields
