"""Our own dialect: everything that an alert can say, under the names that it is stored by.

{"bascule":1,"secret":"demo","id":"BTCUSDT-2026-11-03T09:15:00Z-L1","action":"buy","symbol":"BTCUSDT","quantity":"2",
 "unit":"percent_of_equity","stop_loss":{"value":"1.5","unit":"percent"},"max_age":"60s"}

`docs/dialects.md` is its reference.
"""

import re
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
from libs.common.domain.errors import AdmissionError
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_prices import order_prices
from libs.common.wire.dialects.values import number_from
from libs.common.wire.dialects.words import ORDER_TYPES, POSITIONS, TIMES_IN_FORCE

NAME: Final = "bascule"
VERSION: Final = Decimal(1)

_ACTIONS: Final = {str(one): one for one in Action}
_UNITS: Final = {str(one): one for one in QuantityUnit}
_EXIT_UNITS: Final = {str(one): one for one in ExitUnit}

_GOALS: Final = frozenset({Action.TARGET, Action.FLIP})
_LEFT_OF_A_CLOSE: Final = {
    Action.CLOSE_LONG: frozenset({MarketPosition.LONG}),
    Action.CLOSE_SHORT: frozenset({MarketPosition.SHORT}),
    Action.CLOSE_ALL: frozenset({MarketPosition.LONG, MarketPosition.SHORT}),
}
"""What may be open after a part of it was closed."""
_UNITS_OF_A_CLOSE: Final = frozenset(
    {QuantityUnit.UNITS, QuantityUnit.QUOTE, QuantityUnit.PERCENT_OF_POSITION}
)
_EXITS: Final = ("take_profit", "stop_loss")
_OF_AN_ORDER: Final = (
    "quantity",
    "unit",
    "order_type",
    "limit_price",
    "stop_price",
    *_EXITS,
    "time_in_force",
    "reduce_only",
)

_DURATION: Final = re.compile(r"([^a-z]*?)\s*(ms|s|min|h|d)?", re.ASCII | re.DOTALL)
_UNIT_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_MAX_AGE_MS: Final = 3_650 * _UNIT_MS["d"]


def _recognises(fields: Fields) -> bool:
    return fields.has("bascule")


def _read(fields: Fields) -> AlertContent:
    version = fields.number("bascule", is_signed=True, allows_zero=True)
    if version != VERSION:
        came = "null" if version is None else version
        detail = f'"bascule" is {came}, a version that is not known here, expected {VERSION}'
        raise fields.refusal("unknown_version", "bascule", detail)
    action = fields.chosen("action", _ACTIONS, code="invalid_action")
    if action is Action.CANCEL:
        _refuse_all(fields, _OF_AN_ORDER, "a cancel takes all open orders of the market; leave it out")
    position = fields.choice("position", POSITIONS)
    is_flat = action in _GOALS and position is MarketPosition.FLAT
    quantity = fields.number("quantity", allows_zero=is_flat)
    unit = fields.choice("unit", _UNITS)
    if unit is not None and quantity is None:
        raise fields.missing("quantity", f'how many "{unit}"')
    order_type = fields.choice("order_type", ORDER_TYPES) or OrderType.MARKET
    prices = order_prices(fields, order_type, limit="limit_price", stop="stop_price")
    content = AlertContent(
        dialect=NAME,
        action=action,
        symbol=fields.symbol("symbol"),
        exchange=fields.text("exchange"),
        quantity=None if is_flat and not quantity else quantity,
        unit=QuantityUnit.UNITS if unit is None or (is_flat and not quantity) else unit,
        order_type=order_type,
        limit_price=prices.limit,
        stop_price=prices.stop,
        take_profit=_exit(fields, "take_profit"),
        stop_loss=_exit(fields, "stop_loss"),
        reduce_only=fields.flag("reduce_only") or False,
        time_in_force=fields.choice("time_in_force", TIMES_IN_FORCE),
        price=fields.number("price"),
        strategy=fields.text("strategy"),
        sender_id=fields.text("id"),
        bar_at_ms=fields.time("bar_time"),
        interval=fields.text("interval"),
        fired_at_ms=fields.time("fired_at"),
        max_age_ms=_duration(fields, "max_age"),
        position=position,
        position_size=fields.number("position_size", allows_zero=True),
        previous_position=fields.choice("previous_position", POSITIONS),
        previous_position_size=fields.number("previous_position_size", allows_zero=True),
    )
    _refuse_contradictions(fields, content)
    return content


