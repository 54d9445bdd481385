"""TV-Hub's trade command.

{"token":"5f0d2a11-0000-4000-8000-0a0b0c0d0e0f","apiKey":"main-futures","exchange":"binance-futures",
 "pair":"BTCUSDT","isSell":true,"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,
 "alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}
"""

import re
from typing import Final

from libs.common.domain.alert import CLOSES, Action, AlertContent, ExitLevel, ExitUnit, QuantityUnit
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size

NAME: Final = "tv_hub"

_DIRECTIONS: Final = ("isBuy", "isSell", "isClose", "closeLong", "closeShort")
_ORDER_TYPES: Final = {"buy": "isBuy", "sell": "isSell", "close": "isClose"}
"""What a strategy's alert sets by one word."""
_CLOSING_COMMENT: Final = re.compile("close|exit|flat", re.IGNORECASE)
"""In a strategy's comment: TV-Hub then closes, whatever the command says."""
_UNITS: Final = {
    "absolute": QuantityUnit.UNITS,
    "percent": QuantityUnit.PERCENT_OF_EQUITY,
    "percentbalance": QuantityUnit.PERCENT_OF_EQUITY,
    "percentwallet": QuantityUnit.PERCENT_OF_EQUITY,
    "percentposition": QuantityUnit.PERCENT_OF_POSITION,
    "risk": QuantityUnit.RISK_PERCENT,
}
_CANCEL: Final = (
    'one alert does one thing, send another one before, of the dialect bascule with the action "cancel"'
)
_TRAIL: Final = 'a stop is not moved once it is placed, send "stopLossPercent"'
_UNKNOWN_WAYS: Final = {
    "chaseLimitOrder": 'orders do not follow the price, send "isMarket" or "isLimit" with "price"',
    "useDca": "one alert is one order, send one alert for each",
    "cancelAll": _CANCEL,
    "cancelAllDca": _CANCEL,
    "cancelAllOrders": _CANCEL,
    "closeCurrentPosition": 'send "isClose"',
    "closeInProfit": "let the script decide and send only the orders that are meant",
    "conditionalPyramiding": "let the script decide and send only the orders that are meant",
    "isStopLoss": "the stop-loss of an open position cannot be moved, send it with the entry",
    "preventPyramiding": "let the script decide and send only the orders that are meant",
    "stopLossToBreakEven": _TRAIL,
    "usePartialClose": 'send "isClose" with "units"',
    "useLimitClose": 'send "isClose" with "isLimit" and "price"',
    "useTrailingStopLoss": _TRAIL,
    "useEntireAccountBalance": 'send "unitsType" "percent" with "unitsPercent"',
    "stopLossExpression": 'send "stopLossPercent"',
    "takeProfitExpression": 'send "targets" with "takeProfitPercent"',
}
_READ: Final = (
    *_DIRECTIONS,
    *_UNKNOWN_WAYS,
    *(
        "pair",
        "exchange",
        "orderType",
        "strategyComment",
        "hedgeMode",
        "isMarket",
        "isLimit",
        "price",
        "delay",
    ),
    *("units", "unitsType", "unitsPercent", "useFixedSize", "fixedQuoteSize", "leverage", "alertTimestamp"),
    *("stopLoss", "stopLossType", "stopLossPercent", "targets", "targetType"),
)
_BY_LOWER: Final = {name.lower(): name for name in _READ}
_OF_A_TARGET: Final = frozenset({"takeProfitPercent", "amount"})
_SHOWN_LENGTH: Final = 100
_WHOLE: Final = 100
"""Percent."""


def _recognises(fields: Fields) -> bool:
    if fields.has("alertTimestamp"):
        return True
    return fields.has("pair") and (fields.has_any(*_DIRECTIONS) or fields.has("orderType", "apiKey"))


