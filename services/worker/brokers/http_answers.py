"""What a venue's HTTP answer to an order means. Pure.

The question is whether the order may have been executed. Only what cannot mean anything else counts as "no".

| status | meaning |
|---|---|
| 200, 201 | the order; unknown where the body is not one |
| 409 | the id exists already: the order it has; unknown where the body is not one |
| 400, 422 | refused for good |
| 429 | not executed; come back after `Retry-After` |
| `NOT_TAKEN` | not executed: a wrong address, a wrong key, or a redirection, which is never followed |
| everything else | unknown: 5xx, time-outs of proxies, 302 and 303 after the fact, 2xx that promise nothing |
"""

from collections.abc import Mapping
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final, NoReturn

import msgspec

from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import ClientOrderId, Market, safe_name
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport

NOT_TAKEN: Final = frozenset({301, 307, 308, 401, 403, 404, 405, 411, 413, 414, 415, 421, 426, 431})
"""Statuses of a door, not of a venue: nothing behind it saw an order. Whoever set it up must act."""

NO_LIST: Final = frozenset({404, 405, 501})
"""Statuses of a venue that has no list of its markets."""

LONGEST_RETRY_AFTER_MS: Final = 86_400_000

STATES: Final[Mapping[str, OrderState]] = MappingProxyType(
    {
        "accepted": OrderState.ACCEPTED,
        "new": OrderState.ACCEPTED,
        "open": OrderState.ACCEPTED,
        "partial": OrderState.PARTIAL,
        "partially_filled": OrderState.PARTIAL,
        "filled": OrderState.FILLED,
        "rejected": OrderState.REJECTED,
        "canceled": OrderState.CANCELED,
        "cancelled": OrderState.CANCELED,
        "expired": OrderState.EXPIRED,
    }
)
"""What `status` may say, in any case."""

_WORDS_AT_MOST: Final = 500


class Answer(msgspec.Struct, frozen=True):
    """One complete answer."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    def __str__(self) -> str:
        """Return the status and the start of the body, for an error's text."""
        words = self.body[:200].decode("utf-8", "replace").strip()
        return f"{self.status}: {words}" if words else f"{self.status} without a body"


class _Order(msgspec.Struct, frozen=True):
    order_id: str | int
    status: str
    client_order_id: str | None = None
    quantity: Decimal | None = None
    filled_quantity: Decimal | None = None
    average_price: Decimal | None = None
    fee: Decimal | None = None
    code: str | int | None = None
    detail: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    code: str | int | None = None
    detail: str | None = None


class _Figures(msgspec.Struct, frozen=True):
    quantity: Decimal | None = None
    price: Decimal | None = None


class _Instruments(msgspec.Struct, frozen=True):
    symbols: tuple[Market, ...]


_ORDER: Final = msgspec.json.Decoder(_Order)
_REFUSAL: Final = msgspec.json.Decoder(_Refusal)
_FIGURES: Final = msgspec.json.Decoder(_Figures)
_INSTRUMENTS: Final = msgspec.json.Decoder(_Instruments)


class _UnusableError(Exception):
    """The body is not what it should be; the text says how."""


def placed(answer: Answer, client_order_id: ClientOrderId, quantity: Decimal, *, now_ms: int) -> OrderReport:
    """Return what the answer to a placed order says.

    Args:
        answer: With a body that was received in full.
        client_order_id: Whose order was placed.
        quantity: How much was ordered: what is filled where the answer says "filled" and no more.
        now_ms: For a `Retry-After` that is a date.

    Raises:
        BrokerUnavailable: Certainly not executed; `BrokerThrottled` for 429.
        OrderRejected: Refused for good.
        OrderOutcomeUnknown: Anything else.
    """
    status = answer.status
    if status in {200, 201, 409}:
        try:
            report, code = _report(answer, client_order_id, quantity)
        except _UnusableError as error:
            raise OrderOutcomeUnknown(f"no usable order in the answer ({error}): {answer}") from error
        if report.state is OrderState.REJECTED:
            raise OrderRejected(code or "rejected", report.detail or "the venue gave no reason")
        return report
    if status in {400, 422}:
        _reject(answer)
    if status == 429:
        raise BrokerThrottled(f"too many requests: {answer}", retry_after_ms=_retry_after_ms(answer, now_ms))
    if status in NOT_TAKEN:
        raise BrokerUnavailable(f"the venue's door refused the request: {answer}")
    raise OrderOutcomeUnknown(f"the answer does not tell: {answer}")


