"""The paths of the relay."""

from starlette.applications import Starlette
from starlette.routing import Route

from libs.common.web.health import HealthEndpoint
from services.relay.endpoint import RelayEndpoint
from services.relay.refusals import Refusals


def relay_app(endpoint: RelayEndpoint, health: HealthEndpoint, refusals: Refusals) -> Starlette:
    """Return the app: `POST /relay/{token}`, `GET /health`, and refusals of one shape for the rest."""
    app = Starlette(
        routes=[
            Route("/relay/{token}", endpoint, methods=["POST"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={
            404: refusals.unknown_path,
            405: refusals.wrong_method,
            Exception: refusals.unexpected,
        },
    )
    # A redirect counts as an error with TradingView: better a 404 that says so.
    app.router.redirect_slashes = False
    return app