def _read(fields: Fields) -> AlertContent:
    for name in fields.names():
        if (known := _BY_LOWER.get(name.lower(), name)) != name:
            # To TV-Hub both are the same field.
            raise fields.unsupported(
                name[:_SHOWN_LENGTH], f'names are told apart by case here, send "{known}"'
            )
    for name, why in _UNKNOWN_WAYS.items():
        if fields.text(name) if name.endswith("Expression") else fields.flag(name):
            raise fields.unsupported(name, why)
    if fields.optional_number("delay"):
        raise fields.unsupported(
            "delay", "alerts are executed at once, leave it out and send the alert when it is due"
        )
    action = _action(fields)
    if action not in CLOSES and fields.flag("hedgeMode"):
        raise fields.unsupported("hedgeMode", "a market has one position, leave it out")
    order_type = _order_type(fields)
    price = fields.number("price")
    if order_type is OrderType.LIMIT and price is None:
        raise fields.missing("price", "the price of a limit order")
    is_limit = order_type is OrderType.LIMIT
    size = _size(fields, action)
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=fields.symbol("pair"),
        exchange=fields.text("exchange"),
        quantity=size.quantity,
        unit=size.unit,
        order_type=order_type,
        limit_price=price if is_limit else None,
        take_profit=_take_profit(fields, action),
        stop_loss=_stop_loss(fields, action),
        price=None if is_limit else price,
        sender_id=fields.text("alertTimestamp"),
    )


def _action(fields: Fields) -> Action:
    said = {name for name in _DIRECTIONS if fields.flag(name)}
    word = fields.choice("orderType", _ORDER_TYPES, code="invalid_action")
    if word is not None:
        if said - {word, "isClose", "closeLong", "closeShort"}:
            detail = f'"orderType" is "{fields.text("orderType")}" while another direction is true, expected one of them'
            raise fields.contradiction("orderType", detail)
        said.add(word)
    if {"isBuy", "isSell"} <= said:
        raise fields.contradiction("isSell", '"isBuy" and "isSell" are both true, expected one of them')
    if _CLOSING_COMMENT.search(fields.text("strategyComment") or "") and said:
        said.add("isClose")
    closed = _closed(said)
    if closed is not None:
        return closed
    if said & {"closeLong", "closeShort"}:
        name = "closeLong" if "closeLong" in said else "closeShort"
        detail = f'"{name}" is true beside another direction, expected "isClose", and "isSell" for a long position or "isBuy" for a short one'
        raise fields.contradiction(name, detail)
    if not said:
        expected = 'true, or "isSell" or "isClose", or an "orderType" of "buy", "sell" or "close"'
        raise fields.missing("isBuy", expected)
    return Action.BUY if "isBuy" in said else Action.SELL


def _closed(said: set[str]) -> Action | None:
    """Return which close these directions are together; None where they are none, or deny one another."""
    longs, shorts = said & {"closeLong", "isSell"}, said & {"closeShort", "isBuy"}
    if "isClose" not in said and said & {"isBuy", "isSell"}:
        return None
    if not said:
        return None
    if longs and shorts:
        return Action.CLOSE_ALL if said <= {"isClose", "closeLong", "closeShort"} else None
    if longs:
        return Action.CLOSE_LONG
    return Action.CLOSE_SHORT if shorts else Action.CLOSE_ALL


def _order_type(fields: Fields) -> OrderType:
    is_market, is_limit = fields.flag("isMarket"), fields.flag("isLimit")
    if is_market and is_limit:
        raise fields.contradiction("isLimit", '"isMarket" and "isLimit" are both true, expected one of them')
    if is_market is False and not is_limit:
        raise fields.contradiction(
            "isMarket", '"isMarket" is false and "isLimit" is not true, expected one of them'
        )
    return OrderType.LIMIT if is_limit else OrderType.MARKET


