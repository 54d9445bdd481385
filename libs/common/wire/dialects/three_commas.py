"""The payload of 3Commas' signal bots, all values quoted: of its strategy type, and of its custom type.

{"secret":"3c-demo","max_lag":"120","timestamp":"2026-11-03T09:15:01Z","trigger_price":"68120.5",
 "tv_exchange":"BINANCE","tv_instrument":"BTCUSDT.P","action":"sell",
 "bot_uuid":"8c1f0f3e-0000-4a1b-9c55-1d2e3f405162",
 "strategy_info":{"market_position":"short","market_position_size":"0.4",
                  "prev_market_position":"long","prev_market_position_size":"0.3"},
 "order":{"amount":"0.7","currency_type":"base"}}
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import Action, AlertContent, MarketPosition, QuantityUnit
from libs.common.wire.dialects.dialect import Dialect
from libs.common.wire.dialects.fields import Fields
from libs.common.wire.dialects.order_size import Size
from libs.common.wire.dialects.words import ENTERED, POSITIONS

NAME: Final = "three_commas"

_MAX_LAG_S: Final = 366 * 86_400


@dataclass(frozen=True, slots=True)
class _Step:
    """What an action asks for, and the position that it leaves, where it says so."""

    action: Action
    position: MarketPosition | None = None


_STEPS: Final = {
    "buy": _Step(Action.BUY),
    "sell": _Step(Action.SELL),
    "enter_long": _Step(Action.BUY, MarketPosition.LONG),
    "exit_long": _Step(Action.CLOSE_LONG),
    "enter_short": _Step(Action.SELL, MarketPosition.SHORT),
    "exit_short": _Step(Action.CLOSE_SHORT),
}
_UNITS: Final = {"base": QuantityUnit.UNITS, "quote": QuantityUnit.QUOTE}
_REDUCING: Final = {Action.BUY: Action.CLOSE_SHORT, Action.SELL: Action.CLOSE_LONG}


@dataclass(frozen=True, slots=True)
class _Place:
    """A position and its size, as far as they are said."""

    position: MarketPosition | None
    size: Decimal | None

    @classmethod
    def of(cls, info: Fields, name: str) -> "_Place":
        """Return what stands under a name; position and size may not deny one another."""
        position = info.choice(name, POSITIONS)
        size_name = f"{name}_size"
        size = info.number(size_name, allows_zero=True)
        if position is not None and size is not None and (position is MarketPosition.FLAT) != (size == 0):
            detail = f'"{info.label(size_name)}" is {size} while "{info.label(name)}" is "{position}"; 0 goes with "flat" alone'
            raise info.contradiction(size_name, detail)
        return cls(position, size)


@dataclass(frozen=True, slots=True)
class _Chain:
    """The strategy's position before the order and after it."""

    position: MarketPosition | None = None
    size: Decimal | None = None
    previous: MarketPosition | None = None
    previous_size: Decimal | None = None

    @classmethod
    def of(cls, info: Fields) -> "_Chain":
        now, before = _Place.of(info, "market_position"), _Place.of(info, "prev_market_position")
        return cls(now.position, now.size, before.position, before.size)


def _recognises(fields: Fields) -> bool:
    if fields.has("secret"):
        return fields.has_any("bot_uuid", "strategy_info", "max_lag", "tv_instrument")
    return fields.has_any("bot_uuid", "tv_instrument") or fields.has("strategy_info", "action")