def _refuse_contradictions(fields: Fields, content: AlertContent) -> None:
    """Refuse what cannot be meant at the same time."""
    if content.action in _GOALS:
        _check_goal(fields, content)
    if content.action in CLOSES:
        _check_close(fields, content)
    if content.unit in RISK_UNITS and content.stop_loss is None:
        raise fields.missing("stop_loss", f'where the loss is stopped that "{content.unit}" counts')
    for name, position, size in (
        ("position_size", content.position, content.position_size),
        ("previous_position_size", content.previous_position, content.previous_position_size),
    ):
        if position is not None and size is not None and (position is MarketPosition.FLAT) != (size == 0):
            detail = f'"{name}" is {size}, but "{name.removesuffix("_size")}" is "{position}", expected both to agree'
            raise fields.contradiction(name, detail)


def _check_goal(fields: Fields, content: AlertContent) -> None:
    action = content.action
    if content.position is None:
        raise fields.missing("position", f'which way the {action} goes: "long" or "short"')
    if content.position is MarketPosition.FLAT:
        if action is Action.FLIP:
            detail = '"position" is "flat", but a flip ends long or short, expected one of these, or the action "close_all"'
            raise fields.contradiction("position", detail)
        if content.quantity is not None:
            detail = f'"quantity" is {content.quantity}, but the target is "flat", expected none'
            raise fields.contradiction("quantity", detail)
        _refuse_all(fields, _EXITS, 'the target is "flat", which leaves nothing to exit; leave it out')
    elif content.quantity is None and content.position_size is not None:
        detail = f'"position_size" is what others report; send the size of the {action} as "quantity"'
        raise fields.contradiction("position_size", detail)
    if content.unit is QuantityUnit.PERCENT_OF_POSITION:
        detail = f'"unit" is "{content.unit}", but a {action} says what the position becomes, expected another unit'
        raise fields.contradiction("unit", detail)
    if action is Action.FLIP and content.reduce_only:
        raise fields.contradiction(
            "reduce_only", '"reduce_only" is true, but a flip opens a position, expected false'
        )


def _check_close(fields: Fields, content: AlertContent) -> None:
    _refuse_all(fields, _EXITS, f'"{content.action}" leaves nothing to exit; leave it out')
    left = frozenset() if content.quantity is None else _LEFT_OF_A_CLOSE[content.action]
    if content.position not in {None, MarketPosition.FLAT, *left}:
        detail = f'"position" is "{content.position}", but the action is "{content.action}", expected "flat", or the action "target"'
        raise fields.contradiction("position", detail)
    if content.unit not in _UNITS_OF_A_CLOSE:
        expected = ", ".join(f'"{one}"' for one in sorted(_UNITS_OF_A_CLOSE))
        detail = (
            f'"unit" is "{content.unit}", but the action is "{content.action}", expected one of {expected}'
        )
        raise fields.contradiction("unit", detail)


def _refuse_all(fields: Fields, names: tuple[str, ...], why: str) -> None:
    for name in names:
        fields.refuse_if_given(name, why, code="contradiction")


def _exit(fields: Fields, name: str) -> ExitLevel | None:
    if not fields.is_object(name):
        level = fields.number(name)
        return None if level is None else ExitLevel(level)
    below = fields.section(name)
    if below is None:
        return None
    return ExitLevel(below.required_number("value"), below.choice("unit", _EXIT_UNITS) or ExitUnit.PRICE)


def _duration(fields: Fields, name: str) -> int | None:
    text = fields.text(name)
    if text is None:
        return None
    found = _DURATION.fullmatch(text.lower())
    if found is None:
        raise _no_duration(fields, name, text)
    value_ms = number_from(found[1], fields.label(name)) * _UNIT_MS[found[2] or "s"]
    if value_ms != value_ms.to_integral_value() or value_ms > _MAX_AGE_MS:
        raise _no_duration(fields, name, text)
    return int(value_ms)


def _no_duration(fields: Fields, name: str, text: str) -> AdmissionError:
    detail = f'"{name}" is "{text}", expected seconds or a duration such as 500ms, 60s, 5min, 24h or 7d, at most 3650d'
    return fields.refusal("invalid_duration", name, detail)


DIALECT: Final = Dialect(
    name=NAME,
    title="Bascule",
    credential="secret",
    recognises=_recognises,
    read=_read,
    template="""{
  "bascule": 1,
  "secret": "<SECRET>",
  "id": "{{ticker}}-{{timenow}}-{{strategy.order.id}}-{{strategy.order.action}}",
  "action": "{{strategy.order.action}}",
  "symbol": "{{ticker}}",
  "exchange": "{{exchange}}",
  "quantity": "{{strategy.order.contracts}}",
  "price": "{{strategy.order.price}}",
  "strategy": "my_strategy",
  "bar_time": "{{time}}",
  "interval": "{{interval}}",
  "fired_at": "{{timenow}}",
  "position": "{{strategy.market_position}}",
  "position_size": "{{strategy.market_position_size}}",
  "previous_position": "{{strategy.prev_market_position}}",
  "previous_position_size": "{{strategy.prev_market_position_size}}"
}""",
)
