"""The payload of junta's connector: the position wanted, with market orders only.

{"exchange":"hyperliquid","strategy":"donchian-4h","market":"ETH_USD","sizeUsd":1500,"order":"sell",
 "position":"short","price":2405.1,"reverse":true,"passphrase":"junta-demo"}
"""

from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, MarketPosition, QuantityUnit
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.words import POSITIONS, SIDES

NAME: Final = "junta"

_UNITS: Final = {
    "size": QuantityUnit.UNITS,
    "sizeUsd": QuantityUnit.QUOTE,
    "sizeByLeverage": QuantityUnit.PERCENT_OF_EQUITY,
}
"""The last counts whole equities."""
_OPPOSITE: Final = {Action.BUY: MarketPosition.SHORT, Action.SELL: MarketPosition.LONG}


def _recognises(fields: Fields) -> bool:
    return fields.has("market", "order", "strategy")


def _read(fields: Fields) -> AlertContent:
    side = fields.chosen("order", SIDES, code="invalid_action")
    for name in ("orderMode", "minProfit"):
        fields.refuse_if_given(name, 'it changes the size by what is open, send "position" and leave it out')
    position = _position(fields)
    # Doubling the size is how this tool turns a position: a target turns it without, and nothing else does.
    if fields.flag("reverse") and position is None:
        raise fields.missing("position", '"long", "short" or "flat", since "reverse" is true')
    if position is _OPPOSITE[side]:
        name = "position" if fields.given("position") else "direction"
        detail = (
            f'"{name}" is "{position}" while "order" is "{side}", expected the side that leads there; '
            f'send "flat" to close, or leave "{name}" out to {side} the size alone'
        )
        raise fields.contradiction(name, detail)
    size = _size(fields, position)
    return AlertContent(
        dialect=NAME,
        action=side if position is None else Action.TARGET,
        symbol=fields.symbol("market"),
        exchange=fields.text("exchange"),
        quantity=size.quantity,
        unit=size.unit,
        price=fields.number("price"),
        strategy=fields.required("strategy"),
        position=position,
    )


def _position(fields: Fields) -> MarketPosition | None:
    position, direction = fields.choice("position", POSITIONS), fields.choice("direction", POSITIONS)
    if position is not None and direction is not None and position is not direction:
        detail = f'"direction" is "{direction}" while "position" is "{position}", expected the same'
        raise fields.contradiction("direction", detail)
    return direction if position is None else position


def _size(fields: Fields, position: MarketPosition | None) -> Size:
    found = fields.one_of(*_UNITS)
    if found is None:
        return Size()
    # Of a closed position, TradingView writes the size 0.
    is_flat = position is MarketPosition.FLAT
    size = fields.number(found, allows_zero=is_flat)
    if size is None or is_flat:
        return Size()
    unit = _UNITS[found]
    return Size(_hundredfold(size) if unit is QuantityUnit.PERCENT_OF_EQUITY else size, unit)


def _hundredfold(number: Decimal) -> Decimal:
    """Return a hundred times a number; multiplying would round it."""
    sign, digits, exponent = number.as_tuple()
    return Decimal(f"{Decimal((sign, digits, int(exponent) + 2)):f}")


DIALECT: Final = Dialect(
    name=NAME,
    title="junta",
    credential="passphrase",
    names={"symbol": "market", "action": "order"},
    recognises=_recognises,
    read=_read,
    template="""{
  "passphrase": "<SECRET>",
  "exchange": "{{exchange}}",
  "strategy": "my_strategy",
  "market": "{{ticker}}",
  "size": {{strategy.market_position_size}},
  "order": "{{strategy.order.action}}",
  "position": "{{strategy.market_position}}",
  "price": {{strategy.order.price}},
  "reverse": true
}""",
)