def _read(fields: Fields) -> AlertContent:
    step = fields.chosen("action", _STEPS, code="invalid_action")
    for name in ("take_profit", "stop_loss"):
        fields.refuse_if_given(
            name, "this tool's exits are not known here, send them with the dialect bascule"
        )
    info = fields.section("strategy_info")
    chain = _Chain() if info is None else _Chain.of(info)
    order = fields.section("order")
    size = Size() if order is None else _size(order)
    action = step.action if info is None else _followed(info, step, chain)
    if action is not step.action and action in _REDUCING.values() and size.quantity is None:
        raise fields.missing(
            "order", f"an object with the amount by which the {chain.position} position is reduced"
        )
    if action is Action.TARGET:
        size = Size()
    elif info is not None and action is Action.FLIP:
        # The order's amount holds what closes the old position too.
        size = _of_the_new_position(info, order, size, chain)
    return AlertContent(
        dialect=NAME,
        action=action,
        symbol=fields.symbol("tv_instrument"),
        exchange=fields.text("tv_exchange"),
        quantity=size.quantity,
        unit=size.unit,
        price=fields.number("trigger_price"),
        strategy=fields.text("bot_uuid"),
        fired_at_ms=fields.time("timestamp"),
        max_age_ms=_max_age_ms(fields),
        position=step.position or chain.position,
        position_size=chain.size,
        previous_position=chain.previous,
        previous_position_size=chain.previous_size,
    )


def _followed(info: Fields, step: _Step, chain: _Chain) -> Action:
    """Return what a step means where the strategy says which position it leaves."""
    side, own = step.action, ENTERED.get(step.action)
    if own is None or chain.position is None:
        return side
    is_turned = chain.previous not in {None, MarketPosition.FLAT, chain.position}
    if chain.position is own:
        return Action.FLIP if is_turned else side
    # What is left is flat, or a smaller position on the other side: there must have been one on it.
    is_from_elsewhere = chain.previous in {own, MarketPosition.FLAT} and chain.previous is not chain.position
    if is_from_elsewhere or step.position is not None:
        before = f' from "{chain.previous}"' if chain.previous else ""
        detail = f'"{info.label("market_position")}" is "{chain.position}" after this action{before}, expected "{own}"'
        raise info.contradiction("market_position", detail)
    return Action.TARGET if chain.position is MarketPosition.FLAT else _REDUCING[side]


def _size(order: Fields) -> Size:
    kind = order.text("order_type")
    if kind is not None and kind.lower() != "market":
        raise order.unsupported("order_type", "only market orders are known of this tool, leave it out")
    if order.optional_number("price") is not None:
        raise order.contradiction(
            "price", f'"{order.label("price")}" is there, but a market order has no price: leave it out'
        )
    amount = order.number("amount")
    if amount is None:
        return Size()
    return Size(amount, order.chosen("currency_type", _UNITS))


def _of_the_new_position(info: Fields, order: Fields | None, size: Size, chain: _Chain) -> Size:
    if order is not None and size.unit is not QuantityUnit.UNITS:
        raise order.unsupported("currency_type", 'a position that turns is counted in "base", send that')
    if size.quantity is not None and chain.size is None:
        raise info.missing(
            "market_position_size", "the new position, since the amount closes the old one too"
        )
    return Size(chain.size)


def _max_age_ms(fields: Fields) -> int | None:
    seconds = fields.number("max_lag")
    if seconds is None:
        return None
    if seconds > _MAX_LAG_S:
        raise fields.refusal(
            "invalid_number", "max_lag", f'"max_lag" is {seconds}, expected at most {_MAX_LAG_S} seconds'
        )
    return max(int(seconds * 1_000), 1)


DIALECT: Final = Dialect(
    name=NAME,
    title="3Commas",
    credential="secret",
    names={"symbol": "tv_instrument", "exchange": "tv_exchange", "strategy": "bot_uuid"},
    recognises=_recognises,
    read=_read,
    template="""{
  "secret": "<SECRET>",
  "max_lag": "120",
  "timestamp": "{{timenow}}",
  "trigger_price": "{{strategy.order.price}}",
  "tv_exchange": "{{exchange}}",
  "tv_instrument": "{{ticker}}",
  "action": "{{strategy.order.action}}",
  "bot_uuid": "my_strategy",
  "strategy_info": {
    "market_position": "{{strategy.market_position}}",
    "market_position_size": "{{strategy.market_position_size}}",
    "prev_market_position": "{{strategy.prev_market_position}}",
    "prev_market_position_size": "{{strategy.prev_market_position_size}}"
  },
  "order": {
    "amount": "{{strategy.order.contracts}}",
    "currency_type": "base"
  }
}""",
)
