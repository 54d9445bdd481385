"""Algo Trade Analytics' webhook payload.

{"auth_key":"ata-demo-77","ticker":"MSFT","positionDirection":"entryLong","orderType":"stop_limit","qty":15,
 "marketPrice":417.2,"stopPrice":418.0,"limitPrice":418.6,
 "metadata":{"timestamp":"2026-11-03T14:30:05Z","strategy":"Range Break","signal":"Upper band"}}
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, ExitLevel, QuantityUnit
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_prices import order_prices, order_type
from libs.common.wire.dialects.words import TIMES_IN_FORCE

NAME: Final = "algo_trade_analytics"


@dataclass(frozen=True, slots=True)
class _Step:
    """What a position direction asks for."""

    action: Action
    direction: str


_STEPS: Final = {
    "entrylong": _Step(Action.BUY, "long"),
    "entryshort": _Step(Action.SELL, "short"),
    "exitlong": _Step(Action.CLOSE_LONG, "long"),
    "exitshort": _Step(Action.CLOSE_SHORT, "short"),
}
"""Only the first is documented; the others follow from it."""
_DIRECTIONS: Final = {"long": _STEPS["entrylong"], "short": _STEPS["entryshort"]}
_ENTRIES: Final = frozenset({Action.BUY, Action.SELL})
_DEFAULT_QUANTITY: Final = Decimal(1)


def _recognises(fields: Fields) -> bool:
    if fields.has("auth_key"):
        return fields.has_any("positionDirection", "direction")
    return fields.has("positionDirection", "ticker")


def _read(fields: Fields) -> AlertContent:
    step = _step(fields)
    for name in ("trailPrice", "trailPercent"):
        fields.refuse_if_given(name, 'trailing orders are not placed, send "stopLossTarget"')
    kind = order_type(fields, "orderType")
    prices = order_prices(fields, kind, limit="limitPrice", stop="stopPrice")
    is_quote = fields.one_of("qty", "notional") == "notional"
    metadata = fields.section("metadata")
    return AlertContent(
        dialect=NAME,
        action=step.action,
        symbol=fields.symbol("ticker"),
        quantity=fields.number("notional") if is_quote else fields.number("qty") or _DEFAULT_QUANTITY,
        unit=QuantityUnit.QUOTE if is_quote else QuantityUnit.UNITS,
        order_type=kind,
        limit_price=prices.limit,
        stop_price=prices.stop,
        take_profit=_exit_level(fields, "profitTarget", step),
        stop_loss=_exit_level(fields, "stopLossTarget", step),
        time_in_force=fields.choice("timeInForce", TIMES_IN_FORCE),
        price=fields.number("marketPrice"),
        strategy=None if metadata is None else metadata.text("strategy"),
        fired_at_ms=None if metadata is None else metadata.time("timestamp"),
    )


def _step(fields: Fields) -> _Step:
    step = fields.choice("positionDirection", _STEPS, code="invalid_action")
    if step is None:
        return fields.chosen("direction", _DIRECTIONS, code="invalid_action")
    side = fields.choice("direction", _DIRECTIONS, code="invalid_action")
    if side is not None and side.direction != step.direction:
        detail = f'"direction" is "{side.direction}" while "positionDirection" is of a {step.direction} position, expected the same'
        raise fields.contradiction("direction", detail)
    return step


def _exit_level(fields: Fields, name: str, step: _Step) -> ExitLevel | None:
    value = fields.number(name)
    if value is not None and step.action not in _ENTRIES:
        detail = f'"{name}" is {value}, but an exit leaves nothing to protect: leave it out'
        raise fields.contradiction(name, detail)
    return None if value is None else ExitLevel(value)


DIALECT: Final = Dialect(
    name=NAME,
    title="Algo Trade Analytics",
    credential="auth_key",
    names={"symbol": "ticker", "action": "positionDirection", "strategy": "metadata.strategy"},
    recognises=_recognises,
    read=_read,
    # TradingView tells no exit from an entry: the script says which, as the `alert_message` of each order.
    template="""{
  "auth_key": "<SECRET>",
  "ticker": "{{ticker}}",
  "positionDirection": "{{strategy.order.alert_message}}",
  "orderType": "market",
  "qty": {{strategy.order.contracts}},
  "marketPrice": {{strategy.order.price}},
  "metadata": {
    "timestamp": "{{timenow}}",
    "strategy": "my_strategy",
    "signal": "{{strategy.order.comment}}"
  }
}""",
)
