"""TV-Hub's trade command.

{"token":"5f0d2a11-0000-4000-8000-0a0b0c0d0e0f","apiKey":"main-futures","exchange":"binance-futures",
 "pair":"BTCUSDT","isSell":true,"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,
 "alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, ExitLevel, ExitUnit, QuantityUnit
from libs.common.domain.errors import AdmissionError
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields

NAME: Final = "tv_hub"

_DIRECTIONS: Final = ("isBuy", "isSell", "isClose", "closeLong", "closeShort")
_ORDER_TYPES: Final = {"buy": "isBuy", "sell": "isSell", "close": "isClose"}
"""What a strategy's alert sets by one word."""
_CLOSING_COMMENT: Final = re.compile("close|exit|flat", re.IGNORECASE)
"""In a strategy's comment: TV-Hub then closes, whatever the command says."""
_CLOSES: Final = frozenset({Action.CLOSE_LONG, Action.CLOSE_SHORT, Action.CLOSE_ALL})
_UNITS: Final = {
    "absolute": QuantityUnit.UNITS,
    "percent": QuantityUnit.PERCENT_OF_EQUITY,
    "percentbalance": QuantityUnit.PERCENT_OF_EQUITY,
    "percentwallet": QuantityUnit.PERCENT_OF_EQUITY,
    "percentposition": QuantityUnit.PERCENT_OF_POSITION,
    "risk": QuantityUnit.RISK_PERCENT,
}
_UNKNOWN_WAYS: Final = {
    "chaseLimitOrder": 'orders do not follow the price, send "isMarket" or "isLimit" with "price"',
    "useDca": "one alert is one order, send one alert for each",
    "useEntireAccountBalance": 'send "unitsType" "percent" with "unitsPercent"',
    "stopLossExpression": 'send "stopLossPercent"',
    "takeProfitExpression": 'send "targets" with "takeProfitPercent"',
}
_WHOLE: Final = 100
"""Percent."""


@dataclass(frozen=True, slots=True)
class _Size:
    """How much to trade."""

    quantity: Decimal | None = None
    unit: QuantityUnit = QuantityUnit.UNITS


def _recognises(fields: Fields) -> bool:
    if fields.has("alertTimestamp"):
        return True
    return fields.has("pair") and (fields.has_any(*_DIRECTIONS) or fields.has("orderType", "apiKey"))


def _read(fields: Fields) -> AlertContent:
    for name, why in _UNKNOWN_WAYS.items():
        if fields.text(name) if name.endswith("Expression") else fields.flag(name):
            raise _refused(fields, name, why)
    if fields.number("delay", allows_zero=True):
        raise _refused(
            fields, "delay", "alerts are executed at once, leave it out and send the alert when it is due"
        )
    action = _action(fields)
    if action not in _CLOSES and fields.flag("hedgeMode"):
        raise _refused(fields, "hedgeMode", "a market has one position, leave it out")
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


def _refused(fields: Fields, name: str, why: str) -> AdmissionError:
    return fields.refusal("not_supported", name, f'"{fields.label(name)}" cannot be followed: {why}')


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
    return OrderType.LIMIT if is_limit else OrderType.MARKET


def _size(fields: Fields, action: Action) -> _Size:
    if fields.flag("useFixedSize"):
        return _Size(fields.required_number("fixedQuoteSize"), QuantityUnit.QUOTE)
    unit = fields.choice("unitsType", _UNITS) or QuantityUnit.UNITS
    closes = action in _CLOSES
    if unit is QuantityUnit.RISK_PERCENT:
        raise _refused(
            fields, "unitsType", 'what "risk" counts is settled in TV-Hub, send "absolute" with "units"'
        )
    if unit is QuantityUnit.PERCENT_OF_POSITION and not closes:
        raise fields.contradiction(
            "unitsType", '"unitsType" is "percentPosition", which goes with a close alone; send "absolute"'
        )
    if unit is QuantityUnit.PERCENT_OF_EQUITY and closes:
        raise _refused(
            fields, "unitsType", 'a close takes "percentPosition" or "absolute", or no units for all of it'
        )
    name = "units" if unit is QuantityUnit.UNITS or not fields.given("unitsPercent") else "unitsPercent"
    quantity = fields.number(name, allows_zero=closes) or None
    if quantity is None:
        return _Size()
    leverage = fields.number("leverage", allows_zero=True)
    if unit is QuantityUnit.PERCENT_OF_EQUITY and leverage is not None and leverage > 1:
        raise _refused(
            fields, "leverage", 'it multiplies a percentage, send "unitsType" "absolute", or no leverage'
        )
    return _Size(quantity, unit)


def _take_profit(fields: Fields, action: Action) -> ExitLevel | None:
    targets = fields.sections("targets")
    if not targets:
        return None
    if action in _CLOSES:
        raise fields.contradiction("targets", '"targets" go with an entry, and this closes: leave them out')
    if fields.choice("targetType", {"percent": True, "absolute": False}) is False:
        raise _refused(
            fields, "targetType", 'targets are read in percent, send "percent" with "takeProfitPercent"'
        )
    if len(targets) > 1:
        raise _refused(fields, "targets", f"{len(targets)} targets came and one is placed, send one")
    amount = targets[0].number("amount")
    if amount is not None and amount != _WHOLE:
        why = f"a target takes the whole position, send {_WHOLE}, or leave it out"
        raise _refused(targets[0], "amount", why)
    return ExitLevel(targets[0].required_number("takeProfitPercent"), ExitUnit.PERCENT)


def _stop_loss(fields: Fields, action: Action) -> ExitLevel | None:
    kind = fields.text("stopLossType")
    percent = fields.number("stopLossPercent")
    if kind is None and percent is None:
        return None
    if action in _CLOSES:
        name = "stopLossPercent" if percent is not None else "stopLossType"
        raise fields.contradiction(name, f'"{name}" goes with an entry, and this closes: leave it out')
    if kind is not None and kind.lower() != "percent":
        raise _refused(
            fields, "stopLossType", 'stop-losses are read in percent, send "percent" with "stopLossPercent"'
        )
    return ExitLevel(fields.required_number("stopLossPercent"), ExitUnit.PERCENT)


DIALECT: Final = Dialect(
    name=NAME,
    title="TV-Hub",
    credential="token",
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
