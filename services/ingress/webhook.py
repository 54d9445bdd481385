"""A post to a webhook: from a request to an honest answer, within the deadline."""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Final, assert_never

from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.store.intake import (
    Admitted,
    Conflict,
    Duplicate,
    LaneFull,
    MemoryFull,
    Throttled,
    Verdict,
)
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.post_spans import (
    end_admitted,
    end_broken,
    note_alert,
    note_declined,
    note_sender,
    start_post,
)
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.web.body import SenderGone, read_body, too_large
from libs.common.web.headers import header
from libs.common.web.whole_request import WholeRequest
from libs.common.wire.dialects.catalogue import in_senders_words
from libs.common.wire.dialects.recognition import recognise
from services.ingress.answers import (
    answer_admitted,
    answer_duplicate,
    send_admitted,
    send_duplicate,
)
from services.ingress.deadlines import Deadlines, Post
from services.ingress.fresh_ids import FreshIds
from services.ingress.gates import Gate, admit_to_each
from services.ingress.hook import Hook
from services.ingress.proof import Senders
from services.ingress.reading import check_address, not_durable, read_unexposed, text_of
from services.ingress.refusals import Refusals

ANSWER: Final = "bascule.answer"
"""Where the scope of a request that was taken whole says what answers it, now that its fate is known."""


