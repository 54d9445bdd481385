"""Orders between our words and ccxt's: what is asked for, what came of it, how finely it can be traded. Pure.

Quantities are base units here, and contracts there where a contract is more than one unit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

from libs.common.domain.alert import TimeInForce
from libs.common.domain.errors import OrderRejected
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderType, Side
from libs.common.domain.venue import Instrument, OpenOrder, OrderAbilities
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.ccxt_venues import UNKNOWN, Venue

TICK_SIZE: Final = 4
"""ccxt's mode in which a precision is a step; else it is a number of decimals."""
DECIMAL_PLACES: Final = 2

_TIMES: Final[Mapping[TimeInForce, str]] = MappingProxyType(
    {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
)
_STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
_LIMITS: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})
_ENDED: Final = MappingProxyType(
    {"canceled": OrderState.CANCELED, "expired": OrderState.EXPIRED, "rejected": OrderState.REJECTED}
)


class UnusableOrder(Exception):
    """An exchange's answer holds no usable order; the text says why."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The arguments of ccxt's `create_order`."""

    symbol: str
    type: str
    side: str
    amount: str
    price: str | None
    parameters: Mapping[str, Any]


def abilities(features: Mapping[str, Any] | None, venue: Venue, market_type: MarketType) -> OrderAbilities:
    """Return what orders at an exchange can carry.

    Args:
        features: ccxt's for this market type.
        venue: What is known of the exchange.
        market_type: What the account trades.
    """
    can = (features or {}).get("createOrder") or {}
    times = can.get("timeInForce") or {}
    has_attached = market_type in venue.has_attached and can.get("attachedStopLossTakeProfit") is not None
    return OrderAbilities(
        types=venue.types[market_type],
        has_take_profit=has_attached,
        has_stop_loss=has_attached,
        # Nothing can be reduced where coins are owned; of an exchange that nothing is known of, it is not believed.
        has_reduce_only=market_type is MarketType.SWAP and venue is not UNKNOWN and venue.reduces,
        times_in_force=frozenset(
            {TimeInForce.GTC} | {ours for ours, word in _TIMES.items() if times.get(word)}
        ),
    )


def instrument(market: Mapping[str, Any], precision_mode: int) -> Instrument:
    """Return the steps and limits of one of ccxt's markets, in base units."""
    limits, size = market.get("limits") or {}, contract_size(market)
    amount, cost = limits.get("amount") or {}, limits.get("cost") or {}
    precision = market.get("precision") or {}
    return Instrument(
        quantity_step=_scaled(_step(precision.get("amount"), precision_mode), size),
        price_step=_step(precision.get("price"), precision_mode),
        min_quantity=_scaled(_above_zero(amount.get("min")), size),
        max_quantity=_scaled(_above_zero(amount.get("max")), size),
        min_value=_above_zero(cost.get("min")),
    )


def contract_size(market: Mapping[str, Any]) -> Decimal:
    """Return the base units of one contract; 1 where there are none."""
    return (_above_zero(market.get("contractSize")) if market.get("contract") else None) or Decimal(1)


def ask(
    plan: OrderPlan,
    client_order_id: ClientOrderId,
    market: Mapping[str, Any],
    precision_mode: int,
    can: OrderAbilities,
    venue: Venue,
    market_type: MarketType,
) -> Ask:
    """Return an order as ccxt takes it: never more than was asked for, at no worse a limit.

    Raises:
        OrderRejected: The market does not take it.
    """
    _check_supported(plan, can, venue, market_type, client_order_id)
    steps = instrument(market, precision_mode)
    quantity = _down(plan.quantity, steps.quantity_step)
    _check_size(quantity, plan, steps, market)
    parameters: dict[str, Any] = dict(venue.parameters.get(market_type, {}))
    parameters[venue.id_parameter] = client_order_id
    rounding = ROUND_FLOOR if plan.side is Side.BUY else ROUND_CEILING
    limit = None
    if plan.type in _LIMITS:
        limit = _price("limit_price", plan.limit_price, steps, rounding)
    if plan.type in _STOPS:
        parameters[venue.stop_parameter] = _price("stop_price", plan.stop_price, steps, ROUND_HALF_EVEN)
        if venue.has_trigger_direction and market_type is MarketType.SWAP:
            parameters["triggerDirection"] = "ascending" if plan.side is Side.BUY else "descending"
    for ours, theirs in (("take_profit", "takeProfit"), ("stop_loss", "stopLoss")):
        if getattr(plan, ours) is not None:
            parameters[theirs] = {"triggerPrice": _price(ours, getattr(plan, ours), steps, ROUND_HALF_EVEN)}
    if plan.reduce_only:
        parameters["reduceOnly"] = True
    if plan.time_in_force is not None and plan.type in _LIMITS:
        parameters["timeInForce"] = _TIMES[TimeInForce(plan.time_in_force)]
    return Ask(
        symbol=market["symbol"],
        type="limit" if plan.type in _LIMITS else "market",
        side=plan.side.value,
        amount=_text(quantity / contract_size(market)),
        price=limit,
        parameters=parameters,
    )


