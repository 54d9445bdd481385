"""Orders on the HTTP wire: the body of one, and what a venue's answer about orders means. Pure.

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
from types import MappingProxyType
from typing import Final

import msgspec
import orjson

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest, OrderType, Side
from libs.common.domain.venue import OpenOrder
from services.worker.brokers.http_answers import (
    NOT_OFFERED,
    NOT_TAKEN,
    WORDS_AT_MOST,
    Answer,
    UnusableError,
    asked,
    decode,
    number,
    number_or_none,
    throttled,
    unusable,
)

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

_OVER: Final = frozenset({OrderState.FILLED, OrderState.REJECTED, OrderState.CANCELED, OrderState.EXPIRED})
_SIDES: Final = {side.value: side for side in Side}
_TYPES: Final = {kind.value: kind for kind in OrderType}


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


class _OpenOrder(msgspec.Struct, frozen=True):
    order_id: str | int
    symbol: Market
    side: str
    quantity: Decimal
    client_order_id: ClientOrderId | None = None
    type: str | None = None
    status: str | None = None
    filled_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None


class _Refusal(msgspec.Struct, frozen=True):
    code: str | int | None = None
    detail: str | None = None


_ORDER: Final = msgspec.json.Decoder(_Order)
_OPEN_ORDERS: Final = msgspec.json.Decoder(tuple[_OpenOrder, ...])
_REFUSAL: Final = msgspec.json.Decoder(_Refusal)


def encode(request: OrderRequest) -> bytes:
    """Return the body of an order: every field is there, null where it holds nothing."""
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
    if answer.status in {200, 201, 409}:
        try:
            report, code = _report(answer, client_order_id, quantity)
        except UnusableError as error:
            raise OrderOutcomeUnknown(f"no usable order in the answer ({error}): {answer}") from error
        if report.state is OrderState.REJECTED:
            raise OrderRejected(code or "rejected", report.detail or "the venue gave no reason")
        return report
    raise _refused(answer, now_ms)


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
    except UnusableError as error:
        raise unusable("order", answer, error) from error


def open_orders(answer: Answer, symbol: Market | None) -> tuple[OpenOrder, ...] | None:
    """Return the orders of a list that rest, in one market or in all; None where the venue does not list them.

    Raises:
        LookUpUnavailable: The answer holds no such list. One entry that cannot be read spoils it: it may be ours.
    """
    if answer.status in NOT_OFFERED:
        return None
    listed = asked(answer, _OPEN_ORDERS, "list of orders")
    try:
        # A venue may leave the choice to us.
        return tuple(
            _open_order(order)
            for order in listed
            if (symbol is None or order.symbol == symbol)
            and STATES.get((order.status or "").lower()) not in _OVER
        )
    except UnusableError as error:
        raise unusable("list of orders", answer, error) from error


def check_cancelled(answer: Answer, *, now_ms: int) -> None:
    """Return where the orders are cancelled, whatever the body tells of them.

    Raises:
        BrokerUnavailable: Nothing was cancelled; `BrokerThrottled` for 429.
        OrderRejected: The venue does not cancel.
        OrderOutcomeUnknown: Anything else.
    """
    if answer.status in {200, 204}:
        return
    if answer.status in NOT_OFFERED:
        raise OrderRejected("not_supported", f"the venue cancels no orders: {answer}")
    raise _refused(answer, now_ms)


def _report(
    answer: Answer, client_order_id: ClientOrderId, ordered: Decimal | None
) -> tuple[OrderReport, str]:
    order = decode(answer, _ORDER)
    state = STATES.get(order.status.lower())
    if state is None:
        raise UnusableError(f"status {order.status!r} is not known")
    if order.client_order_id not in {None, client_order_id}:
        raise UnusableError(f"it is about {order.client_order_id!r}")
    filled = order.filled_quantity
    if filled is None and state is OrderState.FILLED:
        filled = order.quantity if order.quantity is not None else ordered
    if filled is None and state is not OrderState.FILLED and state is not OrderState.PARTIAL:
        filled = Decimal(0)
    report = OrderReport(
        order_id=_order_id(order.order_id),
        state=state,
        filled_quantity=_at_least_0("filled_quantity", filled),
        average_price=number_or_none("average_price", order.average_price),
        fee=number_or_none("fee", order.fee),
        detail=None if order.detail is None else order.detail[:WORDS_AT_MOST],
    )
    return report, "" if order.code is None else str(order.code)


def _open_order(order: _OpenOrder) -> OpenOrder:
    side = _SIDES.get(order.side.lower())
    if side is None:
        raise UnusableError(f"side is {order.side!r}")
    return OpenOrder(
        order_id=_order_id(order.order_id),
        symbol=order.symbol,
        side=side,
        quantity=_at_least_0("quantity", order.quantity),
        client_order_id=order.client_order_id or None,
        type=_type(order),
        filled_quantity=_at_least_0("filled_quantity", order.filled_quantity or Decimal(0)),
        limit_price=number_or_none("limit_price", order.limit_price),
        stop_price=number_or_none("stop_price", order.stop_price),
    )


def _type(order: _OpenOrder) -> OrderType:
    """Return the type; of one that only the venue knows, what its prices make it."""
    known = _TYPES.get((order.type or "").lower())
    if known is not None:
        return known
    if order.stop_price is None:
        return OrderType.LIMIT
    return OrderType.STOP if order.limit_price is None else OrderType.STOP_LIMIT


def _order_id(order_id: str | int) -> str:
    if order_id == "":
        raise UnusableError("order_id is empty")
    return str(order_id)


def _at_least_0(name: str, value: Decimal | None) -> Decimal:
    quantity = number(name, value)
    if quantity < 0:
        raise UnusableError(f"{name} is {quantity}")
    return quantity


def _refused(answer: Answer, now_ms: int) -> BrokerUnavailable | OrderRejected | OrderOutcomeUnknown:
    """Return what a status means that promises nothing."""
    if answer.status in {400, 422}:
        return _rejected(answer)
    if answer.status == 429:
        return throttled(answer, now_ms)
    if answer.status in NOT_TAKEN:
        return BrokerUnavailable(f"the venue's door refused the request: {answer}")
    return OrderOutcomeUnknown(f"the answer does not tell: {answer}")


def _rejected(answer: Answer) -> OrderRejected:
    try:
        refusal = decode(answer, _REFUSAL)
    except UnusableError:
        refusal = _Refusal()
    code = f"http_{answer.status}" if refusal.code is None else str(refusal.code)[:WORDS_AT_MOST]
    return OrderRejected(code, (refusal.detail or str(answer))[:WORDS_AT_MOST])


def _text(number: Decimal | None) -> str | None:
    # Without an exponent: not every reader takes 1E-8.
    return None if number is None else format(number, "f")
