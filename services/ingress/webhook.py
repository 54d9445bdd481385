"""A post to a webhook: from a request to an honest answer, within the deadline."""

import asyncio
from time import perf_counter
from typing import assert_never

from starlette.types import Receive, Scope, Send

from libs.common.domain.alert import AlertContent
from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.store.intake import (
    Admitted,
    Conflict,
    Duplicate,
    Intake,
    LaneFull,
    MemoryFull,
    Throttled,
    Verdict,
)
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.tracing import end_admitted, end_broken, note_alert, note_sender, start_post
from libs.common.web.body import SenderGone, read_body
from libs.common.web.headers import header
from libs.common.wire.dialects.catalogue import in_senders_words
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.masking import Masker
from services.ingress.answers import send_admitted, send_duplicate
from services.ingress.deadlines import Deadlines, Post
from services.ingress.door import Door
from services.ingress.fresh_ids import FreshIds
from services.ingress.hook import Hook
from services.ingress.proof import Senders
from services.ingress.refusals import Refusals


class WebhookEndpoint:
    """Takes posts to webhooks; plain ASGI, since every layer between costs speed."""

    def __init__(
        self,
        *,
        door: Door,
        intake: Intake,
        refusals: Refusals,
        senders: Senders,
        metrics: IngressMetrics,
        clock: Clock,
        ids: FreshIds,
        deadline_ms: int,
        tracer: Tracer = OFF,
        links_traceparent: bool = False,
    ) -> None:
        """Args:
        door: Closed while Redis has not been found fit.
        intake: Makes alerts durable.
        refusals: Answers what is not taken.
        senders: Tells where posts come from.
        metrics: Count and time the posts.
        clock: Stamps alerts, and tells when their time is over.
        ids: For alerts.
        deadline_ms: From the start of a request to its verdict at the latest.
        tracer: Makes the spans of posts.
        links_traceparent: Whether they are linked to what senders name.
        """
        self._door = door
        self._intake = intake
        self._refusals = refusals
        self._senders = senders
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._deadlines = Deadlines(deadline_ms, clock)
        self._tracer = tracer
        self._links_traceparent = links_traceparent

    async def take(self, hook: Hook, scope: Scope, receive: Receive, send: Send, *, token: str = "") -> None:
        """Answer one post to a webhook; `token` is what its URL was found by."""
        started_s = perf_counter()
        post = self._deadlines.watch()
        post.token = token
        if self._tracer.is_on:
            post.span = start_post(self._tracer, hook.name, is_named=hook.is_named)
        try:
            try:
                verdict = await self._admit(hook, post, scope, receive)
            finally:
                self._deadlines.forget(post)
            await self._answer(send, verdict, post)
        except AdmissionError as error:
            await self._refusals.answer(send, error, hook, post, scope)
        except asyncio.CancelledError:
            if not post.has_expired:
                raise
            post.carry_on()
            await self._refusals.answer(send, _too_late(post.body), hook, post, scope)
        except (StoreUnavailable, StoreCorrupt) as error:
            await self._refusals.answer(send, not_durable(error), hook, post, scope)
        except SenderGone:
            self._metrics.abandoned()
            return
        except Exception as error:
            if post.has_proved_itself:
                end_broken(post.span, error)
            raise
        self._metrics.answered(perf_counter() - started_s)

    async def _admit(self, hook: Hook, post: Post, scope: Scope, receive: Receive) -> Verdict:
        if hook.checks_address:
            check_address(hook, self._senders, scope)
        body = post.body = await read_body(scope, receive, hook.webhook.max_body_bytes)
        if hook.is_gone:
            raise not_durable()
        text = text_of(body)
        document = recognise(
            body, header(scope, b"content-type") or "", hook.webhook.dialect, hook.webhook.options
        )
        post.secrets, post.dialect = document.secrets, document.dialect
        now_ms = self._clock.now_ms()
        hook.proofs.check(document, body, scope, self._senders, now_ms)
        post.has_proved_itself = True
        masker = hook.masker_for(hook.secrets_of(document, text, post.token, now_ms, has_proved_itself=True))
        content = read_unexposed(document, masker)
        masked = masker.mask_json(text)
        alert_id, span = self._ids.alert_id(now_ms), post.span
        admission = hook.admission(alert_id, content, masked, now_ms, span.context)
        if span.is_kept:
            note_alert(span, alert_id, content.symbol, content.strategy)
            if self._links_traceparent:
                note_sender(span, header(scope, b"traceparent"))
        if not self._door.is_open:
            raise StoreUnavailable(self._door.reason)
        flight = self._intake.admissions.submit(admission)
        try:
            return await flight
        except asyncio.CancelledError:
            # The deadline and the verdict may come in the same turn of the loop: then the verdict counts.
            if post.has_expired and flight.done() and not flight.cancelled():
                post.carry_on()
                return flight.result()
            raise

    async def _answer(self, send: Send, verdict: Verdict, post: Post) -> None:
        match verdict:
            case Admitted(alert_id):
                self._metrics.admitted()
                await send_admitted(send, alert_id)
                if post.span.is_kept:
                    end_admitted(post.span)
            case Duplicate(alert_id):
                self._metrics.duplicate()
                await send_duplicate(send, alert_id)
                if post.span.is_kept:
                    end_admitted(post.span, alert_id)
            case Conflict(alert_id):
                detail = (
                    f"the alert's id was given to another body before: alert {alert_id}; nothing was done"
                )
                raise in_senders_words(AdmissionError(409, "id_conflict", detail, field="id"), post.dialect)
            case Throttled(retry_after_ms):
                detail = "more alerts than the rate of this webhook lets in"
                raise AdmissionError(429, "too_many", detail, retry_after_s=-(-retry_after_ms // 1_000))
            case MemoryFull():
                raise self._door.memory_refusal()
            case LaneFull(lane, waiting):
                raise self._door.lane_refusal(lane, waiting)
            case _:
                assert_never(verdict)


def check_address(hook: Hook, senders: Senders, scope: Scope) -> None:
    """Return where a post comes from an address that its webhook takes posts from.

    Raises:
        AdmissionError: 403, it does not.
    """
    address = senders.address(scope)
    if not hook.takes_from(address):
        came = "an address that cannot be told" if address is None else str(address)
        raise AdmissionError(
            403, "address_refused", f"the post came from {came}, from where this webhook takes none"
        )


def text_of(body: bytes) -> str:
    """Return a body as text.

    Raises:
        AdmissionError: 400, it is not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise AdmissionError(400, "not_utf8", f"byte {error.start} of the body is not UTF-8") from error


def read_unexposed(document: Document, masker: Masker) -> AlertContent:
    """Return what a document means, if nothing that will be shown holds a secret.

    Raises:
        AdmissionError: 422, it is not valid.
    """
    content = document.read()
    symbol, sender_id, strategy = content.symbol, content.sender_id, content.strategy
    exchange, interval = content.exchange, content.interval
    if masker.is_shown_by(f"{symbol}\n{sender_id}\n{strategy}\n{exchange}\n{interval}"):
        named = {
            "symbol": symbol,
            "id": sender_id,
            "strategy": strategy,
            "exchange": exchange,
            "interval": interval,
        }
        field = next((name for name, value in named.items() if value and masker.is_shown_by(value)), "symbol")
        detail = f'"{field}" holds a credential, which would be stored and shown with it'
        refusal = AdmissionError(422, "credential_in_field", detail, field=field)
        raise in_senders_words(refusal, content.dialect)
    return content


def not_durable(cause: BridgeError | None = None) -> AdmissionError:
    """Return the answer to an alert that Redis did not take."""
    detail = "the alert could not be made durable in time: send it again"
    refusal = AdmissionError(503, "not_durable", detail, retry_after_s=1)
    # Our own troubles are for the log, not for the sender.
    refusal.__cause__ = cause
    return refusal


def _too_late(body: bytes | None) -> AdmissionError:
    if body is None:
        return AdmissionError(408, "body_too_slow", "the body did not come in time")
    return not_durable()
