"""Orders to an execution layer of the user's own, over signed HTTP.

Whether a failed call may have traded is told by one fact and not by the kind of exception: whether the body had been
handed to the network. Headers alone trade nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Final, NoReturn
from urllib.parse import quote

import httpx
import orjson

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.runtime.secrets import Secret
from libs.common.wire.signing import is_signed, sign_body, sign_request
from services.worker.brokers import http_answers
from services.worker.brokers.connections import Connections
from services.worker.brokers.http_answers import Answer
from services.worker.brokers.port import Capabilities, Deduplication, LookUp, StillOurs

LONGEST_ANSWER: Final = 65_536
"""Bytes; a longer answer counts as broken."""

LONGEST_LIST: Final = 1_048_576
"""The same for the list of all markets: tens of thousands of names."""

_NOT_OURS: Final = "the lane is no longer ours: no order was sent"

_FAILURES: Final = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError)

_Headers = list[tuple[bytes, bytes]]


class HttpBroker:
    """One account behind the HTTP interface for execution layers.

    It talks to httpx's transport directly: a client would add cookies, redirections, environment proxies and a
    third of the cost of a call, none of which an order may have.
    """

    def __init__(
        self,
        url: str,
        secret: Secret,
        clock: Clock,
        *,
        timeout_ms: int,
        connections: int,
        look_up_lag_ms: int = 0,
        verify_answers: bool = False,
    ) -> None:
        """Args:
        url: Orders go to `{url}/orders`.
        secret: Signs requests, and answers where they are verified.
        clock: Stamps look-ups, and tells how far off the time of a `Retry-After` is.
        timeout_ms: Bound on a whole call: connecting, sending, and the last byte of the answer.
        connections: The most that are open at once. Above a worker's slots, so that no order waits for one.
        look_up_lag_ms: How long after it executed an order the venue may still not know it.
        verify_answers: Whether an answer without a valid `X-Signature` over its body counts as none.
        """
        # A venue that answers 409 deduplicates, but nothing obliges it to.
        self.capabilities: Final = Capabilities(
            Deduplication.NONE,
            honours_expiry=True,
            look_up=LookUp.LAGGING if look_up_lag_ms else LookUp.AUTHORITATIVE,
            look_up_lag_ms=look_up_lag_ms,
        )
        self._base = httpx.URL(url.rstrip("/"))
        self._orders = httpx.URL(f"{self._base}/orders")
        self._key = secret.reveal()
        self._clock = clock
        self._timeout_s = timeout_ms / 1_000
        self._verify_answers = verify_answers
        self._connections = Connections(connections, _tls(self._base))
        self._headers: _Headers = [
            (b"Host", self._base.netloc),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"bascule"),
        ]

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Post one order."""
        if not still_ours():
            raise BrokerUnavailable(_NOT_OURS)
        encoded = _encode(request)
        body = _Body(encoded, still_ours)
        headers = [
            *self._headers,
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(encoded)),
            (b"Idempotency-Key", request.client_order_id.encode()),
            (b"X-Signature", sign_body(self._key, encoded).encode()),
        ]
        try:
            answer = await self._exchange(httpx.Request("POST", self._orders, headers=headers, stream=body))
        except (*_FAILURES, TimeoutError, _TooLongError) as error:
            body.refuse(_words(error), error)
        if not body.has_left:
            body.refuse(f"answered before the order was sent: {answer}", None)
        if not self._is_trusted(answer):
            raise OrderOutcomeUnknown(f"the answer's signature does not fit: {answer}")
        return http_answers.placed(
            answer, request.client_order_id, request.plan.quantity, now_ms=self._clock.now_ms()
        )

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:  # noqa: ARG002
        """Ask for one order."""
        return http_answers.found(await self._get(f"/orders/{quote(client_order_id)}"), client_order_id)

    async def position(self, symbol: Market) -> Decimal:
        """Ask for one position."""
        return http_answers.position(await self._get(f"/positions/{quote(symbol, safe='')}"))

    async def price(self, symbol: Market) -> Decimal | None:
        """Ask for the last price."""
        return http_answers.price(await self._get(f"/prices/{quote(symbol, safe='')}"))

    async def markets(self) -> Sequence[Market] | None:
        """Ask for the list of markets."""
        return http_answers.markets(await self._get("/instruments", longest=LONGEST_LIST))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    async def _get(self, path: str, *, longest: int = LONGEST_ANSWER) -> Answer:
        url = httpx.URL(f"{self._base}{path}")
        at_ms = self._clock.now_ms()
        signature = sign_request(self._key, "GET", url.raw_path.decode(), at_ms)
        headers = [
            *self._headers,
            (b"X-Timestamp", b"%d" % at_ms),
            (b"X-Signature", signature.encode()),
        ]
        try:
            answer = await self._exchange(httpx.Request("GET", url, headers=headers), longest)
        except (*_FAILURES, TimeoutError, _TooLongError) as error:
            raise LookUpUnavailable(f"no answer from the venue: {_words(error)}") from error
        if not self._is_trusted(answer):
            raise LookUpUnavailable(f"the answer's signature does not fit: {answer}")
        return answer

    async def _exchange(self, request: httpx.Request, longest: int = LONGEST_ANSWER) -> Answer:
        # One deadline over all: httpx's own run per step, so a venue that drips bytes would never meet one.
        async with asyncio.timeout(self._timeout_s), self._connections.lend() as connection:
            response = await connection.handle_async_request(request)
            received = bytearray()
            try:
                async for chunk in response.aiter_raw():
                    received += chunk
                    if len(received) > longest:
                        raise _TooLongError(longest)
            finally:
                await response.aclose()
        return Answer(response.status_code, dict(response.headers), bytes(received))

    def _is_trusted(self, answer: Answer) -> bool:
        return not self._verify_answers or is_signed(
            self._key, answer.body, answer.headers.get("x-signature", "")
        )


