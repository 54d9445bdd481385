"""TradersPost's webhook payload. Its credential is a password in the URL.

{"ticker":"MNQZ2026","action":"buy","sentiment":"long","quantity":"2","price":"20850.25","takeProfit":{"amount":60},
 "stopLoss":{"type":"stop","stopPrice":20810},"time":"2026-11-03T14:30:02Z","interval":"5"}

A sentiment is the position that may be open afterwards, or none: it never becomes another one.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import (
    RISK_UNITS,
    Action,
    AlertContent,
    ExitLevel,
    ExitUnit,
    MarketPosition,
    QuantityUnit,
)
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_prices import order_prices, order_type
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.words import SIDES, TIMES_IN_FORCE

NAME: Final = "traderspost"

_FOREIGN: Final = (
    "PIN",
    "api_key",
    "apikey",
    "auth_key",
    "metrics",
    "passphrase",
    "platform_name",
    "pointer",
    "signalToken",
    "strategy_name",
    "stub",
    "token",
)
"""What other tools have beside a ticker and an action, which they mean otherwise."""

_ACTIONS: Final = {
    **SIDES,
    "exit": Action.CLOSE_ALL,
    "cancel": Action.CANCEL,
}
_SENTIMENTS: Final = {
    "bullish": MarketPosition.LONG,
    "long": MarketPosition.LONG,
    "bearish": MarketPosition.SHORT,
    "short": MarketPosition.SHORT,
    "flat": MarketPosition.FLAT,
}
_REDUCING: Final = {
    (Action.SELL, MarketPosition.LONG): Action.CLOSE_LONG,
    (Action.BUY, MarketPosition.SHORT): Action.CLOSE_SHORT,
}
"""Against the sentiment: what is open is exited, and nothing entered."""
_UNITS: Final = {
    "fixed_quantity": QuantityUnit.UNITS,
    "dollar_amount": QuantityUnit.QUOTE,
    "risk_dollar_amount": QuantityUnit.RISK_QUOTE,
    "risk_percent": QuantityUnit.RISK_PERCENT,
    "percent_of_equity": QuantityUnit.PERCENT_OF_EQUITY,
    "percent_of_position": QuantityUnit.PERCENT_OF_POSITION,
}
_OF_AN_EXIT: Final = frozenset({QuantityUnit.UNITS, QuantityUnit.PERCENT_OF_POSITION})
_OPTION_FIELDS: Final = (
    "optionType",
    "intrinsicValue",
    "expiration",
    "strikeCount",
    "strikesAway",
    "strikePrice",
)
_PUT: Final = re.compile(r"[A-Za-z.]+ +\d{6}P\d+(?:\.\d+)?", re.ASCII)
_TAKE_PROFIT_UNITS: Final = {
    "limitPrice": ExitUnit.PRICE,
    "price": ExitUnit.PRICE,
    "percent": ExitUnit.PERCENT,
    "amount": ExitUnit.DISTANCE,
}
_STOP_LOSS_UNITS: Final = {
    "stopPrice": ExitUnit.PRICE,
    "percent": ExitUnit.PERCENT,
    "amount": ExitUnit.DISTANCE,
}


def _recognises(fields: Fields) -> bool:
    return fields.has("ticker", "action") and not fields.has_any(*_FOREIGN)


def _read(fields: Fields) -> AlertContent:
    _refuse_unknown_ways(fields)
    if (fields.text("action") or "").lower() == "add":
        raise fields.unsupported("action", '"add" depends on what is open, send "buy" or "sell"')
    asked = fields.chosen("action", _ACTIONS, code="invalid_action")
    symbol = _symbol(fields)
    sentiment = fields.choice("sentiment", _SENTIMENTS)
    if sentiment is not None and asked not in {Action.BUY, Action.SELL}:
        detail = (
            f'"sentiment" is "{fields.text("sentiment")}", but goes with "buy" or "sell" only: leave it out'
        )
        raise fields.contradiction("sentiment", detail)
    price = _reference_price(fields)
    interval = fields.text("interval")
    if asked is Action.CANCEL:
        fields.refuse_if_given(
            "cancelOrderType", "a cancel takes all open orders of the ticker, leave it out"
        )
        return AlertContent(dialect=NAME, action=asked, symbol=symbol, price=price, interval=interval)
    kind = order_type(fields, "orderType")
    prices = order_prices(fields, kind, limit="limitPrice", stop="stopPrice")
    action = _action(asked, sentiment)
    size = _size(fields, action)
    levels = _Levels.of(fields, asked, action)
    if size.unit in RISK_UNITS and levels.stop_loss is None:
        raise fields.missing("stopLoss", "one that the risked quantity can be found from")
    # An exit without a quantity closes all, whatever may stay open by the sentiment.
    keeps_position = action in {Action.BUY, Action.SELL, Action.TARGET} or size.quantity is not None
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=symbol,
        quantity=size.quantity,
        unit=size.unit,
        order_type=kind,
        limit_price=prices.limit,
        stop_price=prices.stop,
        take_profit=levels.take_profit,
        stop_loss=levels.stop_loss,
        time_in_force=fields.choice("timeInForce", TIMES_IN_FORCE),
        price=price,
        interval=interval,
        position=sentiment if keeps_position else None,
    )


def _refuse_unknown_ways(fields: Fields) -> None:
    for name in _OPTION_FIELDS:
        fields.refuse_if_given(name, 'no option is looked up, send the contract itself as "ticker"')
    for name in ("trailAmount", "trailPercent"):
        fields.refuse_if_given(name, 'trailing orders are not placed, send "stopLoss" with "stopPrice"')
    if fields.optional_number("delay"):
        raise fields.unsupported(
            "delay", "alerts are executed at once, leave it out and send the alert when it is due"
        )
    if fields.flag("cancel"):
        raise fields.unsupported(
            "cancel", 'one alert does one thing, send another one before with "action" "cancel"'
        )


def _symbol(fields: Fields) -> str:
    symbol = fields.symbol("ticker")
    if _PUT.fullmatch(symbol):
        raise fields.unsupported(
            "ticker",
            f'"{symbol}" is a put option, which turns buying and selling round, send another contract',
        )
    return symbol


def _reference_price(fields: Fields) -> Decimal | None:
    price, alias = fields.number("signalPrice"), fields.number("price")
    if price is not None and alias is not None and price != alias:
        raise fields.contradiction(
            "price", f'"price" is {alias} while "signalPrice" is {price}, expected the same'
        )
    return alias if price is None else price


def _action(asked: Action, sentiment: MarketPosition | None) -> Action:
    if sentiment is MarketPosition.FLAT:
        return Action.TARGET
    return asked if sentiment is None else _REDUCING.get((asked, sentiment), asked)


def _size(fields: Fields, action: Action) -> Size:
    unit = fields.choice("quantityType", _UNITS) or QuantityUnit.UNITS
    quantity = fields.number("quantity")
    # Flat is flat: TradersPost exits everything, though its own template sends the quantity of the order.
    if action is Action.TARGET:
        return Size()
    if action not in {Action.BUY, Action.SELL} and unit not in _OF_AN_EXIT:
        raise fields.unsupported(
            "quantityType",
            'an exit takes "fixed_quantity" or "percent_of_position", or no quantity for all of it',
        )
    if quantity is None and fields.given("quantityType"):
        raise fields.missing("quantity", "a number, since there is a quantityType")
    return Size(quantity, unit)


@dataclass(frozen=True, slots=True)
class _Levels:
    """What is attached to an entry."""

    take_profit: ExitLevel | None = None
    stop_loss: ExitLevel | None = None

    @classmethod
    def of(cls, fields: Fields, asked: Action, action: Action) -> "_Levels":
        take_profit, stop_loss = fields.section("takeProfit"), fields.section("stopLoss")
        if asked is Action.CLOSE_ALL:
            for name, section in (("takeProfit", take_profit), ("stopLoss", stop_loss)):
                if section is not None:
                    raise fields.contradiction(
                        name, f'"{name}" goes with an entry, and "action" is "exit": leave it out'
                    )
        # One message serves a strategy's entries and exits, and TradersPost attaches both to entries only.
        if action not in {Action.BUY, Action.SELL}:
            return cls()
        return cls(
            None if take_profit is None else _level(fields, "takeProfit", take_profit, _TAKE_PROFIT_UNITS),
            None if stop_loss is None else _stop_loss(fields, stop_loss),
        )


def _stop_loss(fields: Fields, section: Fields) -> ExitLevel:
    section.refuse_if_given("limitPrice", 'a stop-loss is a stop order here, send "stopPrice" alone')
    for name in ("trailAmount", "trailPercent"):
        section.refuse_if_given(
            name, 'a stop-loss does not trail here, send "stopPrice", "percent" or "amount"'
        )
    kind = section.choice("type", {"stop": True, "stop_limit": False, "trailing_stop": False})
    if kind is False:
        raise section.unsupported("type", 'a stop-loss is a stop order here, send "stop"')
    return _level(fields, "stopLoss", section, _STOP_LOSS_UNITS)


def _level(fields: Fields, name: str, section: Fields, units: dict[str, ExitUnit]) -> ExitLevel:
    found = section.one_of(*units)
    value = None if found is None else section.number(found)
    if found is None or value is None:
        raise fields.missing(name, "one of " + ", ".join(f'"{one}"' for one in units))
    return ExitLevel(value, units[found])


DIALECT: Final = Dialect(
    name=NAME,
    title="TradersPost",
    credential=None,
    names={"symbol": "ticker"},
    recognises=_recognises,
    read=_read,
    template="""{
  "ticker": "{{ticker}}",
  "action": "{{strategy.order.action}}",
  "sentiment": "{{strategy.market_position}}",
  "quantity": "{{strategy.order.contracts}}",
  "price": "{{strategy.order.price}}",
  "time": "{{timenow}}",
  "interval": "{{interval}}"
}""",
)
