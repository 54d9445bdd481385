"""The port for operators and orchestrators: probes and metrics, apart from the service's own traffic."""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.web.health import Check, HealthEndpoint, always_healthy
from libs.common.web.server import HttpServer

MAX_CONNECTIONS: Final = 32
"""Half of the descriptors that the service's own server leaves free."""


def ops_app(
    service: str,
    registry: CollectorRegistry,
    *,
    ready: Check,
    live: Check = always_healthy,
    started: Check | None = None,
) -> Starlette:
    """Return the app with `GET /live`, `/ready` and `/metrics`, and `/started` where that is another matter.

    Args:
        service: Its name, for the answers.
        registry: The process's metrics.
        ready: Whether it can do its work.
        live: Whether a restart would help; by default only that the loop still turns.
        started: Whether it could ever do its work since the start.
    """

    async def on_metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    began = [] if started is None else [Route("/started", HealthEndpoint(service, started), methods=["GET"])]
    return Starlette(
        routes=[
            *began,
            Route("/live", HealthEndpoint(service, live), methods=["GET"]),
            Route("/ready", HealthEndpoint(service, ready), methods=["GET"]),
            Route("/metrics", on_metrics),
        ],
    )


def ops_server(
    service: str,
    registry: CollectorRegistry,
    host: str,
    port: int,
    *,
    ready: Check,
    live: Check = always_healthy,
    started: Check | None = None,
) -> HttpServer:
    """Return the server of the ops port, not yet started."""
    app = ops_app(service, registry, ready=ready, live=live, started=started)
    return HttpServer(app, host, port, backlog=64, drain_s=1, max_connections=MAX_CONNECTIONS)
