"""The paths of the ingress."""

from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from libs.common.domain.clock import Clock
from libs.common.domain.errors import AdmissionError
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.web.health import HealthEndpoint
from libs.common.web.problems import JSON, problem_body, send_json
from libs.common.web.whole_request import WholeRequest
from services.ingress.fresh_ids import FreshIds
from services.ingress.hook import Hook
from services.ingress.openapi import document_response
from services.ingress.preview import PreviewEndpoint
from services.ingress.reading import not_durable
from services.ingress.registry import Registry
from services.ingress.webhook import ANSWER, WebhookEndpoint

DEFAULT_PATHS: Final = frozenset({"/webhook", "/tv-webhook"})
HOOKS: Final = "/hooks/"
PREVIEW: Final = "/preview"

_SHOWN_LENGTH: Final = 100

log = get_logger()


class IngressApp:
    """A Starlette app whose posts to webhooks go ahead of its middleware and router.

    They are a quarter of the cost of a post, and a webhook needs nothing of what they do.
    """

    def __init__(
        self,
        registry: Registry,
        webhook: WebhookEndpoint,
        preview: PreviewEndpoint,
        rest: Starlette,
        problems: "Problems",
        clock: Clock,
    ) -> None:
        """Args:
        registry: Knows all webhooks, and whether they are all.
        webhook: Takes their posts.
        preview: Says what it would do with them.
        rest: Answers everything else, and wrong methods.
        problems: Answers what a webhook did not expect.
        clock: For tokens that expire.
        """
        self._hooks = registry.hooks
        self._registry = registry
        self._webhook = webhook
        self._preview = preview
        self._rest = rest
        self._problems = problems
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path: str = scope.get("path", "")
        if scope.get("method") != "POST":
            await self._rest(scope, receive, send)
            return
        try:
            if ANSWER in scope:
                await scope[ANSWER](scope, receive, send)
            elif path in DEFAULT_PATHS:
                await self._webhook.take(self._hooks.default, scope, receive, send)
            elif path.startswith(HOOKS):
                token = path[len(HOOKS) :]
                await self._webhook.take(self._named(token), scope, receive, send, token=token)
            elif path == PREVIEW:
                await self._preview.show(self._hooks.default, scope, receive, send)
            elif path.startswith(f"{PREVIEW}/"):
                token = path[len(PREVIEW) + 1 :]
                await self._preview.show(self._named(token), scope, receive, send, token=token)
            else:
                await self._rest(scope, receive, send)
        except AdmissionError as error:
            response = self._problems.refuse(error)
            await response(scope, receive, send)
        except Exception as error:
            log.exception("post_failed", error=repr(error))
            problem = self._problems.failure()
            await send_json(send, problem.status_code, bytes(problem.body))

    def take_whole(self, request: WholeRequest) -> bool:
        """Take a POST to a webhook, and say so; what else it may be is left to `__call__`."""
        path: str = request.scope["path"]
        try:
            if path in DEFAULT_PATHS:
                self._webhook.take_whole(self._hooks.default, request)
            elif path.startswith(HOOKS):
                token = path[len(HOOKS) :]
                self._webhook.take_whole(self._named(token), request, token=token)
            else:
                return False
        except Exception:  # noqa: BLE001 - it comes again there, where it is answered
            return False
        return True

    def _named(self, token: str) -> Hook:
        hook = self._hooks.find(token, self._clock.now_ms())
        # A webhook may have been made or disabled since we last looked, or made by a version that we do not know:
        # better an honest "send again" than a guess.
        is_made = hook is None or hook.webhook.created_at_ms
        if (is_made and not self._registry.is_current()) or (hook is None and self._hooks.may_exist(token)):
            raise not_durable()
        if hook is None:
            raise AdmissionError(404, "unknown_webhook", "there is no such webhook")
        return hook


class Problems:
    """Refusals of what no webhook sees."""

    def __init__(self, metrics: IngressMetrics, clock: Clock, ids: FreshIds) -> None:
        self._metrics = metrics
        self._clock = clock
        self._ids = ids

    async def unknown_path(self, _request: Request, _: Exception) -> Response:
        """Answer 404."""
        # A path may hold a token, and more so a mistyped one: nothing of it is shown.
        return self.refuse(AdmissionError(404, "unknown_path", "there is nothing at this path"))

    async def wrong_method(self, request: Request, error: Exception) -> Response:
        """Answer 405."""
        detail = f"{request.method[:_SHOWN_LENGTH]} is not taken there"
        response = self.refuse(AdmissionError(405, "wrong_method", detail))
        if isinstance(error, HTTPException) and error.headers:
            response.headers.update(error.headers)
        return response

    async def unexpected(self, _request: Request, _: Exception) -> Response:
        """Answer 500; the exception itself is logged by the server."""
        return self.failure()

    def failure(self) -> Response:
        """Return the answer to a failure of ours: a 5xx makes TradingView send again."""
        return self.refuse(AdmissionError(500, "internal", "an unexpected error, not the sender's fault"))

    def refuse(self, error: AdmissionError) -> Response:
        """Return the answer to a post that no webhook saw."""
        self._metrics.refused(error.status, error.code)
        body = problem_body(error, self._ids.event_id(self._clock.now_ms()))
        headers = {} if error.retry_after_s is None else {"retry-after": str(error.retry_after_s)}
        return Response(body, error.status, headers, media_type=JSON[1].decode())


class OnlyPost:
    """Refuses all methods; of a function a route would take GET."""

    async def __call__(self, _scope: Scope, _receive: Receive, _send: Send) -> None:
        """Refuse one request, which is no POST."""
        raise HTTPException(405, headers={"Allow": "POST"})


def rest_of_app(health: HealthEndpoint, problems: Problems) -> Starlette:
    """Return what answers all but posts to webhooks: `GET /health`, the description, and refusals of one shape."""
    rest = Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/openapi.json", document_response, methods=["GET"]),
            *(
                Route(path, OnlyPost())
                for path in (*sorted(DEFAULT_PATHS), f"{HOOKS}{{token}}", PREVIEW, f"{PREVIEW}/{{token}}")
            ),
        ],
        exception_handlers={
            404: problems.unknown_path,
            405: problems.wrong_method,
            Exception: problems.unexpected,
        },
    )
    # A redirect counts as an error with TradingView: better a 404 that says so.
    rest.router.redirect_slashes = False
    return rest
