"""Every span and its attributes, declared once.

Names follow the messaging conventions of OpenTelemetry where there are any (1.44, experimental); what is ours begins
with `bascule.`. An alert is one trace:

    SERVER    POST /webhook       ingress   begins the trace; an inbound `traceparent` is at most a link
    CONSUMER  process alerts      worker    child of the post, and linked to it; one each time the lane comes to it
    CLIENT    place_order paper   worker    child of that; one for each question to the venue
    CLIENT    find_order paper    worker    child of the post: a look-up that found news of a resting order
    INTERNAL  reclaim alerts      reaper    child of the post, and linked to it
    PRODUCER  replay alerts       command   begins a new trace, linked to the post; what follows is its child

No span holds a credential, a body, or words of a sender or a venue but the symbol and the strategy, and posts are
refused that hold a credential there.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from libs.common.telemetry.span_record import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    SERVER,
    AttributeValue,
    SpanRecord,
)
from libs.common.telemetry.spans import Span, Tracer, clipped, current_span, within
from libs.common.wire.trace_context import read_traceparent, replayed_context, stored_context

ALERT_ID: Final = "bascule.alert_id"
WEBHOOK: Final = "bascule.webhook"
ACCOUNT: Final = "bascule.account"
SYMBOL: Final = "bascule.symbol"
"""As sent."""
MARKET: Final = "bascule.market"
"""What the venue calls the symbol."""
STRATEGY: Final = "bascule.strategy"
CLIENT_ORDER_ID: Final = "bascule.client_order_id"
ATTEMPT: Final = "bascule.attempt"
"""At placing the order; from 1."""
QUEUE_WAIT_MS: Final = "bascule.queue_wait_ms"
"""From admission until a worker came to it, by Redis' clock."""
LOST_HOLDERS: Final = "bascule.lost_holders"
"""Workers that died or failed on it."""
OUTCOME: Final = "bascule.outcome"
"""`admitted`, `duplicate`, `refused`; the state it ended in, `parked`, `lost`; an order's state."""
REASON: Final = "bascule.reason"
"""The reason code of the outcome."""

_POSTED: Final = ("POST /webhook", "/webhook")
_POSTED_TO_NAMED: Final = ("POST /hooks/{token}", "/hooks/{token}")
_STATUS: Final = "http.response.status_code"
_MESSAGING: Final[dict[str, AttributeValue]] = {
    "messaging.system": "redis",
    "messaging.destination.name": "alerts",
}
_PROCESS: Final[dict[str, AttributeValue]] = {
    **_MESSAGING,
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.consumer.group.name": "workers",
}
_REPLAY: Final[dict[str, AttributeValue]] = {
    **_MESSAGING,
    "messaging.operation.name": "replay",
    "messaging.operation.type": "send",
}
_WELL: Final = frozenset({"EXECUTED", "SKIPPED"})


# ----------------------------------------------------------------------------------------------------------------------
# The ingress
# ----------------------------------------------------------------------------------------------------------------------


def start_post(tracer: Tracer, webhook: str, *, is_named: bool) -> Span:
    """Return the span of a post to a webhook.

    Args:
        tracer: Makes it.
        webhook: Its name.
        is_named: Whether its URL holds a token, of which nothing is noted.
    """
    name, route = _POSTED_TO_NAMED if is_named else _POSTED
    return tracer.start(
        name, SERVER, None, {"http.request.method": "POST", "http.route": route, WEBHOOK: webhook}
    )


def note_alert(span: Span, alert_id: str, symbol: str, strategy: str | None) -> None:
    """Note what a post is about, once it has proved itself."""
    span.set(ALERT_ID, alert_id)
    span.set(SYMBOL, symbol)
    span.set(STRATEGY, strategy)


def note_sender(span: Span, traceparent: str | None) -> None:
    """Link a post to the trace that its sender says it belongs to, where that is one."""
    context = None if traceparent is None else read_traceparent(traceparent)
    if context is not None:
        span.link(context)


def end_admitted(span: Span, alert_id: str | None = None) -> None:
    """End the span of a post that is answered 200; with the id of the first alert where it is a duplicate."""
    span.set(_STATUS, 200)
    if alert_id is None:
        span.set(OUTCOME, "admitted")
    else:
        span.set(OUTCOME, "duplicate")
        span.set(ALERT_ID, alert_id)
    span.end()


