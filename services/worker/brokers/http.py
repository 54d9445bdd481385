"""Orders to an execution layer of the user's own, over signed HTTP.

Whether a failed call may have traded is told by one fact and not by the kind of exception: whether the body had been
handed to the network, and for a request without one, whether its head had been. The head of an order trades nothing.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NoReturn
from urllib.parse import quote, urlencode

import httpcore
import httpx

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder
from libs.common.runtime.secrets import Secret
from libs.common.wire.masking import MIN_WORD_LENGTH, Masker
from libs.common.wire.signing import is_signed, sign_body, sign_request
from services.worker.brokers import http_facts, http_orders
from services.worker.brokers.connections import Connections
from services.worker.brokers.http_answers import Answer
from services.worker.brokers.port import NOT_OURS, Capabilities, Deduplication, LookUp, StillOurs

LONGEST_ANSWER: Final = 65_536
"""Bytes; a longer answer counts as broken."""

LONGEST_LIST: Final = 1_048_576
"""The same for the lists of all markets and of open orders: tens of thousands of names, thousands of orders."""

CANCELLED_AT_ONCE: Final = 50
"""Ids in one request: with 50 of 36 characters its address stays within every common server's 8 KiB."""

_FAILURES: Final = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.ConnectionNotAvailable,
    httpx.InvalidURL,
    OSError,
)

_Headers = list[tuple[bytes, bytes]]


