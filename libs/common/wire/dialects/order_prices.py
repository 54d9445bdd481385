"""The type of an order, and its prices: those that the type takes, and no others."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.order import OrderType
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.words import ORDER_TYPES

_TRAILING: Final = "trailing_stop"
_LIMITED: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_STOPPED: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})


@dataclass(frozen=True, slots=True)
class OrderPrices:
    """What an order is executed at."""

    limit: Decimal | None
    stop: Decimal | None


def order_type(fields: Fields, name: str) -> OrderType:
    """Return the type of an order, in the words that most dialects use; a market order where there is none.

    Raises:
        AdmissionError: 422, it is no such word, or trails the price.
    """
    if (fields.text(name) or "").lower() == _TRAILING:
        raise fields.unsupported(name, 'trailing orders are not placed, send "stop" with its price')
    return fields.choice(name, ORDER_TYPES) or OrderType.MARKET


def order_prices(
    fields: Fields, kind: OrderType, *, limit: str, stop: str, zero_is_none: bool = False
) -> OrderPrices:
    """Return the prices of an order.

    Args:
        fields: Where they stand.
        kind: Of the order. Decides which must be there; another one contradicts it.
        limit: The name of the limit price.
        stop: The name of the stop price.
        zero_is_none: Whether 0 and an empty text say that there is no price, as some tools write it.

    Raises:
        AdmissionError: 422, one is missing, or is there and has no use.
    """
    return OrderPrices(
        limit=_price(fields, limit, kind, is_needed=kind in _LIMITED, zero_is_none=zero_is_none),
        stop=_price(fields, stop, kind, is_needed=kind in _STOPPED, zero_is_none=zero_is_none),
    )


def _price(
    fields: Fields, name: str, kind: OrderType, *, is_needed: bool, zero_is_none: bool
) -> Decimal | None:
    price = fields.optional_number(name) if zero_is_none else fields.number(name)
    words = kind.replace("_", "-")
    if is_needed and price is None:
        raise fields.missing(name, f"the price of a {words} order")
    if price is not None and not is_needed:
        detail = f'"{fields.label(name)}" is {price}, but a {words} order has no such price: send the type that has, or leave it out'
        raise fields.contradiction(name, detail)
    return price
