"""The Lesson 5 guide's payload, signed in a header.

{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,
 "size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}
"""

from typing import Final

from libs.common.domain.alert import AlertContent
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.words import SIDES

NAME: Final = "lesson5"


def _recognises(fields: Fields) -> bool:
    return fields.has("client_ref", "side", "size")


def _read(fields: Fields) -> AlertContent:
    side = fields.chosen("side", SIDES, code="invalid_action")
    signal = fields.choice("signal", SIDES, code="invalid_action")
    if signal is not None and signal is not side:
        detail = f'"{fields.label("signal")}" is "{signal}" while "{fields.label("side")}" is "{side}", expected the same'
        raise fields.contradiction("signal", detail)
    return AlertContent(
        dialect=NAME,
        action=side,
        symbol=fields.symbol("symbol"),
        exchange=fields.text("exchange"),
        quantity=fields.required_number("size"),
        price=fields.number("price"),
        strategy=fields.text("strategy"),
        sender_id=fields.required("client_ref"),
    )


DIALECT: Final = Dialect(
    name=NAME,
    title="Lesson 5",
    credential=None,
    is_signed=True,
    names={"id": "client_ref", "action": "side"},
    recognises=_recognises,
    read=_read,
    # The guide's own has a comment, which is no JSON, and a placeholder that TradingView does not know.
    template="""{
  "symbol": "{{ticker}}",
  "exchange": "{{exchange}}",
  "strategy": "my_strategy",
  "signal": "{{strategy.order.action}}",
  "side": "{{strategy.order.action}}",
  "price": {{strategy.order.price}},
  "size": {{strategy.order.contracts}},
  "client_ref": "{{ticker}}-{{timenow}}-{{strategy.order.id}}"
}""",
)
