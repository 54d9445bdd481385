"""PineConnector's lines: `license id,command,symbol` and `name=value` parts between commas.

60123450001,closelongsell,GBPUSD,risk=0.5,sl=35,tp=70,comment="ldn-open"

What `risk`, `sl`, `tp` and `price` count is a setting of its receiver. Here a webhook settles it, or they are refused.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import (
    CLOSES,
    RISK_UNITS,
    Action,
    AlertContent,
    ExitLevel,
    ExitUnit,
    MarketPosition,
    QuantityUnit,
)
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.text_body import lines_of

NAME: Final = "pineconnector"


@dataclass(frozen=True, slots=True)
class _Command:
    action: Action
    order_type: OrderType = OrderType.MARKET
    position: MarketPosition | None = None


_BUY: Final = _Command(Action.BUY)
_SELL: Final = _Command(Action.SELL)
_COMMANDS: Final = {
    "buy": _BUY,
    "long": _BUY,
    "bull": _BUY,
    "bullish": _BUY,
    "sell": _SELL,
    "short": _SELL,
    "bear": _SELL,
    "bearish": _SELL,
    "buylimit": _Command(Action.BUY, OrderType.LIMIT),
    "buystop": _Command(Action.BUY, OrderType.STOP),
    "selllimit": _Command(Action.SELL, OrderType.LIMIT),
    "sellstop": _Command(Action.SELL, OrderType.STOP),
    "closelong": _Command(Action.CLOSE_LONG),
    "closeshort": _Command(Action.CLOSE_SHORT),
    "closelongshort": _Command(Action.CLOSE_ALL),
    "closeall": _Command(Action.CLOSE_ALL),
    "closelongsell": _Command(Action.FLIP, position=MarketPosition.SHORT),
    "closeshortbuy": _Command(Action.FLIP, position=MarketPosition.LONG),
    # What is closed and entered again ends in a position of the new size.
    "closelongbuy": _Command(Action.TARGET, position=MarketPosition.LONG),
    "closeshortsell": _Command(Action.TARGET, position=MarketPosition.SHORT),
}

_CANCEL: Final = (
    "orders of one side cannot be cancelled alone; cancel all of the market with the dialect bascule"
)
_MODIFY: Final = "a position's exits cannot be changed; send sl_price and tp_price with the entry"
_CONTROL: Final = "alerts cannot switch trading on or off; disable the webhook instead"
_REFUSED_COMMANDS: Final = {
    "cancellong": _CANCEL,
    "cancelshort": _CANCEL,
    "newsltplong": _MODIFY,
    "newsltpshort": _MODIFY,
    "eaon": _CONTROL,
    "eaoff": _CONTROL,
    "closealleaoff": "alerts cannot switch trading on or off; send closelongshort, and disable the webhook",
}

_OWN_TRAIL: Final = "a stop is not moved once it is placed; send sl_price or sl_pct"
_OWN_FILTER: Final = "let the script decide and send only the orders that are meant"
_REFUSED: Final = {
    "spread": _OWN_FILTER,
    "accfilter": _OWN_FILTER,
    "sl_pips": "a pip is not known here; send sl_price or sl_pct",
    "tp_pips": "a pip is not known here; send tp_price or tp_pct",
}
_TRAILS: Final = ("atr", "be", "trail")
"""What the names begin with of what moves a stop."""
_EXITS: Final = frozenset(f"{side}{form}" for side in ("sl", "tp") for form in ("", "_price", "_pct"))
_SEND_EXIT: Final = "what it counts is not known here; send sl_price, sl_pct, tp_price or tp_pct"
_PENDING: Final = "buylimit, buystop, selllimit or sellstop"
_UNSETTLED: Final = "not_settled"

_RISK: Final = {
    "units": QuantityUnit.UNITS,
    "quote": QuantityUnit.QUOTE,
    "percent_of_equity": QuantityUnit.PERCENT_OF_EQUITY,
    "risk_quote": QuantityUnit.RISK_QUOTE,
    "risk_percent": QuantityUnit.RISK_PERCENT,
}
_STOPS: Final = {"price": ExitUnit.PRICE, "distance": ExitUnit.DISTANCE, "percent": ExitUnit.PERCENT}
_LOTS: Final = {"units": QuantityUnit.UNITS}
_SIZES: Final = {"vol_dollar": QuantityUnit.RISK_QUOTE, "vol_pct_eq_loss": QuantityUnit.RISK_PERCENT}
_SEND_SIZE: Final = (
    "send vol_dollar (lost at the stop) or vol_pct_eq_loss (the same in percent of the equity), or no size, "
    "for the account's default_quantity"
)

_COMMAND_FORM: Final = re.compile(r"[A-Za-z]+|\{\{.*\}\}", re.ASCII)
_PART: Final = re.compile(r'((?:[^,="]*=)?\s*"[^"]*"\s*|[^,]*)(?:,|$)')
_ODD: Final = "part "
"""What the names of parts begin with that are no `name=value`."""
_LINE: Final = "line "


def _split(text: str) -> Fields | None:
    lines = lines_of(text)
    if not lines:
        return None
    license_id, comma, rest = lines[0].partition(",")
    parts = _parts(rest)
    if not comma or len(parts) < 2:
        return None
    command, symbol, *settings = parts
    if not _COMMAND_FORM.fullmatch(command) or not symbol or ("=" in symbol and "{{" not in symbol):
        return None
    pairs = [("license_id", license_id.strip()), ("command", command), ("symbol", _bare(symbol))]
    for place, part in enumerate(settings, start=4):
        name, equals, value = part.partition("=")
        if equals:
            pairs.append((name.strip().lower(), _bare(value.strip())))
        elif part:
            pairs.append((f"{_ODD}{place}", part))
    pairs += [(f"{_LINE}{place}", line) for place, line in enumerate(lines[1:], start=2)]
    return Fields.of_pairs(pairs)


def _parts(rest: str) -> list[str]:
    parts, place = [], 0
    while place < len(rest):
        found = _PART.match(rest, place)
        if found is None:
            return []
        parts.append(found[1].strip())
        place = max(found.end(), place + 1)
    return parts


def _bare(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1].strip() if is_quoted else value


def _recognises(fields: Fields) -> bool:
    command = fields.peek("command")
    if command.lower() in _COMMANDS or command.lower() in _REFUSED_COMMANDS or "{{" in command:
        return True
    # Prose has commas too; settings and nothing else behind them it has not.
    settings = fields.names()[3:]
    return bool(settings) and not any(name.startswith((_ODD, _LINE)) for name in settings)


def _read(fields: Fields) -> AlertContent:
    for name in fields.names():
        if name.startswith(_LINE):
            detail = f'"{name}" is a second order, expected one line; send one alert per order'
            raise fields.refusal("several_orders", name, detail)
        if name.startswith(_ODD):
            detail = f'"{name}" is "{fields.text(name)}", expected name=value'
            raise fields.refusal("invalid_value", name, detail)
    word = fields.required("command").lower()
    if word in _REFUSED_COMMANDS:
        raise fields.refusal("not_supported", "command", f'"command" is "{word}": {_REFUSED_COMMANDS[word]}')
    command = fields.chosen("command", _COMMANDS, code="invalid_action")
    symbol = fields.symbol("symbol")
    if command.action in CLOSES:
        # The receiver closes all of it whatever the size says.
        return AlertContent(dialect=NAME, action=command.action, symbol=symbol)
    for name in fields.names():
        if name in _REFUSED or name.startswith(_TRAILS):
            fields.refuse_if_given(name, _REFUSED.get(name, _OWN_TRAIL))
        elif name.startswith(("sl", "tp")) and name not in _EXITS:
            fields.refuse_if_given(name, _SEND_EXIT)
    size = _size(fields)
    stop_loss = _exit(fields, "sl")
    take_profit = _exit(fields, "tp")
    if size.unit in RISK_UNITS and stop_loss is None:
        raise fields.missing(
            "sl_price", "a stop-loss (sl_price or sl_pct), which a size by risk is counted from"
        )
    price = _entry_price(fields, command.order_type)
    return AlertContent(
        dialect=NAME,
        action=command.action,
        symbol=symbol,
        quantity=size.quantity,
        unit=size.unit,
        order_type=command.order_type,
        limit_price=price if command.order_type is OrderType.LIMIT else None,
        stop_price=price if command.order_type is OrderType.STOP else None,
        take_profit=take_profit,
        stop_loss=stop_loss,
        position=command.position,
    )


def _size(fields: Fields) -> Size:
    for other in fields.names():
        if other.startswith("vol_") and other not in {*_SIZES, "vol_lots"}:
            fields.refuse_if_given(other, f"what it counts is not known here; {_SEND_SIZE}")
    name = fields.one_of("risk", "vol_lots", *_SIZES)
    if name is None:
        return Size()
    quantity = fields.number(name)
    if name in _SIZES:
        return Size(quantity, _SIZES[name])
    units = _LOTS if name == "vol_lots" else _RISK
    settled = units.get(fields.option(name) or "")
    if settled is None:
        reason = "a lot is no unit" if name == "vol_lots" else "what it counts is a setting of the receiver"
        why = f"{reason}; settle {_choices(name, units)}, or {_SEND_SIZE}"
        raise fields.unsupported(name, why, code=_UNSETTLED)
    return Size(quantity, settled)


def _exit(fields: Fields, side: str) -> ExitLevel | None:
    name = fields.one_of(side, f"{side}_price", f"{side}_pct")
    if name is None:
        return None
    level = fields.required_number(name)
    if name != side:
        return ExitLevel(level, ExitUnit.PRICE if name.endswith("_price") else ExitUnit.PERCENT)
    unit = _STOPS.get(fields.option("stops") or "")
    if unit is None:
        what = f"settle {_choices('stops', _STOPS)}, or send {side}_price or {side}_pct"
        raise fields.unsupported(
            name, f"what it counts is a setting of the receiver; {what}", code=_UNSETTLED
        )
    return ExitLevel(level, unit)


def _entry_price(fields: Fields, order_type: OrderType) -> Decimal | None:
    if order_type is OrderType.MARKET:
        price = fields.optional_number("price")
        if price is not None:
            detail = f'"price" is {price}, but the command is of a market order, which has none: send {_PENDING}, or leave it out'
            raise fields.contradiction("price", detail)
        return None
    price = fields.required_number("price")
    if fields.option("stops") != ExitUnit.PRICE:
        what = 'settle stops as "price" for the webhook, or send the order at market'
        why = f"whether it is a price or a distance is a setting of the receiver; {what}"
        raise fields.unsupported("price", why, code=_UNSETTLED)
    return price


def _choices(option: str, values: dict[str, QuantityUnit] | dict[str, ExitUnit]) -> str:
    return f"{option} for the webhook as one of {', '.join(values)}"


DIALECT: Final = Dialect(
    name=NAME,
    title="PineConnector",
    credential="license_id",
    names={"action": "command"},
    recognises=_recognises,
    read=_read,
    split=_split,
    options={"risk": frozenset(_RISK), "stops": frozenset(_STOPS), "vol_lots": frozenset(_LOTS)},
    template="<SECRET>,{{strategy.order.action}},{{ticker}}",
)
