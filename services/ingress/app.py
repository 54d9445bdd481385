"""The paths of the ingress."""

import os

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import EventId, alert_id
from libs.common.telemetry.metrics import IngressMetrics
from libs.common.web.problems import problem_body
from services.ingress.health import HealthEndpoint
from services.ingress.webhook import WebhookEndpoint

_SHOWN_LENGTH = 100


def ingress_app(
    webhook: WebhookEndpoint, health: HealthEndpoint, metrics: IngressMetrics, clock: Clock
) -> Starlette:
    """Return the app: `POST /webhook` and `/tv-webhook`, `GET /health`, and refusals of one shape for the rest."""

    def refuse(error: AdmissionError) -> Response:
        metrics.refused(error.status, error.code).inc()
        event_id = EventId(alert_id(clock.now_ms(), os.urandom(10)))
        return Response(problem_body(error, event_id), error.status, media_type="application/json")

    async def on_unknown_path(request: Request, _: Exception) -> Response:
        path = request.url.path[:_SHOWN_LENGTH]
        return refuse(AdmissionError(404, "unknown_path", f"there is nothing at {path}"))

    async def on_wrong_method(request: Request, error: Exception) -> Response:
        detail = f"{request.method[:_SHOWN_LENGTH]} is not taken at {request.url.path}"
        response = refuse(AdmissionError(405, "wrong_method", detail))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def on_failure(_request: Request, _: Exception) -> Response:
        # A 5xx makes TradingView send again; the exception itself is logged by the server.
        return refuse(AdmissionError(500, "internal", "an unexpected error, not the sender's fault"))

    app = Starlette(
        routes=[
            Route("/webhook", webhook, methods=["POST"]),
            Route("/tv-webhook", webhook, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={404: on_unknown_path, 405: on_wrong_method, Exception: on_failure},
    )
    # A redirect counts as an error with TradingView: better a 404 that says so.
    app.router.redirect_slashes = False
    return app
