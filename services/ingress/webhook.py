"""`POST /webhook`: from a request to an honest answer, within the deadline."""

import asyncio
from time import perf_counter
from typing import Final, assert_never

from starlette.types import Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError, StoreCorrupt, StoreUnavailable
from libs.common.policy.throttle import Throttled
from libs.common.store.intake import Admitted, Conflict, Duplicate, Intake, Verdict
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.web.body import SenderGone, read_body
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.masking import Masker
from services.ingress.answers import send_admitted, send_duplicate
from services.ingress.deadlines import Deadlines, Post
from services.ingress.door import Door
from services.ingress.fresh_ids import FreshIds
from services.ingress.hook import Hook
from services.ingress.refusals import Refusals

MIN_SECRET_LENGTH: Final = 8
"""Shorter credentials may well be a part of an id or a symbol by chance."""


class WebhookEndpoint:
    """Takes the posts of one webhook; plain ASGI, since every layer between costs speed."""

    def __init__(
        self,
        hook: Hook,
        *,
        door: Door,
        intake: Intake,
        refusals: Refusals,
        masker: Masker,
        metrics: IngressMetrics,
        clock: Clock,
        ids: FreshIds,
        deadline_ms: int,
    ) -> None:
        """Args:
        hook: The webhook.
        door: Closed while Redis has not been found fit.
        intake: Makes alerts durable.
        refusals: Answers what is not taken.
        masker: Knows all secrets.
        metrics: Count and time the posts.
        clock: Stamps alerts, and tells when their time is over.
        ids: For alerts.
        deadline_ms: From the start of a request to its verdict at the latest.
        """
        self._hook = hook
        self._door = door
        self._intake = intake
        self._refusals = refusals
        self._masker = masker
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._deadlines = Deadlines(deadline_ms, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started_s = perf_counter()
        post = self._deadlines.watch()
        try:
            try:
                verdict = await self._admit(post, scope, receive)
            finally:
                self._deadlines.forget(post)
            await self._answer(send, verdict)
        except AdmissionError as error:
            await self._refusals.answer(send, error, self._hook.name, post.body)
        except asyncio.CancelledError:
            if not post.has_expired:
                raise
            post.carry_on()
            await self._refusals.answer(send, _too_late(post.body), self._hook.name, post.body)
        except (StoreUnavailable, StoreCorrupt) as error:
            await self._refusals.answer(send, _not_durable(error), self._hook.name, post.body)
        except SenderGone:
            self._metrics.abandoned()
            return
        self._metrics.answered(perf_counter() - started_s)

    async def _admit(self, post: Post, scope: Scope, receive: Receive) -> Verdict:
        hook = self._hook
        body = post.body = await read_body(scope, receive, hook.max_body_bytes)
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise AdmissionError(400, "not_utf8", f"byte {error.start} of the body is not UTF-8") from error
        document = recognise(body)
        credential = document.credential
        if not hook.credentials.accept(credential):
            raise AdmissionError(401, "unauthorized", "the credential is missing or wrong")
        if hook.throttle is not None:
            match hook.throttle.ask(self._clock.monotonic_ms()):
                case Throttled(retry_after_ms):
                    raise _too_many(retry_after_ms)
        content = document.read()
        _refuse_exposed(credential, "symbol", content.symbol)
        _refuse_exposed(credential, "id", content.sender_id or "")
        if not self._door.is_open:
            raise StoreUnavailable(self._door.reason)
        now_ms = self._clock.now_ms()
        masked = self._masker.mask_json(text)
        admission = hook.admission(self._ids.alert_id(now_ms), content, masked, now_ms)
        flight = self._intake.admissions.submit(admission)
        try:
            return await flight
        except asyncio.CancelledError:
            # The deadline and the verdict may come in the same turn of the loop: then the verdict counts.
            if post.has_expired and flight.done() and not flight.cancelled():
                post.carry_on()
                return flight.result()
            raise

    async def _answer(self, send: Send, verdict: Verdict) -> None:
        match verdict:
            case Admitted(alert_id):
                self._metrics.admitted()
                await send_admitted(send, alert_id)
            case Duplicate(alert_id):
                self._metrics.duplicate()
                await send_duplicate(send, alert_id)
            case Conflict(alert_id):
                detail = f'"id" was given to another body before: alert {alert_id}; nothing was done'
                raise AdmissionError(409, "id_conflict", detail, field="id")
            case _:
                assert_never(verdict)


def _refuse_exposed(credential: str, field: str, value: str) -> None:
    if credential in value and len(credential) >= MIN_SECRET_LENGTH:
        detail = f'"{field}" holds the credential, which would be stored and shown with it'
        raise AdmissionError(422, "credential_in_field", detail, field=field)


def _too_late(body: bytes | None) -> AdmissionError:
    if body is None:
        return AdmissionError(408, "body_too_slow", "the body did not come in time")
    return _not_durable()


def _not_durable(cause: BridgeError | None = None) -> AdmissionError:
    detail = "the alert could not be made durable in time: send it again"
    refusal = AdmissionError(503, "not_durable", detail, retry_after_s=1)
    # Our own troubles are for the log, not for the sender.
    refusal.__cause__ = cause
    return refusal


def _too_many(retry_after_ms: int) -> AdmissionError:
    detail = "more alerts than the rate of this webhook lets in"
    return AdmissionError(429, "too_many", detail, retry_after_s=-(-retry_after_ms // 1_000))
