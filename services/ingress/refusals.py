"""What becomes of a post that is not taken: counted, logged, kept for operators, answered."""

import asyncio
from typing import Final

from starlette.types import Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError
from libs.common.domain.ids import AlertId, EventId
from libs.common.store.intake import Intake, Refusal
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.post_spans import end_refused
from libs.common.telemetry.subject import about
from libs.common.web.problems import CLOSE, problem_body, problem_headers, send_json
from libs.common.wire.masking import Masker
from services.ingress.deadlines import Post
from services.ingress.door import FULL
from services.ingress.fresh_ids import FreshIds
from services.ingress.hook import Hook
from services.ingress.proof import Senders
from services.ingress.sampling import Sampler
from services.ingress.strangers import Strangers

KEEP_TIMEOUT_S: Final = 0.3
"""The answer waits no longer than this for the refusal to be kept: the sender's time is short."""

MAX_DETAIL_LENGTH: Final = 300
MAX_RAW_LENGTH: Final = 2_000
"""Of what is kept of a body; the rest is cut off."""

_KEPT: Final = frozenset({400, 408, 409, 413, 422, 429})
_KEPT_OF_NAMED: Final = frozenset({401, 403})
"""Kept where the URL's token was right. At a path that everybody knows only TradingView's are somebody's mistake."""
_READABLE: Final = frozenset({401, 409, 422, 429})
"""The body was read; it only says something wrong."""
_CREDENTIAL: Final = 401
_LOGGED_APART: Final = frozenset({_CREDENTIAL, 503})
_LATE: Final = 408

log = get_logger()


class Refusals:
    """Answers posts that are not taken."""

    def __init__(
        self,
        intake: Intake,
        masker: Masker,
        metrics: IngressMetrics,
        clock: Clock,
        ids: FreshIds,
        senders: Senders,
    ) -> None:
        self._intake = intake
        self._masker = masker
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._senders = senders
        self._strangers = Strangers(clock)
        self._strangers_log = Sampler(clock)
        self._unkept_log = Sampler(clock)
        self._failures_log = Sampler(clock)

    async def answer(self, send: Send, error: AdmissionError, hook: Hook, post: Post, scope: Scope) -> None:
        """Answer a post with the error, having kept it where operators will want to see it.

        Args:
            send: Of the post.
            error: Why it is refused. Its detail may quote the body: it is masked here.
            hook: The webhook.
            post: As far as it was read.
            scope: Of the request.
        """
        event_id = self._ids.event_id(self._clock.now_ms())
        known = hook.masker_for((post.token,)) if post.token else self._masker
        masker = known.also(*post.secrets)
        # What a stranger presents may be any word of our own.
        teller = masker if post.has_proved_itself else known
        found = hook.secrets_in(error.detail, self._clock.now_ms())
        detail = teller.also(*found).mask_text(error.detail)[:MAX_DETAIL_LENGTH]
        shown = AdmissionError(
            error.status, error.code, detail, field=error.field, retry_after_s=error.retry_after_s
        )
        self._metrics.refused(error.status, error.code)
        source = "" if post.has_proved_itself else str(self._senders.address(scope))
        is_kept = self._is_kept(error.status, hook, post, scope, source)
        if is_kept or post.has_proved_itself or error.status in _LOGGED_APART:
            with about(post):
                self._log(shown, event_id, hook, source, error.__cause__, post.alert_id)
        else:
            self._log_stranger(shown, event_id, hook, source)
        if is_kept:
            await self._keep(shown, event_id, hook, self._raw(error.status, masker, hook, post.body))
        headers = problem_headers(shown)
        if error.status == _LATE:
            headers.append(CLOSE)
        await send_json(send, error.status, problem_body(shown, event_id), headers)
        if post.has_proved_itself and post.span.is_kept:
            end_refused(post.span, error.status, error.code)

    async def answer_stranger(self, send: Send, error: AdmissionError, hook: Hook, scope: Scope) -> None:
        """Answer who proved nothing and is kept nowhere: counted by source, and logged now and then."""
        event_id = self._ids.event_id(self._clock.now_ms())
        shown = AdmissionError(
            error.status,
            error.code,
            self._masker.mask_text(error.detail)[:MAX_DETAIL_LENGTH],
            field=error.field,
        )
        self._metrics.refused(error.status, error.code)
        source = str(self._senders.address(scope))
        if error.status in _LOGGED_APART:
            self._log(shown, event_id, hook, source, error.__cause__, None)
        else:
            self._log_stranger(shown, event_id, hook, source)
        await send_json(send, error.status, problem_body(shown, event_id), problem_headers(shown))

    def _log_stranger(self, error: AdmissionError, event_id: EventId, hook: Hook, source: str) -> None:
        if count := self._unkept_log.take():
            log.info(
                "stranger_refused",
                webhook=hook.name,
                event_id=event_id,
                code=error.code,
                count=count,
                source=source,
            )

    def _is_kept(self, status: int, hook: Hook, post: Post, scope: Scope, source: str) -> bool:
        if status not in _KEPT and not (
            status in _KEPT_OF_NAMED and (hook.is_named or self._senders.is_tradingview(scope))
        ):
            return False
        if post.has_proved_itself or self._strangers.may_record(source):
            return True
        self._metrics.unrecorded()
        return False

    def _log(
        self,
        error: AdmissionError,
        event_id: EventId,
        hook: Hook,
        source: str,
        cause: BaseException | None,
        alert_id: AlertId | None,
    ) -> None:
        if error.status == _CREDENTIAL:
            failures = self._strangers.fail(source)
            if count := self._strangers_log.take():
                log.info(
                    "credential_refused",
                    webhook=hook.name,
                    event_id=event_id,
                    code=error.code,
                    count=count,
                    source=source,
                    failures_of_source=failures,
                )
        elif error.code in FULL:
            return
        elif error.status == 503:
            if count := self._failures_log.take():
                reason = str(cause) if cause is not None else "no answer from Redis within the deadline"
                # Without an answer from Redis there may be an alert of that id all the same.
                log.warning(
                    "alert_not_durable",
                    webhook=hook.name,
                    event_id=event_id,
                    alert_id=alert_id,
                    count=count,
                    reason=reason,
                )
        else:
            log.info(
                "post_refused",
                webhook=hook.name,
                event_id=event_id,
                status=error.status,
                code=error.code,
                field=error.field,
                detail=error.detail,
            )

    async def _keep(self, error: AdmissionError, event_id: EventId, hook: Hook, raw: str) -> None:
        refusal = Refusal(
            event_id=event_id,
            webhook=hook.name,
            status=error.status,
            code=error.code,
            field=error.field or "",
            detail=error.detail,
            raw=raw,
        )
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_S):
                await self._intake.refusals.submit(refusal)
        except (TimeoutError, BridgeError):
            self._metrics.unrecorded()

    def _raw(self, status: int, masker: Masker, hook: Hook, body: bytes | None) -> str:
        """Return what is kept of a body: masked, and not too much of it."""
        if body is None:
            return ""
        found = hook.secrets_in(body.decode("utf-8", "backslashreplace"), self._clock.now_ms())
        masker = masker.also(*found)
        if status not in _READABLE:
            return masker.excerpt(body)
        masked = masker.mask_json(body.decode())
        if len(masked) <= MAX_RAW_LENGTH:
            return masked
        return f"{masked[:MAX_RAW_LENGTH]}... [{len(body)} bytes in all]"
