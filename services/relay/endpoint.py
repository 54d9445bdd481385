"""`POST /relay/{token}`: from an unsigned post to the upstream's answer, within the time there is."""

import asyncio
from time import perf_counter
from typing import Final

from starlette.types import Receive, Scope, Send

from libs.common.domain.errors import AdmissionError
from libs.common.policy.addresses import Address, AddressList, client_address
from libs.common.policy.authentication import HashedToken, is_token, token_digest
from libs.common.runtime.secrets import Secret
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.relay_metrics import RelayMetrics
from libs.common.web.body import SenderGone, read_body
from libs.common.web.headers import header, headers
from services.relay.refusals import Refusals, unknown_path
from services.relay.upstream import Upstream, UpstreamAnswer, UpstreamFailed

_NO_CONTENT: Final = 204
_ALWAYS: Final = 0  # the time: the relay's own token does not expire

log = get_logger()


class RelayEndpoint:
    """Takes posts on one URL and passes them on; keeps nothing."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        token: Secret,
        allow: AddressList,
        trusted_proxies: AddressList,
        max_body_bytes: int,
        timeout_ms: int,
        refusals: Refusals,
        metrics: RelayMetrics,
    ) -> None:
        """Args:
        upstream: Where posts go.
        token: The last part of the relay's own URL.
        allow: Who may post.
        trusted_proxies: Whose word about the sender's address counts.
        max_body_bytes: The longest body.
        timeout_ms: From the start of a post to its answer, the body's way included.
        refusals: Answers what is not passed on.
        metrics: Count and time the posts.
        """
        self._upstream = upstream
        self._token = HashedToken(token_digest(token.reveal()))
        self._allow = allow
        self._trusted_proxies = trusted_proxies
        self._max_body_bytes = max_body_bytes
        self._timeout_s = timeout_ms / 1_000
        self._refusals = refusals
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started_s = perf_counter()
        try:
            client = self._admit(scope)
            answer = await self._pass_on(scope, receive, client)
            self._metrics.passed_on(answer.status)
            await _send(send, answer)
        except AdmissionError as error:
            await self._refusals.answer(send, error)
        except SenderGone:
            self._metrics.abandoned()
            return
        self._metrics.answered(perf_counter() - started_s)

    def _admit(self, scope: Scope) -> Address | None:
        """Return the sender's address, if the post may go on."""
        # The token comes first: a stranger without it learns nothing from the answer.
        if not is_token(scope["path_params"]["token"], self._token, _ALWAYS):
            raise unknown_path()
        peer = scope["client"] or ("", 0)
        client = client_address(peer[0], headers(scope, b"x-forwarded-for"), self._trusted_proxies)
        if not self._allow.is_allowed(client):
            came = "an address that is not known" if client is None else str(client)
            raise AdmissionError(403, "address_refused", f"posts from {came} are not taken here")
        return client

    async def _pass_on(self, scope: Scope, receive: Receive, client: Address | None) -> UpstreamAnswer:
        body: bytes | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                body = await read_body(scope, receive, self._max_body_bytes)
                return await self._upstream.post(
                    body, content_type=header(scope, b"content-type"), client=client
                )
        except TimeoutError as error:
            if body is None:
                raise AdmissionError(408, "body_too_slow", "the body did not come in time") from error
            failure = UpstreamFailed(
                "upstream_late", f"no answer within {self._timeout_s:g} s of the post's start"
            )
            raise _send_again(failure) from failure
        except UpstreamFailed as error:
            raise _send_again(error) from error


def _send_again(failure: UpstreamFailed) -> AdmissionError:
    # Why is for our log, not for the sender.
    detail = "the alert could not be handed on: send it again"
    return AdmissionError(503, failure.code, detail, retry_after_s=1)


async def _send(send: Send, answer: UpstreamAnswer) -> None:
    passed = list(answer.headers)
    if answer.status != _NO_CONTENT:
        passed.append((b"content-length", b"%d" % len(answer.body)))
    if answer.status >= 300:
        log.info("post_refused_upstream", status=answer.status)
    await send({"type": "http.response.start", "status": answer.status, "headers": passed})
    await send({"type": "http.response.body", "body": answer.body})
