"""The span of a post, which an alert's trace begins with."""

from collections.abc import Iterable
from typing import Final

from libs.common.telemetry.span_record import SERVER
from libs.common.telemetry.spans import Span, Tracer
from libs.common.telemetry.tracing import ALERT_ID, DECLINED, OUTCOME, REASON, STRATEGY, SYMBOL, WEBHOOK
from libs.common.wire.trace_context import read_traceparent

_POSTED: Final = ("POST /webhook", "/webhook")
_POSTED_TO_NAMED: Final = ("POST /hooks/{token}", "/hooks/{token}")
_STATUS: Final = "http.response.status_code"


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


def note_declined(span: Span, declined: Iterable[tuple[str, str]]) -> None:
    """Note which accounts do not take an alert: each with its reason."""
    span.set(DECLINED, " ".join(f"{account}={reason}" for account, reason in declined) or None)


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
