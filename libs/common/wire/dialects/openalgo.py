"""OpenAlgo's payloads: orders and smart orders with an API key, and the signals of a strategy's webhook without one.

{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40",
 "pricetype":"LIMIT","product":"MIS","price":"148.35","trigger_price":"0","disclosed_quantity":"0",
 "position_size":"-40"}

{"action":"long_entry","symbol":"TATASTEEL","exchange":"NSE"}
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, MarketPosition
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import position_of
from libs.common.wire.dialects.words import SIDES

NAME: Final = "openalgo"
SIGNAL_NAME: Final = "openalgo_signal"

_PRICE_TYPES: Final = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "sl": OrderType.STOP_LIMIT,
    "sl-m": OrderType.STOP,
}


@dataclass(frozen=True, slots=True)
class _Signal:
    """What a signal of a strategy's webhook asks for."""

    action: Action
    position: MarketPosition | None = None


_SIGNALS: Final = {
    "long_entry": _Signal(Action.TARGET, MarketPosition.LONG),
    "long_exit": _Signal(Action.CLOSE_LONG),
    "short_entry": _Signal(Action.TARGET, MarketPosition.SHORT),
    "short_exit": _Signal(Action.CLOSE_SHORT),
}
_CONTROLS: Final = frozenset({"start", "stop"})
_MODES: Final = {"live": True, "sandbox": False}


def _recognises(fields: Fields) -> bool:
    if fields.has("apikey"):
        return fields.has_any("pricetype", "product") or fields.has("symbol", "action", "position_size")
    return fields.has("pricetype", "symbol", "action")


def _read(fields: Fields) -> AlertContent:
    side = fields.chosen("action", SIDES, code="invalid_action")
    kind = fields.choice("pricetype", _PRICE_TYPES) or OrderType.MARKET
    # It writes 0 where there is none.
    price, trigger_price = fields.optional_number("price"), fields.optional_number("trigger_price")
    if kind in {OrderType.LIMIT, OrderType.STOP_LIMIT} and price is None:
        raise fields.missing(
            "price", f'the limit price of an order of the pricetype "{fields.text("pricetype")}"'
        )
    if kind in {OrderType.STOP, OrderType.STOP_LIMIT}:
        if trigger_price is None:
            expected = f'the stop price of an order of the pricetype "{fields.text("pricetype")}"'
            raise fields.missing("trigger_price", expected)
    elif trigger_price is not None:
        detail = f'"trigger_price" is {trigger_price}, which a {kind} order has not: send the pricetype "SL" or "SL-M", or 0'
        raise fields.contradiction("trigger_price", detail)
    target = fields.number("position_size", is_signed=True, allows_zero=True)
    # Moving to a position, OpenAlgo finds the quantity itself.
    quantity = fields.number("quantity", allows_zero=target is not None)
    is_limited = kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}
    return AlertContent(
        dialect=NAME,
        action=side if target is None else Action.TARGET,
        symbol=fields.symbol("symbol"),
        exchange=fields.text("exchange"),
        quantity=quantity if target is None else target.copy_abs() or None,
        order_type=kind,
        limit_price=price if is_limited else None,
        stop_price=trigger_price,
        price=None if is_limited else price,
        strategy=fields.text("strategy"),
        position=None if target is None else position_of(target),
        position_size=None if target is None else target.copy_abs(),
    )


DIALECT: Final = Dialect(
    name=NAME,
    title="OpenAlgo",
    credential="apikey",
    recognises=_recognises,
    read=_read,
    template="""{
  "apikey": "<SECRET>",
  "strategy": "my_strategy",
  "exchange": "{{exchange}}",
  "symbol": "{{ticker}}",
  "action": "{{strategy.order.action}}",
  "quantity": "{{strategy.order.contracts}}",
  "pricetype": "MARKET",
  "product": "MIS",
  "position_size": "{{strategy.position_size}}"
}""",
)


def _recognises_signal(fields: Fields) -> bool:
    action = fields.peek("action").strip().lower()
    if action in _CONTROLS:
        return not fields.has_any("ticker", "symbol")
    if action in _SIGNALS:
        return fields.has_any("symbol", "leg_id")
    # With an id it is FactorQX's, whatever stands beside.
    if "id" in fields or not fields.has("symbol", "action"):
        return False
    # The action is all that tells it: one that TradingView did not fill in is to be refused as just that.
    return "position_size" in fields or "{{" in action


def _read_signal(fields: Fields) -> AlertContent:
    fields.refuse_if_given("leg_id", 'what a leg trades is settled in OpenAlgo, send "symbol" and "exchange"')
    action = fields.required("action").lower()
    if action in _CONTROLS:
        raise fields.unsupported(
            "action", f'"{action}" would switch OpenAlgo itself, stop trading by "bascule halt"'
        )
    fields.refuse_if_given(
        "quantity", "a signal has no size: settle the account's default_quantity, and leave it out"
    )
    if fields.choice("mode", _MODES) is False:
        raise fields.unsupported("mode", "what trades on paper is a matter of the account; leave it out")
    target = fields.number("position_size", is_signed=True, allows_zero=True)
    if target is not None:
        return _of_sides(fields, target)
    if action in SIDES:
        raise fields.missing(
            "position_size", "the signed position afterwards, since what a side means is settled in OpenAlgo"
        )
    signal = fields.chosen("action", _SIGNALS, code="invalid_action")
    return AlertContent(
        dialect=SIGNAL_NAME,
        action=signal.action,
        symbol=fields.symbol("symbol"),
        exchange=fields.text("exchange"),
        position=signal.position,
    )


def _of_sides(fields: Fields, target: Decimal) -> AlertContent:
    """Return the meaning of the older signals: a side, and the position afterwards, whose size OpenAlgo settles."""
    side = fields.chosen("action", SIDES, code="invalid_action")
    if (target > 0 and side is Action.SELL) or (target < 0 and side is Action.BUY):
        detail = f'"position_size" is {target} while "action" is "{side}", expected the sign of what was traded, or 0 to close'
        raise fields.contradiction("position_size", detail)
    return AlertContent(
        dialect=SIGNAL_NAME,
        action=Action.TARGET,
        symbol=fields.symbol("symbol"),
        exchange=fields.text("exchange"),
        position=position_of(target),
    )


SIGNAL_DIALECT: Final = Dialect(
    name=SIGNAL_NAME,
    title="OpenAlgo signals",
    credential=None,
    recognises=_recognises_signal,
    read=_read_signal,
    # TradingView tells no exit from an entry: the script says which, as the `alert_message` of each order.
    template="""{
  "action": "{{strategy.order.alert_message}}",
  "symbol": "{{ticker}}",
  "exchange": "{{exchange}}"
}""",
)