def _size(fields: Fields, action: Action) -> Size:
    if fields.flag("useFixedSize"):
        return Size(fields.required_number("fixedQuoteSize"), QuantityUnit.QUOTE)
    if fields.number("fixedQuoteSize", allows_zero=True):
        detail = '"fixedQuoteSize" is a size, but "useFixedSize" is not true: send both, or neither'
        raise fields.contradiction("fixedQuoteSize", detail)
    unit = fields.choice("unitsType", _UNITS) or QuantityUnit.UNITS
    closes = action in CLOSES
    if unit is QuantityUnit.RISK_PERCENT:
        raise fields.unsupported(
            "unitsType", 'what "risk" counts is settled in TV-Hub, send "absolute" with "units"'
        )
    if unit is QuantityUnit.PERCENT_OF_POSITION and not closes:
        raise fields.contradiction(
            "unitsType", '"unitsType" is "percentPosition", which goes with a close alone; send "absolute"'
        )
    if unit is QuantityUnit.PERCENT_OF_EQUITY and closes:
        raise fields.unsupported(
            "unitsType", 'a close takes "percentPosition" or "absolute", or no units for all of it'
        )
    share = fields.number("unitsPercent", allows_zero=True) or None
    if share is not None and unit is QuantityUnit.UNITS:
        detail = f'"unitsPercent" is {share}, but "unitsType" is "absolute": send "percent", or leave it out'
        raise fields.contradiction("unitsPercent", detail)
    units = fields.number("units", allows_zero=closes or share is not None) or None
    if share is None and units is None:
        return Size()
    leverage = fields.optional_number("leverage")
    if unit is QuantityUnit.PERCENT_OF_EQUITY and leverage is not None and leverage > 1:
        raise fields.unsupported(
            "leverage", 'it multiplies a percentage, send "unitsType" "absolute", or no leverage'
        )
    if share is not None and units is not None and units != share:
        detail = f'"unitsPercent" is {share} while "units" is {units}, expected one of them'
        raise fields.contradiction("unitsPercent", detail)
    return Size(units if share is None else share, unit)


def _take_profit(fields: Fields, action: Action) -> ExitLevel | None:
    targets = fields.sections("targets")
    if not targets:
        return None
    if action in CLOSES:
        raise fields.contradiction("targets", '"targets" go with an entry, and this closes: leave them out')
    if fields.choice("targetType", {"percent": True, "absolute": False}) is False:
        raise fields.unsupported(
            "targetType", 'targets are read in percent, send "percent" with "takeProfitPercent"'
        )
    if len(targets) > 1:
        raise fields.unsupported("targets", f"{len(targets)} targets came and one is placed, send one")
    for name in targets[0].names():
        if name not in _OF_A_TARGET:
            targets[0].refuse_if_given(name, 'a target is a percentage here, send "takeProfitPercent" alone')
    amount = targets[0].number("amount")
    if amount is not None and amount != _WHOLE:
        why = f"a target takes the whole position, send {_WHOLE}, or leave it out"
        raise targets[0].unsupported("amount", why)
    return ExitLevel(targets[0].required_number("takeProfitPercent"), ExitUnit.PERCENT)


def _stop_loss(fields: Fields, action: Action) -> ExitLevel | None:
    kind = fields.text("stopLossType")
    percent = fields.number("stopLossPercent", allows_zero=True) or None
    price = fields.number("stopLoss", allows_zero=True) or None
    if kind is None and percent is None and price is None:
        return None
    if action in CLOSES:
        name = (
            "stopLossPercent" if percent is not None else "stopLoss" if price is not None else "stopLossType"
        )
        raise fields.contradiction(name, f'"{name}" goes with an entry, and this closes: leave it out')
    if kind is not None and kind.lower() != "percent":
        raise fields.unsupported(
            "stopLossType", 'stop-losses are read in percent, send "percent" with "stopLossPercent"'
        )
    if kind is None and price is not None:
        raise fields.unsupported("stopLoss", 'stop-losses are read in percent, send "stopLossPercent"')
    if percent is None:
        raise fields.missing("stopLossPercent", "a number")
    return ExitLevel(percent, ExitUnit.PERCENT)


DIALECT: Final = Dialect(
    name=NAME,
    title="TV-Hub",
    credential="token",
    names={"id": "alertTimestamp", "symbol": "pair", "action": "orderType"},
    recognises=_recognises,
    read=_read,
    template="""{
  "token": "<SECRET>",
  "apiKey": "main",
  "exchange": "{{exchange}}",
  "pair": "{{ticker}}",
  "orderType": "{{strategy.order.action}}",
  "isMarket": true,
  "units": {{strategy.order.contracts}},
  "unitsType": "absolute",
  "price": {{strategy.order.price}},
  "alertTimestamp": "{{ticker}}-{{timenow}}-{{strategy.order.id}}"
}""",
)
