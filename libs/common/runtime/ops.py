"""The port for operators and orchestrators: probes and metrics, apart from the service's own traffic."""

import orjson
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from libs.common.web.health import Check, Degraded, always_healthy
from libs.common.web.server import HttpServer


def ops_app(
    service: str, registry: CollectorRegistry, *, ready: Check, live: Check = always_healthy
) -> Starlette:
    """Return the app with `GET /live`, `/ready` and `/metrics`.

    Args:
        service: Its name, for the answers.
        registry: The process's metrics.
        ready: Whether it can do its work.
        live: Whether a restart would help; by default only that the loop still turns.
    """

    async def answer(check: Check) -> Response:
        match await check():
            case Degraded(reason):
                body = {"status": "degraded", "service": service, "reason": reason}
                return Response(orjson.dumps(body), 503, media_type="application/json")
            case _:
                body = {"status": "ok", "service": service}
                return Response(orjson.dumps(body), media_type="application/json")

    async def on_live(_: Request) -> Response:
        return await answer(live)

    async def on_ready(_: Request) -> Response:
        return await answer(ready)

    async def on_metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})

    return Starlette(
        routes=[Route("/live", on_live), Route("/ready", on_ready), Route("/metrics", on_metrics)],
    )


def ops_server(
    service: str,
    registry: CollectorRegistry,
    host: str,
    port: int,
    *,
    ready: Check,
    live: Check = always_healthy,
) -> HttpServer:
    """Return the server of the ops port, not yet started."""
    return HttpServer(ops_app(service, registry, ready=ready, live=live), host, port, backlog=64, drain_s=1)