def report(
    order: Mapping[str, Any],
    market: Mapping[str, Any],
    client_order_id: ClientOrderId,
    ordered: Decimal | None = None,
) -> OrderReport:
    """Return what one of ccxt's orders says.

    Args:
        order: ccxt's structure.
        market: ccxt's; its contract size makes base units of contracts.
        client_order_id: Whose order it must be.
        ordered: Base units that were ordered, where the order does not say.

    Raises:
        UnusableOrder: It has no id, or is another one, or its numbers are none.
    """
    order_id, named = order.get("id"), order.get("clientOrderId")
    if not order_id:
        raise UnusableOrder("there is no order id in it")
    if named not in {None, "", client_order_id}:
        raise UnusableOrder(f"it is about {named!r}")
    size = contract_size(market)
    filled = _scaled(decimal(order.get("filled")), size)
    amount = _scaled(decimal(order.get("amount")), size)
    if ordered is None:
        ordered = amount
    if filled is None and order.get("status") == "closed":
        filled = ordered
    filled = filled or Decimal(0)
    average = _above_zero(order.get("average"))
    return OrderReport(
        order_id=str(order_id),
        state=_state(order.get("status"), filled, ordered),
        filled_quantity=filled,
        average_price=average,
        fee=_fee(order.get("fee"), market, average),
    )


def open_order(order: Mapping[str, Any], market: Mapping[str, Any]) -> OpenOrder:
    """Return one of ccxt's orders as one that rests.

    Raises:
        UnusableOrder: It has no id, no side, or its numbers are none.
    """
    size = contract_size(market)
    quantity, side = _scaled(decimal(order.get("amount")), size), order.get("side")
    if not order.get("id") or side not in {"buy", "sell"} or quantity is None:
        raise UnusableOrder("an open order has no id, side or amount")
    stop = _above_zero(order.get("triggerPrice") or order.get("stopLossPrice") or order.get("stopPrice"))
    limit = _above_zero(order.get("price"))
    has_limit = limit is not None and order.get("type") != "market"
    stopping = OrderType.STOP_LIMIT if has_limit else OrderType.STOP
    return OpenOrder(
        order_id=str(order["id"]),
        symbol=Market(market["symbol"]),
        side=Side(side),
        quantity=quantity,
        client_order_id=ClientOrderId(order["clientOrderId"]) if order.get("clientOrderId") else None,
        type=OrderType.LIMIT if stop is None else stopping,
        filled_quantity=_scaled(decimal(order.get("filled")), size) or Decimal(0),
        limit_price=limit if has_limit else None,
        stop_price=stop,
    )


def bybit_equities(info: Any) -> dict[str, Decimal]:
    """Return the equity in each coin of Bybit's own balance; ccxt takes the wallet's, which lacks open profit.

    Raises:
        UnusableOrder: It is not of its form.
    """
    try:
        coins = [coin for account in info["result"]["list"] for coin in account["coin"]]
        return {coin["coin"]: decimal(coin["equity"]) or Decimal(0) for coin in coins}
    except (KeyError, TypeError) as error:
        raise UnusableOrder(f"a balance without {error}") from error


def decimal(value: Any) -> Decimal | None:
    """Return a number of ccxt's, exact where it came as text; None where there is none.

    Raises:
        UnusableOrder: It is something else.
    """
    if value is None or value == "" or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise UnusableOrder(f"{str(value)[:40]!r} is no number") from error
    if not number.is_finite():
        raise UnusableOrder(f"{value!r} is no number")
    return number


