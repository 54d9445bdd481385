"""Instructions: an alert for one account, as it waits in a lane."""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.alert import (
    Action,
    AlertContent,
    ExitLevel,
    MarketPosition,
    QuantityUnit,
    TimeInForce,
)
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.order import OrderType

SCHEMA_VERSION: Final = 2
"""The newest version that this code reads. Workers leave newer instructions alone."""

PLAIN_VERSION: Final = 1
"""A market order of so many units: all that the first workers knew. They would misread anything else."""


class Instruction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker needs to execute an alert for one account; see `AlertContent` for what the fields mean."""

    alert_id: AlertId
    account: AccountName
    market: Market
    action: Action
    quantity: Decimal | None = None
    price: Decimal | None = None
    strategy: str | None = None
    unit: QuantityUnit = QuantityUnit.UNITS
    order_type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: ExitLevel | None = None
    stop_loss: ExitLevel | None = None
    reduce_only: bool = False
    time_in_force: TimeInForce | None = None
    position: MarketPosition | None = None
    position_size: Decimal | None = None
    previous_position: MarketPosition | None = None
    previous_position_size: Decimal | None = None
    symbol: str | None = None
    """As sent, where that is not the market's own name: so that the mapping can be checked again."""
    exchange: str | None = None


def is_plain(content: AlertContent) -> bool:
    """Return whether an alert is a market order of so many units, which every version of a worker reads the same."""
    return (
        (content.action is Action.BUY or content.action is Action.SELL)
        and content.unit is QuantityUnit.UNITS
        and content.order_type is OrderType.MARKET
        and content.take_profit is None
        and content.stop_loss is None
        and content.time_in_force is None
        and not content.reduce_only
    )


def version_of(content: AlertContent) -> int:
    """Return the version of the instructions that an alert becomes: the oldest that can say it."""
    return PLAIN_VERSION if is_plain(content) else SCHEMA_VERSION
