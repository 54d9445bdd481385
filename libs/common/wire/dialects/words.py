"""The words that several dialects share, in lower case, and what they stand for."""

from collections.abc import Mapping
from typing import Final

from libs.common.domain.alert import Action, MarketPosition, TimeInForce
from libs.common.domain.order import OrderType

SIDES: Final[Mapping[str, Action]] = {"buy": Action.BUY, "sell": Action.SELL}
POSITIONS: Final[Mapping[str, MarketPosition]] = {one.value: one for one in MarketPosition}
ORDER_TYPES: Final[Mapping[str, OrderType]] = {one.value: one for one in OrderType}
TIMES_IN_FORCE: Final[Mapping[str, TimeInForce]] = {one.value: one for one in TimeInForce}

ENTERED: Final[Mapping[Action, MarketPosition]] = {
    Action.BUY: MarketPosition.LONG,
    Action.SELL: MarketPosition.SHORT,
}
"""Which position a side enters."""
