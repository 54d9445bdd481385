"""Orders to an execution layer of the user's own, over signed HTTP.

Whether a failed call may have traded is told by one fact and not by the kind of exception: whether the request had been
handed to the network. It is handed over in one piece, right after it was asked whether the lane is still ours.
"""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import partial
from typing import Final, NoReturn
from urllib.parse import quote, urlencode

import httpx

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.domain.venue import Balance, Instrument, OpenOrder
from libs.common.runtime.secrets import Secret
from libs.common.runtime.trust import trust_context
from libs.common.wire.masking import MIN_WORD_LENGTH, Masker
from libs.common.wire.signing import is_signed, sign_body, sign_request
from services.worker.brokers import http_facts, http_orders
from services.worker.brokers.connections import Connections
from services.worker.brokers.http_answers import Answer
from services.worker.brokers.http_connection import BrokenError, HttpConnection
from services.worker.brokers.port import NOT_OURS, Capabilities, Deduplication, LookUp, StillOurs

LONGEST_ANSWER: Final = 65_536
"""Bytes; a longer answer counts as broken."""

LONGEST_LIST: Final = 1_048_576
"""The same for the lists of all markets and of open orders: tens of thousands of names, thousands of orders."""

CANCELLED_AT_ONCE: Final = 50
"""Ids in one request: with 50 of 36 characters its address stays within every common server's 8 KiB."""

_HEADERS: Final = b"Accept: application/json\r\nAccept-Encoding: identity\r\nUser-Agent: bascule\r\n"
_JSON: Final = b"Content-Type: application/json\r\n"

_FAILURES: Final = (BrokenError, httpx.InvalidURL, OSError)
"""A time-out is an OSError, too."""


class HttpBroker:
    """One account behind the HTTP interface for execution layers.

    It speaks HTTP itself: a client would add cookies, redirections, environment proxies and most of the cost of a call,
    none of which an order may have.
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
        self._key = secret.reveal()
        # A shorter one is a placeholder, and may stand in an answer by chance.
        self._masker = Masker([self._key] if len(self._key) >= MIN_WORD_LENGTH else [])
        self._clock = clock
        self._timeout_s = timeout_ms / 1_000
        self._verify_answers = verify_answers
        self._connections = Connections(connections, _making(self._base))
        self._order_head = self._head("POST", httpx.URL(f"{self._base}/orders")) + _JSON

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Post one order."""
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        encoded = http_orders.encode(request)
        words = b"%bContent-Length: %d\r\nIdempotency-Key: %b\r\nX-Signature: %b\r\n\r\n%b" % (
            self._order_head,
            len(encoded),
            request.client_order_id.encode(),
            sign_body(self._key, encoded).encode(),
            encoded,
        )
        departure = _Departure(still_ours)
        try:
            answer = await self._exchange(words, departure)
        except _FAILURES as error:
            _fail(departure.has_left, error)
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
        self._connections.close()

    async def _get(self, path: str, *, longest: int = LONGEST_ANSWER) -> Answer:
        try:
            answer = await self._exchange(self._without_body("GET", path), _at_once, longest)
        except _FAILURES as error:
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
        departure = _Departure(still_ours)
        try:
            answer = await self._exchange(self._without_body("DELETE", f"/orders?{query}"), departure)
        except _FAILURES as error:
            _fail(departure.has_left, error)
        if not answer.is_trusted:
            raise OrderOutcomeUnknown(f"the answer's signature does not fit: {answer}")
        http_orders.check_cancelled(answer, now_ms=self._clock.now_ms())

    def _without_body(self, method: str, path: str) -> bytes:
        url = httpx.URL(f"{self._base}{path}")
        at_ms = self._clock.now_ms()
        signature = sign_request(self._key, method, url.raw_path.decode(), at_ms)
        head = self._head(method, url)
        return b"%bX-Timestamp: %d\r\nX-Signature: %b\r\n\r\n" % (head, at_ms, signature.encode())

    def _head(self, method: str, url: httpx.URL) -> bytes:
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%b" % (
            method.encode(),
            url.raw_path,
            self._base.netloc,
            _HEADERS,
        )

    async def _exchange(
        self, words: bytes, leave: Callable[[], None], longest: int = LONGEST_ANSWER
    ) -> Answer:
        # One deadline over all, so that a venue that drips bytes meets it too.
        until_s = asyncio.get_running_loop().time() + self._timeout_s
        async with self._connections.lend(until_s) as connection:
            received = await connection.exchange(words, leave, longest=longest, until_s=until_s)
        status, headers, body = received.status, received.headers, received.body
        is_trusted = not self._verify_answers or is_signed(self._key, body, headers.get("x-signature", ""))
        return Answer(status, headers, self._without_key(body), is_trusted)

    def _without_key(self, body: bytes) -> bytes:
        """Return a body as it may be shown and kept: whatever a venue says, it does not repeat our key."""
        text = body.decode("utf-8", "replace")
        shown = self._masker.mask_json(text)
        return body if shown == text else shown.encode("utf-8", "replace")


class _Departure:
    """Lets a request that may trade leave, or not; asked once its connection is made."""

    def __init__(self, still_ours: StillOurs) -> None:
        self._still_ours = still_ours
        self.has_left = False

    def __call__(self) -> None:
        # Making a connection may have taken longer than the lease.
        if not self._still_ours():
            raise BrokerUnavailable(NOT_OURS)
        self.has_left = True


def _at_once() -> None:
    """Let a question leave: nothing is traded by it."""


def _fail(has_left: bool, error: BaseException) -> NoReturn:
    """Raise what a call without an answer means."""
    if has_left:
        raise OrderOutcomeUnknown(f"no answer from the venue: {_words(error)}") from error
    raise BrokerUnavailable(f"nothing was sent: {_words(error)}") from error


def _quoted(symbol: Market) -> str:
    return quote(symbol, safe="")


def _making(url: httpx.URL) -> Callable[[], HttpConnection]:
    """Return what makes connections to a server."""
    tls = None
    if url.scheme == "https":
        # One for all: loading the certificate authorities takes tens of milliseconds and megabytes.
        tls = trust_context()
        tls.set_alpn_protocols(["http/1.1"])
    port = url.port or (80 if tls is None else 443)
    return partial(HttpConnection, url.raw_host.decode("ascii"), port, tls)


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
