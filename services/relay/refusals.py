"""The answers that are the relay's own: of one shape, counted."""

import os
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from libs.common.domain import ids
from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import EventId
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.relay_metrics import RelayMetrics
from libs.common.web.problems import CLOSE, JSON, problem_body, problem_headers, send_json

_ENTROPY_BYTES: Final = 10
_UNKNOWN: Final = 404
_LATE: Final = 408

log = get_logger()


def unknown_path() -> AdmissionError:
    """Return the refusal of a wrong token, which is that of any wrong path: which tokens exist must not show."""
    return AdmissionError(_UNKNOWN, "unknown_path", "there is nothing at this path")


class Refusals:
    """Answers what is not passed on."""

    def __init__(self, metrics: RelayMetrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock

    async def answer(self, send: Send, error: AdmissionError) -> None:
        """Answer a post with the error."""
        headers = problem_headers(error)
        if error.status == _LATE:
            headers.append(CLOSE)
        await send_json(send, error.status, self._body(error), headers)

    async def unknown_path(self, _request: Request, _: Exception) -> Response:
        """Answer 404."""
        return self._response(unknown_path())

    async def wrong_method(self, _request: Request, error: Exception) -> Response:
        """Answer 405."""
        response = self._response(AdmissionError(405, "wrong_method", "this path does not take this method"))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def unexpected(self, _request: Request, _: Exception) -> Response:
        """Answer 500, which makes TradingView send again; the exception itself is logged by the server."""
        return self._response(AdmissionError(500, "internal", "an unexpected error, not the sender's fault"))

    def _response(self, error: AdmissionError) -> Response:
        return Response(self._body(error), error.status, media_type=JSON[1].decode())

    def _body(self, error: AdmissionError) -> bytes:
        self._metrics.refused(error.status, error.code)
        event_id = EventId(ids.alert_id(self._clock.now_ms(), os.urandom(_ENTROPY_BYTES)))
        # Strangers who guess paths and tokens are a number, not lines.
        if error.status != _UNKNOWN:
            log.info(
                "post_refused",
                event_id=event_id,
                status=error.status,
                code=error.code,
                detail=error.detail,
                reason=None if error.__cause__ is None else str(error.__cause__),
            )
        return problem_body(error, event_id)
