"""The spans of what befalls an instruction outside a worker: reclaimed, expired where it waits, replayed."""

from typing import Final

from libs.common.telemetry.span_record import INTERNAL, PRODUCER, AttributeValue, SpanRecord
from libs.common.telemetry.spans import Span, Tracer, clipped
from libs.common.telemetry.tracing import (
    ACCOUNT,
    ALERT_ID,
    LOST_HOLDERS,
    MARKET,
    MESSAGING,
    OUTCOME,
    REASON,
)
from libs.common.wire.trace_context import TraceContext, read_traceparent

_REPLAY: Final[dict[str, AttributeValue]] = {
    **MESSAGING,
    "messaging.operation.name": "replay",
    "messaging.operation.type": "send",
}


def note_reclaim(tracer: Tracer, post: TraceContext, alert_id: str, account: str, lost_holders: int) -> None:
    """Record that an instruction was taken from a worker that is gone."""
    attributes = {**clipped({ALERT_ID: alert_id, ACCOUNT: account}), LOST_HOLDERS: lost_holders}
    span = _start_linked(tracer, "reclaim alerts", post, attributes)
    span.set(OUTCOME, "reclaimed")
    span.end()


def note_expired(tracer: Tracer, post: TraceContext, alert_id: str, account: str, market: str) -> None:
    """Record that an instruction became too old behind a head that waits; a failure, since it leaves a dead letter."""
    attributes = clipped({ALERT_ID: alert_id, ACCOUNT: account, MARKET: market})
    span = _start_linked(tracer, "expire alerts", post, attributes)
    span.set(OUTCOME, "EXPIRED")
    span.set(REASON, "too_old")
    span.fail("too_old")
    span.end()


def replay_record(
    traceparent: str, replay_of: str, alert_id: str, account: str, started_at_ns: int, ended_at_ns: int
) -> SpanRecord | None:
    """Return the span of a replay, which the new trace of its instruction begins with; None where it is not kept.

    Args:
        traceparent: That it was given.
        replay_of: The one before.
        alert_id: Of its alert.
        account: That it is for.
        started_at_ns: Nanoseconds since the epoch.
        ended_at_ns: The same.
    """
    context, before = read_traceparent(traceparent), read_traceparent(replay_of)
    if context is None or not context.is_sampled:
        return None
    return SpanRecord(
        name="replay alerts",
        kind=PRODUCER,
        trace_id=context.trace_id,
        span_id=context.span_id,
        parent_id="",
        has_remote_parent=False,
        started_at_ns=started_at_ns,
        ended_at_ns=ended_at_ns,
        attributes={**_REPLAY, ALERT_ID: alert_id, ACCOUNT: account, OUTCOME: "replayed"},
        links=() if before is None else ((before.trace_id, before.span_id),),
        has_failed=False,
    )


def _start_linked(
    tracer: Tracer, name: str, post: TraceContext, attributes: dict[str, AttributeValue]
) -> Span:
    """Return a span that is a child of the post, and linked to it."""
    span = tracer.start(name, INTERNAL, post, attributes)
    span.link(post)
    return span
