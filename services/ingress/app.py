"""The paths of the ingress."""

from collections.abc import Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.web.health import HealthEndpoint
from libs.common.web.problems import JSON, problem_body, send_json
from services.ingress.fresh_ids import FreshIds
from services.ingress.webhook import WebhookEndpoint

_SHOWN_LENGTH: Final = 100

log = get_logger()


class IngressApp:
    """A Starlette app whose posts to webhooks go ahead of its middleware and router.

    They are a quarter of the cost of a post, and a webhook needs nothing of what they do.
    """

    def __init__(self, hooks: Mapping[str, ASGIApp], rest: Starlette, problems: "Problems") -> None:
        """Args:
        hooks: By path.
        rest: Answers everything else, and wrong methods.
        problems: Answers what a webhook did not expect.
        """
        self._hooks = dict(hooks)
        self._rest = rest
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        hook = self._hooks.get(scope.get("path", ""))
        if hook is None or scope.get("method") != "POST":
            await self._rest(scope, receive, send)
            return
        try:
            await hook(scope, receive, send)
        except Exception as error:
            log.exception("post_failed", error=repr(error))
            problem = self._problems.failure()
            await send_json(send, problem.status_code, bytes(problem.body))


class Problems:
    """Refusals of what no webhook sees."""

    def __init__(self, metrics: IngressMetrics, clock: Clock, ids: FreshIds) -> None:
        self._metrics = metrics
        self._clock = clock
        self._ids = ids

    async def unknown_path(self, request: Request, _: Exception) -> Response:
        """Answer 404."""
        path = request.url.path[:_SHOWN_LENGTH]
        return self._refuse(AdmissionError(404, "unknown_path", f"there is nothing at {path}"))

    async def wrong_method(self, request: Request, error: Exception) -> Response:
        """Answer 405."""
        detail = f"{request.method[:_SHOWN_LENGTH]} is not taken at {request.url.path}"
        response = self._refuse(AdmissionError(405, "wrong_method", detail))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def unexpected(self, _request: Request, _: Exception) -> Response:
        """Answer 500; the exception itself is logged by the server."""
        return self.failure()

    def failure(self) -> Response:
        """Return the answer to a failure of ours: a 5xx makes TradingView send again."""
        return self._refuse(AdmissionError(500, "internal", "an unexpected error, not the sender's fault"))

    def _refuse(self, error: AdmissionError) -> Response:
        self._metrics.refused(error.status, error.code)
        body = problem_body(error, self._ids.event_id(self._clock.now_ms()))
        return Response(body, error.status, media_type=JSON[1].decode())


def ingress_app(webhook: WebhookEndpoint, health: HealthEndpoint, problems: Problems) -> IngressApp:
    """Return the app: `POST /webhook` and `/tv-webhook`, `GET /health`, and refusals of one shape for the rest."""
    hooks = {"/webhook": webhook, "/tv-webhook": webhook}
    rest = Starlette(
        routes=[
            *(Route(path, hook, methods=["POST"]) for path, hook in hooks.items()),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={
            404: problems.unknown_path,
            405: problems.wrong_method,
            Exception: problems.unexpected,
        },
    )
    # A redirect counts as an error with TradingView: better a 404 that says so.
    rest.router.redirect_slashes = False
    return IngressApp(hooks, rest, problems)
