"""Orders to an execution layer of the user's own, over signed HTTP."""

import email.utils
import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson

from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.wire.signing import is_signed, sign_body, sign_request
from services.worker.brokers.port import Capabilities, Deduplication, LookUp, StillOurs

CONNECTIONS: Final = 128
"""Open at once: more than a worker has slots, so that no order waits for a connection."""

KEEP_ALIVE_S: Final = 20.0
"""Shorter than servers commonly keep idle connections: an order sent down a dying one has an unknown outcome."""

_STATES: Final[Mapping[str, OrderState]] = {
    "accepted": OrderState.ACCEPTED,
    "new": OrderState.ACCEPTED,
    "partial": OrderState.PARTIAL,
    "partially_filled": OrderState.PARTIAL,
    "filled": OrderState.FILLED,
    "rejected": OrderState.REJECTED,
    "canceled": OrderState.CANCELED,
    "cancelled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
}

_REFUSED: Final = frozenset({400, 422})
_NOT_TAKEN: Final = frozenset({401, 403, 404, 405})
"""Answers of a door, not of a venue: wrong key or wrong address. Nothing was executed; an operator must act."""


class HttpBroker:
    """One account behind an HTTP interface.

    Whether a failed call may have been executed is told by one fact: whether a byte of the request had been handed to
    the network. The transport's trace says so, which no exception type does reliably.
    """

    capabilities: Final = Capabilities(Deduplication.NONE, honours_expiry=True, look_up=LookUp.AUTHORITATIVE)

    def __init__(self, *, url: str, key: str, timeout_ms: int, verify_answers: bool = False) -> None:
        """Args:
        url: Without a trailing `/orders`.
        key: Signs requests, and answers where they are verified.
        timeout_ms: Bound on each step of a call.
        verify_answers: Whether an answer without a valid `X-Signature` counts as none.
        """
        self._url = url.rstrip("/")
        self._key = key
        self._verify_answers = verify_answers
        self._client = httpx.AsyncClient(
            timeout=timeout_ms / 1_000,
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_S,
            ),
            trust_env=False,
        )
        self._path = httpx.URL(self._url).path.rstrip("/")

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Post one order; see `Broker.place`."""
        body = orjson.dumps(_order(request))
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": request.client_order_id,
            "X-Signature": sign_body(self._key, body),
        }
        departure = _Departure(still_ours)
        try:
            answer = await self._client.post(
                f"{self._url}/orders", content=body, headers=headers, extensions={"trace": departure.trace}
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            if departure.has_left:
                raise OrderOutcomeUnknown(f"no answer: {_words(error)}") from error
            raise BrokerUnavailable(f"nothing was sent: {_words(error)}") from error
        return self._placed(answer)

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Ask for one order; see `Broker.find`."""
        document = await self._get(f"/orders/{client_order_id}")
        if document is None:
            return None
        report = _report(document)
        if report is None:
            raise LookUpUnavailable(f"not an order: {str(document)[:200]}")
        return report

    async def position(self, symbol: Market) -> Decimal:
        """Ask for one position; one that the venue does not know is 0."""
        return await self._number(f"/positions/{_quoted(symbol)}", "quantity") or Decimal(0)

    async def price(self, symbol: Market) -> Decimal | None:
        """Ask for the last price."""
        return await self._number(f"/prices/{_quoted(symbol)}", "price")

    async def aclose(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def _placed(self, answer: httpx.Response) -> OrderReport:
        status = answer.status_code
        if status == 429:
            raise BrokerThrottled("429 from the venue", retry_after_ms=_retry_after_ms(answer))
        if status in _NOT_TAKEN:
            raise BrokerUnavailable(f"{status} from the venue: {answer.text[:200]}")
        document = self._document(answer)
        if status in _REFUSED:
            raise OrderRejected(
                str(document.get("code", status)), str(document.get("detail", answer.text[:200]))
            )
        if status not in {200, 201, 409}:
            raise OrderOutcomeUnknown(f"{status} from the venue: {answer.text[:200]}")
        report = _report(document)
        if report is None:
            raise OrderOutcomeUnknown(f"{status} without a usable order: {answer.text[:200]}")
        return report

    def _document(self, answer: httpx.Response) -> dict[str, Any]:
        """Return the object an answer holds; an empty one where it holds none, or none that can be trusted."""
        if self._verify_answers and not is_signed(
            self._key, answer.content, answer.headers.get("X-Signature", "")
        ):
            return {}
        try:
            document = orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            return {}
        return document if isinstance(document, dict) else {}

    async def _get(self, path: str) -> dict[str, Any] | None:
        at_ms = time.time_ns() // 1_000_000
        headers = {
            "X-Timestamp": str(at_ms),
            "X-Signature": sign_request(self._key, "GET", f"{self._path}{path}", at_ms),
        }
        try:
            answer = await self._client.get(f"{self._url}{path}", headers=headers)
        except (httpx.HTTPError, OSError) as error:
            raise LookUpUnavailable(f"no answer: {_words(error)}") from error
        if answer.status_code == 404:
            return None
        document = self._document(answer)
        if answer.status_code != 200 or not document:
            raise LookUpUnavailable(f"{answer.status_code} from the venue: {answer.text[:200]}")
        return document

    async def _number(self, path: str, field: str) -> Decimal | None:
        document = await self._get(path)
        if document is None:
            return None
        number = _decimal(document.get(field))
        if number is None:
            raise LookUpUnavailable(f"{field} is {document.get(field)!r}, expected a number")
        return number


class _Departure:
    """Watches one request from inside the transport."""

    def __init__(self, still_ours: StillOurs) -> None:
        self._still_ours = still_ours
        self.has_left = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Ask `still_ours` right before the first byte leaves."""
        if event != "http11.send_request_headers.started":
            return
        if not self._still_ours():
            raise BrokerUnavailable("nothing was sent: the lane is no longer ours")
        self.has_left = True


def _order(request: OrderRequest) -> dict[str, Any]:
    plan = request.plan
    return {
        "client_order_id": request.client_order_id,
        "account": request.account,
        "symbol": request.symbol,
        "side": plan.side,
        "type": plan.type,
        "quantity": _plain(plan.quantity),
        "limit_price": _plain(plan.limit_price),
        "stop_price": _plain(plan.stop_price),
        "take_profit": _plain(plan.take_profit),
        "stop_loss": _plain(plan.stop_loss),
        "reduce_only": plan.reduce_only,
        "time_in_force": plan.time_in_force,
        "alert_id": request.alert_id,
        "strategy": request.strategy,
        "expires_at_ms": request.expires_at_ms,
    }


def _plain(number: Decimal | None) -> str | None:
    # Without an exponent: not every JSON reader on the other side knows 1E-8.
    return None if number is None else f"{number:f}"


def _report(document: Mapping[str, Any]) -> OrderReport | None:
    order_id, state = document.get("order_id"), _STATES.get(str(document.get("status", "")).lower())
    if not isinstance(order_id, str | int) or not str(order_id) or state is None:
        return None
    return OrderReport(
        order_id=str(order_id),
        state=state,
        filled_quantity=_decimal(document.get("filled_quantity")) or Decimal(0),
        average_price=_decimal(document.get("average_price")),
        detail=None if document.get("detail") is None else str(document["detail"])[:500],
    )


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _retry_after_ms(answer: httpx.Response) -> int | None:
    """Read `Retry-After`, seconds or a date."""
    text = answer.headers.get("Retry-After", "").strip()
    try:
        if text.replace(".", "", 1).isdigit():
            return int(float(text) * 1_000)
        return max(0, int((email.utils.parsedate_to_datetime(text).timestamp() - time.time()) * 1_000))
    except (ValueError, OverflowError):
        return None


def _quoted(symbol: Market) -> str:
    return quote(symbol, safe="")


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