def end_refused(span: Span, status: int, code: str) -> None:
    """End the span of a post that is refused; a failure where it is ours."""
    span.set(_STATUS, status)
    span.set(OUTCOME, "refused")
    span.set(REASON, code)
    if status >= 500:
        span.fail(code)
    span.end()


def end_broken(span: Span, error: Exception) -> None:
    """End the span of a post that met an error which nobody expected."""
    span.fail(type(error).__name__)
    span.end()


# ----------------------------------------------------------------------------------------------------------------------
# The worker
# ----------------------------------------------------------------------------------------------------------------------


def processing(
    tracer: Tracer, body: bytes, alert_id: str, account: str, *, queue_wait_ms: int, lost_holders: int
) -> AbstractContextManager[Span]:
    """Make the span of one execution of an instruction the current one.

    Args:
        tracer: Makes it.
        body: The encoded instruction.
        alert_id: Of its alert.
        account: That it is for.
        queue_wait_ms: See `QUEUE_WAIT_MS`.
        lost_holders: See `LOST_HOLDERS`.
    """
    attributes = {**_PROCESS, ALERT_ID: alert_id, ACCOUNT: account, QUEUE_WAIT_MS: queue_wait_ms}
    if lost_holders:
        attributes[LOST_HOLDERS] = lost_holders
    parent = stored_context(body)
    span = tracer.start("process alerts", CONSUMER, parent, attributes)
    if parent is not None:
        span.link(parent)
        if (replayed := replayed_context(body)) is not None:
            span.link(replayed)
    return within(span)


def note_instruction(market: str, strategy: str | None) -> None:
    """Note what the current instruction trades."""
    span = current_span()
    span.set(MARKET, market)
    span.set(STRATEGY, strategy)


def note_attempt(attempt: int) -> None:
    """Note which attempt at its order the current instruction makes."""
    current_span().set(ATTEMPT, attempt)


def note_ended(state: str, reason: str) -> None:
    """Note how the current instruction ended; a failure where it leaves a dead letter."""
    span = current_span()
    span.set(OUTCOME, state)
    span.set(REASON, reason)
    if state not in _WELL:
        span.fail(reason)


def note_parked(reason: str) -> None:
    """Note that the current instruction has to wait."""
    span = current_span()
    span.set(OUTCOME, "parked")
    span.set(REASON, reason)


def note_lost() -> None:
    """Note that the lane of the current instruction turned out to be another's."""
    current_span().set(OUTCOME, "lost")


def calling(
    tracer: Tracer, operation: str, venue: str, account: str, market: str | None, order: str | None
) -> AbstractContextManager[Span | None]:
    """Make a span of a question to a venue, where the current one is of an alert and kept; else nothing.

    Args:
        tracer: Makes it.
        operation: What is asked.
        venue: The kind of broker.
        account: That is asked for.
        market: What it is about; None: no single one.
        order: The client order id it is about, if any.
    """
    asker = current_span()
    if not asker.is_kept:
        return nullcontext()
    attributes = clipped({ACCOUNT: account, MARKET: market, CLIENT_ORDER_ID: order})
    for name in (ALERT_ID, ATTEMPT, STRATEGY):
        if (value := asker.get(name)) is not None:
            attributes[name] = value
    return within(tracer.start(f"{operation} {venue}", CLIENT, asker.context, attributes, is_remote=False))


def start_following(
    tracer: Tracer, traceparent: str, venue: str, alert_id: str, account: str, market: str, order: str
) -> Span:
    """Return the span of a look-up of a resting order; to be ended where there is news of it."""
    attributes = clipped({ALERT_ID: alert_id, ACCOUNT: account, MARKET: market, CLIENT_ORDER_ID: order})
    return tracer.start(f"find_order {venue}", CLIENT, read_traceparent(traceparent), attributes)


# ----------------------------------------------------------------------------------------------------------------------
# The reaper, and operators
# ----------------------------------------------------------------------------------------------------------------------


def note_reclaim(tracer: Tracer, traceparent: str, alert_id: str, account: str, lost_holders: int) -> None:
    """Record that an instruction was taken from a worker that is gone."""
    parent = read_traceparent(traceparent)
    attributes = {**clipped({ALERT_ID: alert_id, ACCOUNT: account}), LOST_HOLDERS: lost_holders}
    span = tracer.start("reclaim alerts", INTERNAL, parent, attributes)
    if parent is not None:
        span.link(parent)
    span.set(OUTCOME, "reclaimed")
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
