"""CrossTrade's commands for NinjaTrader: `name=value;` pairs, on one line or several.

key=xt-demo; command=PLACE; account=Sim101; instrument=MNQ 12-26; action=SELL; qty=2; order_type=MARKET; tif=DAY;
"""

from typing import Final

from libs.common.domain.alert import Action, AlertContent, ExitLevel, TimeInForce
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_prices import order_prices
from libs.common.wire.dialects.text_body import assignments_of
from libs.common.wire.dialects.words import ENTERED, SIDES

NAME: Final = "crosstrade"

_PLACES: Final = {"place": False, "flatplace": True}
"""Whether whatever is open is closed first."""
_CLOSES: Final = frozenset({"closeposition", "flatten"})
_CANCELS: Final = frozenset({"cancel", "cancelorders"})
_FLATPLACE: Final = "send command=FLATPLACE with action and qty, the position that is wanted"
_REFUSED_COMMANDS: Final = {
    "reverse": f"its size is that of a position not known here; {_FLATPLACE}",
    "reverseposition": f"it trades only while a position is open; {_FLATPLACE}",
    "flatteneverything": "it names no instrument; send command=FLATTEN for each instrument",
    "cancelallorders": "it names no instrument; send command=CANCELORDERS for each instrument",
    "cancelandbracket": "send command=CANCELORDERS, then an order with take_profit and stop_loss",
    "cancelreplace": "send command=CANCELORDERS, then the new order",
    "change": "send command=CANCELORDERS, then the new order",
    "closestrategy": "strategies of NinjaTrader are not known here; send command=FLATTEN",
}
_COMMANDS: Final = (*_PLACES, *sorted(_CLOSES), *sorted(_CANCELS))
_ORDER_TYPES: Final = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "stopmarket": OrderType.STOP,
    "stop": OrderType.STOP,
    "stoplimit": OrderType.STOP_LIMIT,
}
_PRICES: Final = ("limit_price", "stop_price", "take_profit", "stop_loss")
_TIMES_IN_FORCE: Final = {"day": TimeInForce.DAY, "gtc": TimeInForce.GTC}

_OWN_FILTER: Final = "let the script decide and send only the orders that are meant"
_SEND_QTY: Final = "send qty, a number of contracts"
_REFUSED: Final = {
    "require_market_position": _OWN_FILTER,
    "trading_window": _OWN_FILTER,
    "sync_strategy": _OWN_FILTER,
    "strategy_exit_block": _OWN_FILTER,
    "max_positions": "let the script decide, or limit the account in Bascule",
    "max_position": "let the script decide, or limit the account in Bascule",
    "delay": "send the alert when the order is meant",
    "kill_switch": "disable the webhook in Bascule instead",
}
_REFUSED_OF_ORDERS: Final = {
    "quantity": _SEND_QTY,
    "percent": _SEND_QTY,
    "cancel_after": "send command=CANCELORDERS when the order is to go",
    "strategy": "templates of NinjaTrader are not known here; send take_profit and stop_loss",
    "append_atm": "templates of NinjaTrader are not known here; send take_profit and stop_loss",
    "stop_loss_limit": "send stop_loss, an absolute price",
    "stop_loss_stop": "send stop_loss, an absolute price",
}
_REFUSED_OF_CANCEL: Final = {
    "order_id": "a cancel takes all open orders of the instrument; send it without",
    "strategy_id": "a cancel takes all open orders of the instrument; send it without",
}


def _split(text: str) -> Fields | None:
    pairs = assignments_of(text)
    return None if pairs is None else Fields.of_pairs((name.lower(), value) for name, value in pairs)


def _recognises(fields: Fields) -> bool:
    # A comma in it: the line is another dialect's, whose credential happens to look like this.
    return fields.has("key", "command") and "," not in fields.peek("command")


def _read(fields: Fields) -> AlertContent:
    command = fields.required("command").lower().replace("_", "").replace("-", "")
    if command in _REFUSED_COMMANDS:
        detail = f'"command" is "{fields.text("command")}": {_REFUSED_COMMANDS[command]}'
        raise fields.refusal("not_supported", "command", detail)
    if command not in _COMMANDS:
        expected = ", ".join(f'"{one}"' for one in _COMMANDS)
        detail = f'"command" is "{fields.text("command")}", expected one of {expected}'
        raise fields.refusal("invalid_action", "command", detail)
    symbol = fields.symbol("instrument")
    for name, why in {
        **_REFUSED,
        **(_REFUSED_OF_CANCEL if command in _CANCELS else _REFUSED_OF_ORDERS),
    }.items():
        fields.refuse_if_given(name, why)
    if command in _CANCELS:
        return AlertContent(dialect=NAME, action=Action.CANCEL, symbol=symbol)
    if command in _CLOSES:
        quantity = fields.number("qty") if command == "closeposition" else None
        return AlertContent(dialect=NAME, action=Action.CLOSE_ALL, symbol=symbol, quantity=quantity)
    return _order(fields, symbol, is_flat_first=_PLACES[command] or fields.flag("flatten_first") or False)


def _order(fields: Fields, symbol: str, *, is_flat_first: bool) -> AlertContent:
    side = fields.chosen("action", SIDES, code="invalid_action")
    order_type = fields.choice("order_type", _ORDER_TYPES) or OrderType.MARKET
    for name in _PRICES:
        _refuse_relative(fields, name)
    prices = order_prices(fields, order_type, limit="limit_price", stop="stop_price", zero_is_none=True)
    return AlertContent(
        dialect=NAME,
        # Flat first and then an order ends in a position of just that order, whatever was open.
        action=Action.TARGET if is_flat_first else side,
        position=ENTERED[side] if is_flat_first else None,
        symbol=symbol,
        quantity=fields.required_number("qty"),
        order_type=order_type,
        limit_price=prices.limit,
        stop_price=prices.stop,
        take_profit=_exit(fields, "take_profit"),
        stop_loss=_exit(fields, "stop_loss"),
        time_in_force=fields.choice("tif", _TIMES_IN_FORCE),
    )


def _refuse_relative(fields: Fields, name: str) -> None:
    text = fields.text(name)
    if text is not None and not text[-1].isdigit() and text[-1] not in ".}":
        detail = f'"{name}" is "{text}", relative to a price that is not known here; send the price itself'
        raise fields.refusal("not_supported", name, detail)


def _exit(fields: Fields, name: str) -> ExitLevel | None:
    level = fields.number(name)
    return None if level is None else ExitLevel(level)


DIALECT: Final = Dialect(
    name=NAME,
    title="CrossTrade",
    credential="key",
    names={"symbol": "instrument"},
    recognises=_recognises,
    read=_read,
    split=_split,
    template="""key=<SECRET>;
command=PLACE;
instrument={{ticker}};
action={{strategy.order.action}};
qty={{strategy.order.contracts}};
order_type=MARKET;""",
)