class WebhookEndpoint:
    """Takes posts to webhooks: by a callback where they came whole, else plain ASGI; every layer between costs speed."""

    def __init__(
        self,
        *,
        gates: Sequence[Gate],
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
        gates: Make alerts durable, by the numbers of their shards.
        refusals: Answers what is not taken.
        senders: Tells where posts come from.
        metrics: Count and time the posts.
        clock: Stamps alerts, and tells when their time is over.
        ids: For alerts.
        deadline_ms: From the start of a request to its verdict at the latest.
        tracer: Makes the spans of posts.
        links_traceparent: Whether they are linked to what senders name.
        """
        self._gates = tuple(gates)
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
        post = Post(token)
        self._deadlines.watch_task(post)
        if self._tracer.is_on:
            post.span = start_post(self._tracer, hook.name, is_named=hook.is_named)
        try:
            try:
                if hook.checks_address:
                    check_address(hook, self._senders, scope)
                body = await read_body(scope, receive, hook.webhook.max_body_bytes)
                verdict = await self._verdict(post, self._submit(hook, post, scope, body))
            finally:
                self._deadlines.forget(post)
            await self._answer(send, verdict, hook, post)
        except asyncio.CancelledError:
            if not post.has_expired:
                raise
            post.carry_on()
            await self._refusals.answer(send, _too_late(post.body), hook, post, scope)
        except (AdmissionError, StoreUnavailable, StoreCorrupt) as error:
            await self._refusals.answer(send, _refusal_for(error), hook, post, scope)
        except SenderGone:
            self._metrics.abandoned()
            return
        except Exception as error:
            if post.has_proved_itself:
                end_broken(post.span, error)
            raise
        self._metrics.answered(perf_counter() - post.started_s)

    def take_whole(self, hook: Hook, request: WholeRequest, *, token: str = "") -> None:
        """Answer the same where head and body are there already, without a task: nearly every post."""
        post, scope, body = Post(token), request.scope, request.body
        if self._tracer.is_on:
            post.span = start_post(self._tracer, hook.name, is_named=hook.is_named)
        try:
            if hook.checks_address:
                check_address(hook, self._senders, scope)
            if len(body) > hook.webhook.max_body_bytes:
                raise too_large(f"{len(body)} bytes", hook.webhook.max_body_bytes)
            flight = self._submit(hook, post, scope, body)
        except (AdmissionError, StoreUnavailable) as error:
            self._refuse_whole(request, _refusal_for(error), hook, post)
            return
        self._deadlines.watch(post, flight)
        flight.add_done_callback(partial(self._conclude, request, hook, post))

    def _submit(self, hook: Hook, post: Post, scope: Scope, body: bytes) -> "asyncio.Future[Verdict]":
        post.body = body
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
        post.content = content
        masked = masker.mask_json(text)
        alert_id, span = self._ids.alert_id(now_ms), post.span
        post.alert_id = alert_id
        admission = hook.admission(alert_id, content, masked, now_ms, span.context)
        if span.is_kept:
            note_alert(span, alert_id, content.symbol, content.strategy)
            if declined := [(to.account, to.reason) for to in admission.routed if to.state]:
                note_declined(span, declined)
            if self._links_traceparent:
                note_sender(span, header(scope, b"traceparent"))
        if hook.is_spread:
            spread = admit_to_each(
                self._gates,
                admission,
                lambda first: hook.admission(first, content, masked, now_ms, span.context),
            )
            return asyncio.create_task(spread)
        gate = self._gates[hook.owner]
        if not gate.door.is_open:
            raise StoreUnavailable(gate.door.reason)
        return gate.intake.admissions.submit(admission)

    async def _verdict(self, post: Post, flight: "asyncio.Future[Verdict]") -> Verdict:
        try:
            return await flight
        except asyncio.CancelledError:
            # The deadline and the verdict may come in the same turn of the loop: then the verdict counts.
            if post.has_expired and flight.done() and not flight.cancelled():
                post.carry_on()
                return flight.result()
            raise

    def _conclude(
        self,
        request: WholeRequest,
        hook: Hook,
        post: Post,
        flight: "asyncio.Future[Verdict]",
    ) -> None:
        self._deadlines.forget(post)
        try:
            verdict = flight.result()
            if isinstance(verdict, Admitted):
                self._metrics.admitted()
                answer_admitted(request, verdict.alert_id)
                if post.span.is_kept:
                    end_admitted(post.span)
            elif isinstance(verdict, Duplicate):
                self._metrics.duplicate()
                answer_duplicate(request, verdict.alert_id)
                if post.span.is_kept:
                    end_admitted(post.span, verdict.alert_id)
            else:
                raise self._refusal_of(verdict, hook, post.dialect)
        except asyncio.CancelledError:
            self._refuse_whole(request, _too_late(post.body), hook, post)
        except BridgeError as error:
            self._refuse_whole(request, _refusal_for(error), hook, post)
        except Exception as error:  # noqa: BLE001 - nobody else would answer
            end_broken(post.span, error)
            request.scope[ANSWER] = _raising(error)
            request.hand_over()
        else:
            self._metrics.answered(perf_counter() - post.started_s)

    def _refuse_whole(self, request: WholeRequest, error: AdmissionError, hook: Hook, post: Post) -> None:
        async def refuse(scope: Scope, _receive: Receive, send: Send) -> None:
            await self._refusals.answer(send, error, hook, post, scope)
            self._metrics.answered(perf_counter() - post.started_s)

        request.scope[ANSWER] = refuse
        request.hand_over()

    async def _answer(self, send: Send, verdict: Verdict, hook: Hook, post: Post) -> None:
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
            case _:
                raise self._refusal_of(verdict, hook, post.dialect)

    def _refusal_of(
        self, verdict: Conflict | Throttled | MemoryFull | LaneFull, hook: Hook, dialect: str
    ) -> AdmissionError:
        match verdict:
            case Conflict(alert_id):
                detail = (
                    f"the alert's id was given to another body before: alert {alert_id}; nothing was done"
                )
                return in_senders_words(AdmissionError(409, "id_conflict", detail, field="id"), dialect)
            case Throttled(retry_after_ms):
                detail = "more alerts than the rate of this webhook lets in"
                return AdmissionError(429, "too_many", detail, retry_after_s=-(-retry_after_ms // 1_000))
            case MemoryFull():
                return self._gates[hook.owner].door.memory_refusal()
            case LaneFull(lane, waiting):
                return self._gates[hook.owner].door.lane_refusal(lane, waiting)
            case _:
                assert_never(verdict)


def _raising(error: Exception) -> ASGIApp:
    async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise error

    return fail


def _refusal_for(error: BridgeError) -> AdmissionError:
    return error if isinstance(error, AdmissionError) else not_durable(error)


def _too_late(body: bytes | None) -> AdmissionError:
    if body is None:
        return AdmissionError(408, "body_too_slow", "the body did not come in time")
    return not_durable()
