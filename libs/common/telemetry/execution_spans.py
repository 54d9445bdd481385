"""The spans of an instruction's execution, and of what a broker is asked for it."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from libs.common.telemetry.span_record import CLIENT, CONSUMER, AttributeValue
from libs.common.telemetry.spans import Span, Tracer, clipped, current_span, within
from libs.common.telemetry.tracing import (
    ACCOUNT,
    ALERT_ID,
    ATTEMPT,
    CLIENT_ORDER_ID,
    LOST_HOLDERS,
    MARKET,
    MESSAGING,
    OUTCOME,
    QUEUE_WAIT_MS,
    REASON,
    STRATEGY,
    SYMBOL,
)
from libs.common.wire.trace_context import read_traceparent, replayed_context, stored_context

_PROCESS: Final[dict[str, AttributeValue]] = {
    **MESSAGING,
    "messaging.operation.name": "process",
    "messaging.operation.type": "process",
    "messaging.consumer.group.name": "workers",
}
_WELL: Final = frozenset({"EXECUTED", "SKIPPED"})


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


def note_instruction(symbol: str, market: str, strategy: str | None) -> None:
    """Note what the current instruction trades: as sent, and as its venue calls it."""
    span = current_span()
    span.set(SYMBOL, symbol)
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
