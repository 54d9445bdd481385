"""OctoBot's TradingView signals: `KEY=VALUE` pairs between semicolons or line ends.

EXCHANGE=binance;SYMBOL=SOLUSDT;SIGNAL=SELL;ORDER_TYPE=LIMIT;VOLUME=50a%;PRICE=162.4;STOP_PRICE=149;REDUCE_ONLY=true;TOKEN=x
"""

import re
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, ExitLevel, QuantityUnit
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.text_body import assignments_of
from libs.common.wire.dialects.values import number_from
from libs.common.wire.dialects.words import SIDES

NAME: Final = "octobot"

_ACTIONS: Final = {**SIDES, "cancel": Action.CANCEL}
_ORDER_TYPES: Final = {"market": OrderType.MARKET, "limit": OrderType.LIMIT, "stop": OrderType.STOP}
_TRADING_TYPES: Final = {"spot": False, "future": True, "futures": True}
_VOLUME: Final = re.compile(r"(.*?)\s*([ast]?%)?", re.DOTALL)
_SEND_VOLUME: Final = 'send a base quantity ("0.5") or a share of the portfolio ("2%")'

_REFUSED: Final = {
    "TRAILING_PROFILE": "send STOP_PRICE, an absolute price",
    "CANCEL_POLICY": "send SIGNAL=CANCEL when the orders are to go",
}
_REFUSED_OF_CANCEL: Final = {
    "EXCHANGE_ORDER_IDS": "a cancel takes all open orders of the symbol; send it without",
    "TAG": "a cancel takes all open orders of the symbol; send it without",
    "PARAM_SIDE": "a cancel takes all open orders of the symbol; send it without",
    "CANCEL_PARAM_SIDE": "a cancel takes all open orders of the symbol; send it without",
    "CANCEL_PARAM_TAG": "a cancel takes all open orders of the symbol; send it without",
}
_SEVERAL_EXITS: Final = re.compile(r"TAKE_PROFIT_PRICE_\d+|TAKE_PROFIT_VOLUME_RATIO(?:_\d+)?", re.ASCII)


def _split(text: str) -> Fields | None:
    pairs = assignments_of(text)
    return None if pairs is None else Fields.of_pairs((name.upper(), value) for name, value in pairs)


def _recognises(fields: Fields) -> bool:
    # A comma in it: the line is another dialect's, whose credential happens to look like this.
    return fields.has("SIGNAL") and "," not in fields.peek("SIGNAL")


def _read(fields: Fields) -> AlertContent:
    action = fields.chosen("SIGNAL", _ACTIONS, code="invalid_action")
    symbol = fields.symbol("SYMBOL")
    exchange = fields.required("EXCHANGE")
    if action is Action.CANCEL:
        for name, why in _REFUSED_OF_CANCEL.items():
            fields.refuse_if_given(name, why)
        return AlertContent(dialect=NAME, action=action, symbol=symbol, exchange=exchange)
    for name, why in _REFUSED.items():
        fields.refuse_if_given(name, why)
    for name in fields.names():
        if _SEVERAL_EXITS.fullmatch(name):
            fields.refuse_if_given(name, "send one TAKE_PROFIT_PRICE; an order here has one take-profit")
    order_type = fields.choice("ORDER_TYPE", _ORDER_TYPES) or OrderType.MARKET
    price = _price(fields, "PRICE")
    stop_price = _price(fields, "STOP_PRICE")
    if order_type is OrderType.LIMIT and price is None:
        raise fields.missing("PRICE", "the limit price of ORDER_TYPE=LIMIT")
    if order_type is OrderType.STOP and stop_price is None:
        raise fields.missing("STOP_PRICE", "the stop price of ORDER_TYPE=STOP")
    take_profit = _price(fields, "TAKE_PROFIT_PRICE")
    is_reduce_only = fields.flag("REDUCE_ONLY") or False
    size = _volume(fields, action, is_reduce_only=is_reduce_only)
    is_stop = order_type is OrderType.STOP
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=symbol,
        exchange=exchange,
        quantity=size.quantity,
        unit=size.unit,
        order_type=order_type,
        limit_price=price if order_type is OrderType.LIMIT else None,
        stop_price=stop_price if is_stop else None,
        # With any other order type the stop price is where the loss is stopped.
        stop_loss=None if is_stop or stop_price is None else ExitLevel(stop_price),
        take_profit=None if take_profit is None else ExitLevel(take_profit),
        reduce_only=is_reduce_only,
        # The bot trades at market whatever the price; it is what the strategy saw.
        price=None if order_type is OrderType.LIMIT else price,
    )


def _volume(fields: Fields, action: Action, *, is_reduce_only: bool) -> Size:
    is_future = fields.choice("TRADING_TYPE", _TRADING_TYPES) or False
    text = fields.text("VOLUME")
    if text is None:
        return Size(fields.number("VOLUME"))
    found = _VOLUME.fullmatch(text.lower())
    suffix = "" if found is None else found[2] or ""
    number = number_from(text[: len(text) - len(suffix)], "VOLUME")
    match suffix:
        case "":
            return Size(number)
        case "%":
            if (leverage := fields.optional_number("LEVERAGE")) is not None and leverage > 1:
                raise fields.unsupported(
                    "LEVERAGE", "it may multiply a share of the portfolio; send a base quantity, or none"
                )
            return Size(number, QuantityUnit.PERCENT_OF_EQUITY)
        case "t%":
            detail = (
                f'"VOLUME" is "{text}", a share of all traded pairs, which is not known here; {_SEND_VOLUME}'
            )
        case _ if action is Action.BUY:
            detail = f'"VOLUME" is "{text}", a share of what is available to buy with, which is not known here; {_SEND_VOLUME}'
        case _ if is_future and not is_reduce_only:
            detail = (
                f'"VOLUME" is "{text}", a share of the free margin, which is not known here; {_SEND_VOLUME}'
            )
        case _:
            return Size(number, QuantityUnit.PERCENT_OF_POSITION)
    raise fields.refusal("not_supported", "VOLUME", detail)


def _price(fields: Fields, name: str) -> Decimal | None:
    text = fields.text(name)
    if text is not None and text[-1] in "dD%":
        detail = f'"{name}" is "{text}", relative to a price that only the bot knows; send the price itself'
        raise fields.refusal("not_supported", name, detail)
    return fields.number(name)


DIALECT: Final = Dialect(
    name=NAME,
    title="OctoBot",
    credential="TOKEN",
    names={"symbol": "SYMBOL", "action": "SIGNAL", "exchange": "EXCHANGE"},
    recognises=_recognises,
    read=_read,
    split=_split,
    template="EXCHANGE={{exchange}};SYMBOL={{ticker}};SIGNAL={{strategy.order.action}};ORDER_TYPE=MARKET;"
    "VOLUME={{strategy.order.contracts}};PRICE={{strategy.order.price}};TOKEN=<SECRET>",
)