def _check_supported(
    plan: OrderPlan,
    can: OrderAbilities,
    venue: Venue,
    market_type: MarketType,
    client_order_id: ClientOrderId,
) -> None:
    """Refuse what would have to be left out.

    Raises:
        OrderRejected: It asks for more than the exchange has.
    """
    if len(client_order_id) > venue.id_length or venue.id_alphabet.fullmatch(client_order_id) is None:
        raise OrderRejected("unsupported", "the exchange takes no client order id of this form")
    missing = []
    if plan.type not in can.types:
        missing.append(f"type {plan.type}")
    if plan.take_profit is not None and not can.has_take_profit:
        missing.append("take_profit")
    if plan.stop_loss is not None and not can.has_stop_loss:
        missing.append("stop_loss")
    if plan.reduce_only and not can.has_reduce_only:
        missing.append("reduce_only")
    if plan.time_in_force is not None and plan.time_in_force not in can.times_in_force:
        missing.append(f"time_in_force {plan.time_in_force}")
    if missing:
        raise OrderRejected("unsupported", f"not to be had here: {', '.join(missing)}")
    is_market_buy = plan.type is OrderType.MARKET and plan.side is Side.BUY
    if is_market_buy and market_type is MarketType.SPOT and not venue.buys_base:
        detail = (
            "market buys name what they spend here, not what they buy, so the quantity could be another; send a limit "
            "order, for example with time_in_force ioc"
        )
        raise OrderRejected("unsupported", detail)


def _check_size(quantity: Decimal, plan: OrderPlan, steps: Instrument, market: Mapping[str, Any]) -> None:
    symbol = market["symbol"]
    if market.get("active") is False:
        raise OrderRejected("not_traded", f"{symbol} is not traded now")
    if quantity <= 0:
        step = steps.quantity_step
        raise OrderRejected("too_small", f"{plan.quantity} of {symbol} is less than its step of {step}")
    if steps.min_quantity is not None and quantity < steps.min_quantity:
        raise OrderRejected("too_small", f"{quantity} of {symbol}, the least is {steps.min_quantity}")
    if steps.max_quantity is not None and quantity > steps.max_quantity:
        raise OrderRejected("too_large", f"{quantity} of {symbol}, the most is {steps.max_quantity}")
    price = plan.limit_price or plan.reference_price
    # What closes a position is let through: many exchanges exempt it, and the others say so themselves.
    if steps.min_value is not None and price is not None and not (plan.reduce_only or plan.is_exit):
        value = quantity * price
        if value < steps.min_value:
            raise OrderRejected(
                "too_small", f"{quantity} of {symbol} is worth {value}, the least is {steps.min_value}"
            )


def _price(name: str, price: Decimal | None, steps: Instrument, rounding: str) -> str:
    if price is None:
        raise OrderRejected("invalid", f"{name} is missing")
    step = steps.price_step
    if step is not None:
        price = (price / step).to_integral_value(rounding=rounding) * step
    if price <= 0:
        raise OrderRejected("invalid", f"{name} is less than the market's step of {step}")
    return _text(price)


def _state(status: Any, filled: Decimal, ordered: Decimal | None) -> OrderState:
    if status in _ENDED:
        return _ENDED[status]
    is_full = ordered is not None and ordered > 0 and filled >= ordered
    if status == "closed":
        # Closed with a part missing is what some say of what was cancelled, or of an IOC order.
        return OrderState.FILLED if is_full or ordered is None else OrderState.CANCELED
    if is_full:
        return OrderState.FILLED
    return OrderState.PARTIAL if filled > 0 else OrderState.ACCEPTED


def _fee(fee: Any, market: Mapping[str, Any], average: Decimal | None) -> Decimal | None:
    """Return a fee in the quote currency; None where it was paid in a third one."""
    cost = decimal((fee or {}).get("cost"))
    if cost is None:
        return None
    currency = fee.get("currency")
    if currency in {market.get("quote"), market.get("settle")}:
        return cost
    return cost * average if currency == market.get("base") and average is not None else None


def _step(precision: Any, mode: int) -> Decimal | None:
    value = decimal(precision)
    if value is None:
        return None
    if mode == TICK_SIZE:
        return value if value > 0 else None
    # Significant digits are no step; ccxt cuts to them itself.
    return Decimal(1).scaleb(-int(value)) if mode == DECIMAL_PLACES else None


def _down(quantity: Decimal, step: Decimal | None) -> Decimal:
    return quantity if step is None else (quantity / step).to_integral_value(rounding=ROUND_FLOOR) * step


def _scaled(value: Decimal | None, size: Decimal) -> Decimal | None:
    return None if value is None else value * size


def _above_zero(value: Any) -> Decimal | None:
    number = decimal(value)
    return number if number is not None and number > 0 else None


def _text(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
