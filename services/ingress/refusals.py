"""What becomes of a post that is not taken: counted, logged, kept for operators, answered."""

import asyncio
from typing import Final

from starlette.types import Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError, BridgeError
from libs.common.domain.ids import EventId, WebhookName
from libs.common.store.intake import Intake, Refusal
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.web.problems import CLOSE, problem_body, problem_headers, send_json
from libs.common.wire.masking import Masker
from services.ingress.fresh_ids import FreshIds
from services.ingress.sampling import Sampler

KEEP_TIMEOUT_S: Final = 0.3
"""The answer waits no longer than this for the refusal to be kept: the sender's time is short."""

MAX_DETAIL_LENGTH: Final = 300

# The others are nobody's mistake worth keeping: strangers, wrong methods, and our own failures.
_KEPT: Final = frozenset({400, 408, 409, 413, 422, 429})
# The body is a JSON object that only holds something wrong.
_READABLE: Final = frozenset({409, 422, 429})

_LATE: Final = 408

log = get_logger()


class Refusals:
    """Answers posts that are not taken."""

    def __init__(
        self, intake: Intake, masker: Masker, metrics: IngressMetrics, clock: Clock, ids: FreshIds
    ) -> None:
        self._intake = intake
        self._masker = masker
        self._metrics = metrics
        self._clock = clock
        self._ids = ids
        self._strangers = Sampler(clock)
        self._failures = Sampler(clock)

    async def answer(
        self, send: Send, error: AdmissionError, webhook: WebhookName, body: bytes | None
    ) -> None:
        """Answer a post with the error, having kept it where operators will want to see it.

        Args:
            send: Of the post.
            error: Why it is refused. Its detail may quote the body: it is masked here.
            webhook: Where it was posted to.
            body: As far as it was read; None where it was not.
        """
        event_id = self._ids.event_id(self._clock.now_ms())
        detail = self._masker.mask_text(error.detail)[:MAX_DETAIL_LENGTH]
        shown = AdmissionError(
            error.status, error.code, detail, field=error.field, retry_after_s=error.retry_after_s
        )
        self._metrics.refused(error.status, error.code)
        self._log(shown, event_id, webhook, error.__cause__)
        if error.status in _KEPT:
            await self._keep(shown, event_id, webhook, body)
        headers = problem_headers(shown)
        if error.status == _LATE:
            headers.append(CLOSE)
        await send_json(send, error.status, problem_body(shown, event_id), headers)

    def _log(
        self, error: AdmissionError, event_id: EventId, webhook: WebhookName, cause: BaseException | None
    ) -> None:
        if error.status == 401:
            if count := self._strangers.take():
                log.info("credential_refused", webhook=webhook, event_id=event_id, count=count)
        elif error.status == 503:
            if count := self._failures.take():
                reason = str(cause) if cause is not None else "no answer from Redis within the deadline"
                log.warning(
                    "alert_not_durable", webhook=webhook, event_id=event_id, count=count, reason=reason
                )
        else:
            log.info(
                "post_refused",
                webhook=webhook,
                event_id=event_id,
                status=error.status,
                code=error.code,
                field=error.field,
                detail=error.detail,
            )

    async def _keep(
        self, error: AdmissionError, event_id: EventId, webhook: WebhookName, body: bytes | None
    ) -> None:
        refusal = Refusal(
            event_id=event_id,
            webhook=webhook,
            status=error.status,
            code=error.code,
            field=error.field or "",
            detail=error.detail,
            raw=self._raw(error, body),
        )
        try:
            async with asyncio.timeout(KEEP_TIMEOUT_S):
                await self._intake.refusals.submit(refusal)
        except (TimeoutError, BridgeError):
            self._metrics.unrecorded()

    def _raw(self, error: AdmissionError, body: bytes | None) -> str:
        if body is None:
            return ""
        if error.status in _READABLE:
            return self._masker.mask_json(body.decode())
        return self._masker.excerpt(body)
