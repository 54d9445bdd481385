"""The Nova Quant Lab guide's payload.

{"passphrase":"demo-pass-04","action":"close_long","ticker":"SOLUSDT","exchange":"BYBIT","price":151.4,"volume":12.5,
 "strategy_id":"trend_v3","timeframe":"15","bar_time":"2026-11-03T09:15:01Z"}
"""

from typing import Final

from libs.common.domain.alert import Action, AlertContent
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.words import SIDES

NAME: Final = "nova"

_ACTIONS: Final = {
    **SIDES,
    "close_long": Action.CLOSE_LONG,
    "close_short": Action.CLOSE_SHORT,
    "close_all": Action.CLOSE_ALL,
}


def _recognises(fields: Fields) -> bool:
    return fields.has("strategy_id") and (fields.has("passphrase") or fields.has("ticker", "action"))


def _read(fields: Fields) -> AlertContent:
    action = fields.chosen("action", _ACTIONS, code="invalid_action")
    volume = fields.number("volume")
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=fields.symbol("ticker"),
        exchange=fields.required("exchange"),
        # The guide sends a volume with every action; closing everything has no use for it.
        quantity=None if action is Action.CLOSE_ALL else volume,
        price=fields.number("price"),
        strategy=fields.required("strategy_id"),
        interval=fields.text("timeframe"),
        # Its own template puts the time of firing there, which is why the bar is found by the interval.
        bar_at_ms=fields.time("bar_time"),
    )


DIALECT: Final = Dialect(
    name=NAME,
    title="Nova Quant Lab",
    credential="passphrase",
    names={"symbol": "ticker", "strategy": "strategy_id", "interval": "timeframe"},
    recognises=_recognises,
    read=_read,
    template="""{
  "passphrase": "<SECRET>",
  "action": "{{strategy.order.action}}",
  "ticker": "{{ticker}}",
  "exchange": "{{exchange}}",
  "price": {{strategy.order.price}},
  "volume": {{strategy.order.contracts}},
  "strategy_id": "my_strategy",
  "timeframe": "{{interval}}",
  "bar_time": "{{time}}"
}""",
)