def found(answer: Answer, client_order_id: ClientOrderId) -> OrderReport | None:
    """Return what the answer to a look-up says; None where the venue does not know the order.

    A 404 is the venue's word whatever its body: many servers send a page with it. So nothing in front of a venue may
    answer 404 in its place, which `docs/http-broker.md` says.

    Raises:
        LookUpUnavailable: It does not say.
    """
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise LookUpUnavailable(f"the look-up was not answered: {answer}")
    try:
        return _report(answer, client_order_id, None)[0]
    except _UnusableError as error:
        raise LookUpUnavailable(f"no usable order in the answer ({error}): {answer}") from error


def position(answer: Answer) -> Decimal:
    """Return the signed quantity of `{"quantity": "..."}`.

    Raises:
        LookUpUnavailable: It holds none. A 404 neither: no position is 0.
    """
    return _finite(_figures(answer).quantity, answer)


def price(answer: Answer) -> Decimal | None:
    """Return the price of `{"price": "..."}`; None for a 404: the venue has none.

    Raises:
        LookUpUnavailable: It holds none.
    """
    return None if answer.status == 404 else _finite(_figures(answer).price, answer)


def markets(answer: Answer) -> tuple[Market, ...] | None:
    """Return the names of `{"symbols": [...]}` that can stand in the symbol table, each once.

    None where the venue has no list: the address is optional.

    Raises:
        LookUpUnavailable: The answer holds none.
    """
    if answer.status in NO_LIST:
        return None
    if answer.status != 200:
        raise LookUpUnavailable(f"the list of markets was not answered: {answer}")
    try:
        names = _INSTRUMENTS.decode(answer.body).symbols
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LookUpUnavailable(f"no usable list of markets in the answer ({error}): {answer}") from error
    return tuple(name for name in dict.fromkeys(names) if safe_name(name) == name)


def _report(
    answer: Answer, client_order_id: ClientOrderId, ordered: Decimal | None
) -> tuple[OrderReport, str]:
    try:
        order = _ORDER.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _UnusableError(str(error)) from error
    state = STATES.get(order.status.lower())
    if state is None:
        raise _UnusableError(f"status {order.status!r} is not known")
    if order.order_id == "":
        raise _UnusableError("order_id is empty")
    if order.client_order_id not in {None, client_order_id}:
        raise _UnusableError(f"it is about {order.client_order_id!r}")
    filled = order.filled_quantity
    if filled is None and state is OrderState.FILLED:
        filled = order.quantity if order.quantity is not None else ordered
    if filled is None:
        if state in {OrderState.FILLED, OrderState.PARTIAL}:
            raise _UnusableError("filled_quantity is missing")
        filled = Decimal(0)
    if not filled.is_finite() or filled < 0:
        raise _UnusableError(f"filled_quantity is {filled}")
    for name, number in (("average_price", order.average_price), ("fee", order.fee)):
        if number is not None and not number.is_finite():
            raise _UnusableError(f"{name} is {number}")
    report = OrderReport(
        order_id=str(order.order_id),
        state=state,
        filled_quantity=filled,
        average_price=order.average_price,
        fee=order.fee,
        detail=None if order.detail is None else order.detail[:_WORDS_AT_MOST],
    )
    return report, "" if order.code is None else str(order.code)


def _reject(answer: Answer) -> NoReturn:
    try:
        refusal = _REFUSAL.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    code = f"http_{answer.status}" if refusal.code is None else str(refusal.code)[:_WORDS_AT_MOST]
    raise OrderRejected(code, (refusal.detail or str(answer))[:_WORDS_AT_MOST])


def _figures(answer: Answer) -> _Figures:
    if answer.status != 200:
        raise LookUpUnavailable(f"the question was not answered: {answer}")
    try:
        return _FIGURES.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LookUpUnavailable(f"no usable number in the answer ({error}): {answer}") from error


def _finite(number: Decimal | None, answer: Answer) -> Decimal:
    if number is None or not number.is_finite():
        raise LookUpUnavailable(f"no usable number in the answer: {answer}")
    return number


def _retry_after_ms(answer: Answer, now_ms: int) -> int | None:
    """Return what `Retry-After` says, seconds or a date; a date is held against the answer's own where it has one."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:12]) * 1_000, LONGEST_RETRY_AFTER_MS)
    due_ms = _date_ms(text)
    if due_ms is None:
        return None
    own_ms = _date_ms(answer.headers.get("date", ""))
    return max(0, min(due_ms - (now_ms if own_ms is None else own_ms), LONGEST_RETRY_AFTER_MS))


def _date_ms(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
