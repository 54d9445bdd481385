"""The webhook behind the relay: one signed post, one answer, nothing tried twice."""

import ssl
from dataclasses import dataclass
from typing import Final

import httpx

from libs.common.domain.errors import BridgeError
from libs.common.policy.addresses import Address
from libs.common.runtime.secrets import Secret
from libs.common.web.problems import Header
from libs.common.wire.signing import sign_body

KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which common servers close an idle connection: a post sent down a dying one is lost."""

MOST_CONNECTIONS: Final = 128
"""More than alerts fire at one candle close; further posts wait for one of these, within their own time."""

MOST_IDLE: Final = 16
"""httpx's pool looks at all connections for each call, so few are kept."""

MAX_ANSWER_BYTES: Final = 65_536

_PASSED_ON: Final = frozenset({b"content-type", b"content-encoding", b"retry-after"})


class UpstreamFailed(BridgeError):
    """No answer that could be passed on; whether the alert was taken is not known.

    Attributes:
        code: Why, for counters and the answer.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class UpstreamAnswer:
    """What the upstream said, to be passed on as it is."""

    status: int
    headers: list[Header]
    body: bytes


class Upstream:
    """Where posts go, and the connections there."""

    def __init__(self, url: Secret, signing_key: Secret, tls: ssl.SSLContext) -> None:
        """Args:
        url: The webhook's.
        signing_key: What it expects posts to be signed with.
        tls: Says which certificates are believed.
        """
        self._url = httpx.URL(url.reveal())
        self._signing_key = signing_key
        limits = httpx.Limits(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_IDLE,
            keepalive_expiry=KEEP_ALIVE_S,
        )
        # The bare transport: no redirects, no cookies, no proxies from the environment, no second try.
        self._transport = httpx.AsyncHTTPTransport(verify=tls, limits=limits, retries=0, trust_env=False)

    async def post(self, body: bytes, *, content_type: str | None, client: Address | None) -> UpstreamAnswer:
        """Post a body as it is, signed, and return the answer. The time is the caller's to bound.

        Args:
            body: Sent byte for byte.
            content_type: As it came; None: there was none.
            client: Whom the post came from, where that is known.

        Raises:
            UpstreamFailed: No answer came, or none that means anything to the sender.
        """
        headers = [(b"x-signature", sign_body(self._signing_key.reveal(), body).encode())]
        if content_type is not None:
            headers.append((b"content-type", content_type.encode("latin-1")))
        if client is not None:
            headers.append((b"x-forwarded-for", str(client).encode()))
        headers.append((b"user-agent", b"bascule-relay"))
        request = httpx.Request("POST", self._url, headers=headers, content=body)
        try:
            response = await self._transport.handle_async_request(request)
            try:
                answer = await _read(response)
            finally:
                await response.aclose()
        except (httpx.TransportError, OSError) as error:  # a refusal of TLS 1.3 comes as it is
            # Most of them say why only in what caused them.
            reason = str(error) or str(error.__cause__ or "") or "no reason given"
            code = "upstream_unreachable" if isinstance(error, httpx.ConnectError) else "upstream_broken"
            raise UpstreamFailed(code, f"{type(error).__name__}: {reason}") from error
        return _checked(answer)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._transport.aclose()


async def _read(response: httpx.Response) -> UpstreamAnswer:
    body = bytearray()
    async for part in response.aiter_raw():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise UpstreamFailed("upstream_broken", f"the answer has more than {MAX_ANSWER_BYTES} bytes")
    headers = [(name.lower(), value) for name, value in response.headers.raw if name.lower() in _PASSED_ON]
    return UpstreamAnswer(response.status_code, headers, bytes(body))


def _checked(answer: UpstreamAnswer) -> UpstreamAnswer:
    """Return the answer if TradingView would understand it as the upstream means it."""
    match answer.status:
        case 504:
            # The one 5xx that TradingView does not answer by sending again.
            raise UpstreamFailed("upstream_late", "a gateway before the upstream answered 504")
        case status if 300 <= status < 400:
            raise UpstreamFailed(
                "upstream_redirect", f"the upstream answered {status}: RELAY_UPSTREAM is not it"
            )
        case status if not 200 <= status < 600:
            raise UpstreamFailed("upstream_broken", f"the upstream answered {status}")
    return answer