class _TooLongError(Exception):
    def __init__(self, longest: int) -> None:
        super().__init__(f"the answer is longer than {longest} bytes")


class _Body(httpx.AsyncByteStream):
    """The body of one order. The transport asks for it with the connection made and the headers sent."""

    def __init__(self, encoded: bytes, still_ours: StillOurs) -> None:
        self._encoded = encoded
        self._still_ours = still_ours
        self.has_left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Making a connection may have taken longer than the lease.
        if not self._still_ours():
            raise BrokerUnavailable(_NOT_OURS)
        self.has_left = True
        yield self._encoded

    def refuse(self, words: str, cause: BaseException | None) -> NoReturn:
        """Raise what a call without an answer means."""
        if self.has_left:
            raise OrderOutcomeUnknown(f"no answer from the venue: {words}") from cause
        raise BrokerUnavailable(f"no order was sent: {words}") from cause


def _encode(request: OrderRequest) -> bytes:
    """Return the body: every field is there, null where it holds nothing."""
    plan = request.plan
    return orjson.dumps(
        {
            "client_order_id": request.client_order_id,
            "account": request.account,
            "symbol": request.symbol,
            "side": plan.side,
            "type": plan.type,
            "quantity": _text(plan.quantity),
            "limit_price": _text(plan.limit_price),
            "stop_price": _text(plan.stop_price),
            "take_profit": _text(plan.take_profit),
            "stop_loss": _text(plan.stop_loss),
            "reduce_only": plan.reduce_only,
            "time_in_force": plan.time_in_force,
            "alert_id": request.alert_id,
            "strategy": request.strategy,
            "expires_at_ms": request.expires_at_ms,
        }
    )


def _text(number: Decimal | None) -> str | None:
    # Without an exponent: not every reader takes 1E-8.
    return None if number is None else format(number, "f")


def _tls(url: httpx.URL) -> ssl.SSLContext:
    # Loading the certificate authorities takes tens of milliseconds and megabytes: not for plain HTTP.
    return httpx.create_ssl_context() if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