class HttpBroker:
    """One account behind the HTTP interface for execution layers.

    It talks to httpcore directly: a client would add cookies, redirections, environment proxies and half of the cost of
    a call, none of which an order may have.
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
        self._orders = _url(httpx.URL(f"{self._base}/orders"))
        self._key = secret.reveal()
        # A shorter one is a placeholder, and may stand in an answer by chance.
        self._masker = Masker([self._key] if len(self._key) >= MIN_WORD_LENGTH else [])
        self._clock = clock
        self._timeout_s = timeout_ms / 1_000
        self._verify_answers = verify_answers
        self._connections = Connections(connections, self._orders.origin, _tls(self._base))
        self._headers: _Headers = [
            (b"Host", self._base.netloc),
            (b"Accept", b"application/json"),
            (b"Accept-Encoding", b"identity"),
            (b"User-Agent", b"bascule"),
        ]

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Post one order."""
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        encoded = http_orders.encode(request)
        body = _Body(encoded, still_ours)
        headers = [
            *self._headers,
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(encoded)),
            (b"Idempotency-Key", request.client_order_id.encode()),
            (b"X-Signature", sign_body(self._key, encoded).encode()),
        ]
        try:
            answer = await self._exchange(
                httpcore.Request("POST", self._orders, headers=headers, content=body)
            )
        except (*_FAILURES, TimeoutError, _TooLongError) as error:
            _fail(body.has_left, _words(error), error)
        if not body.has_left:
            _fail(False, f"answered before the order was sent: {answer}", None)
        if not answer.is_trusted:
            raise OrderOutcomeUnknown(f"the answer's signature does not fit: {answer}")
        return http_orders.placed(
            answer, request.client_order_id, request.plan.quantity, now_ms=self._clock.now_ms()
        )

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:  # noqa: ARG002
        """Ask for one order."""
        return http_orders.found(await self._get(f"/orders/{quote(client_order_id)}"), client_order_id)

    async def position(self, symbol: Market) -> Decimal:
        """Ask for one position."""
        return http_facts.position(await self._get(f"/positions/{_quoted(symbol)}"))

    async def price(self, symbol: Market) -> Decimal | None:
        """Ask for the last price."""
        return http_facts.price(await self._get(f"/prices/{_quoted(symbol)}"))

    async def account(self) -> Balance | None:
        """Ask for the account's money."""
        return http_facts.account(await self._get("/account"))

    async def instrument(self, symbol: Market) -> Instrument | None:
        """Ask for the steps and limits of one market."""
        return http_facts.instrument(await self._get(f"/instruments/{_quoted(symbol)}"))

    async def open_orders(self, symbol: Market | None = None) -> Sequence[OpenOrder] | None:
        """Ask for what rests."""
        query = "" if symbol is None else f"?symbol={_quoted(symbol)}"
        return http_orders.open_orders(await self._get(f"/orders{query}", longest=LONGEST_LIST), symbol)

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Delete single orders; without ids nothing is sent, for that could be read as "all of them"."""
        for first in range(0, len(order_ids), CANCELLED_AT_ONCE):
            try:
                await self._cancel(symbol, order_ids[first : first + CANCELLED_AT_ONCE], still_ours)
            except BrokerUnavailable as error:
                if first == 0:
                    raise
                raise OrderOutcomeUnknown(f"{first} orders were cancelled, then: {error}") from error

    async def markets(self) -> Sequence[Market] | None:
        """Ask for the list of markets."""
        return http_facts.markets(await self._get("/instruments", longest=LONGEST_LIST))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._connections.aclose()

    async def _get(self, path: str, *, longest: int = LONGEST_ANSWER) -> Answer:
        try:
            answer = await self._exchange(self._without_body("GET", path), longest)
        except (*_FAILURES, TimeoutError, _TooLongError) as error:
            raise LookUpUnavailable(f"no answer from the venue: {_words(error)}") from error
        if not answer.is_trusted:
            raise LookUpUnavailable(f"the answer's signature does not fit: {answer}")
        return answer

    async def _cancel(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        query = urlencode(
            [("symbol", symbol), *(("order_id", each) for each in order_ids)], quote_via=quote, safe=""
        )
        head = _Head(still_ours)
        request = self._without_body("DELETE", f"/orders?{query}", {"trace": head.watch})
        try:
            answer = await self._exchange(request)
        except (*_FAILURES, TimeoutError, _TooLongError) as error:
            _fail(head.has_left, _words(error), error)
        if not answer.is_trusted:
            raise OrderOutcomeUnknown(f"the answer's signature does not fit: {answer}")
        http_orders.check_cancelled(answer, now_ms=self._clock.now_ms())

    def _without_body(
        self, method: str, path: str, extensions: Mapping[str, Any] | None = None
    ) -> httpcore.Request:
        url = _url(httpx.URL(f"{self._base}{path}"))
        at_ms = self._clock.now_ms()
        signature = sign_request(self._key, method, url.target.decode(), at_ms)
        headers = [
            *self._headers,
            (b"X-Timestamp", b"%d" % at_ms),
            (b"X-Signature", signature.encode()),
        ]
        return httpcore.Request(method, url, headers=headers, extensions=dict(extensions or {}))

    async def _exchange(self, request: httpcore.Request, longest: int = LONGEST_ANSWER) -> Answer:
        # One deadline over all: httpcore's own run per step, so a venue that drips bytes would never meet one.
        async with asyncio.timeout(self._timeout_s), self._connections.lend() as connection:
            response = await connection.handle_async_request(request)
            received = bytearray()
            try:
                async for chunk in response.aiter_stream():
                    received += chunk
                    if len(received) > longest:
                        raise _TooLongError(longest)
            finally:
                await response.aclose()
        body, headers = bytes(received), _fields(response.headers)
        is_trusted = not self._verify_answers or is_signed(self._key, body, headers.get("x-signature", ""))
        return Answer(response.status, headers, self._without_key(body), is_trusted)

    def _without_key(self, body: bytes) -> bytes:
        """Return a body as it may be shown and kept: whatever a venue says, it does not repeat our key."""
        text = body.decode("utf-8", "replace")
        shown = self._masker.mask_json(text)
        return body if shown == text else shown.encode("utf-8", "replace")


class _TooLongError(Exception):
    def __init__(self, longest: int) -> None:
        super().__init__(f"the answer is longer than {longest} bytes")


class _Body:
    """The body of one order. The transport asks for it with the connection made and the headers sent."""

    def __init__(self, encoded: bytes, still_ours: StillOurs) -> None:
        self._encoded = encoded
        self._still_ours = still_ours
        self.has_left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        # Making a connection may have taken longer than the lease.
        if not self._still_ours():
            raise BrokerUnavailable(NOT_OURS)
        self.has_left = True
        yield self._encoded


class _Head:
    """The head of a request that is all of it. The transport tells when it is about to send it."""

    def __init__(self, still_ours: StillOurs) -> None:
        self._still_ours = still_ours
        self.has_left = False

    async def watch(self, event: str, _: Mapping[str, Any]) -> None:
        if event == "http11.send_request_headers.started":
            # Making a connection may have taken longer than the lease.
            if not self._still_ours():
                raise BrokerUnavailable(NOT_OURS)
            self.has_left = True


def _fail(has_left: bool, words: str, cause: BaseException | None) -> NoReturn:
    """Raise what a call without an answer means."""
    if has_left:
        raise OrderOutcomeUnknown(f"no answer from the venue: {words}") from cause
    raise BrokerUnavailable(f"nothing was sent: {words}") from cause


def _url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _fields(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("ascii").lower(), raw_value.decode("latin-1")
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _quoted(symbol: Market) -> str:
    return quote(symbol, safe="")


def _tls(url: httpx.URL) -> ssl.SSLContext:
    # Loading the certificate authorities takes tens of milliseconds and megabytes: not for plain HTTP.
    return httpx.create_ssl_context() if url.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
