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

SCHEMA_VERSION: Final = 3
"""The newest version that this code reads. Workers leave newer instructions alone. Those that know 2 read the same
fields, but refuse whatever is beyond plain."""

PLAIN_VERSION: Final = 1
"""A market order of so many units: all that the first workers knew. They would misread anything else."""

# Looked up once: a member of an enumeration costs as much each time as a call. They are asked for every alert.
_PLAIN_ACTIONS: Final = frozenset({Action.BUY, Action.SELL})
_PLAIN_UNIT: Final = QuantityUnit.UNITS
_PLAIN_TYPE: Final = OrderType.MARKET


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
    """As sent, where that is not the market's own name, and where the account declined the alert."""
    exchange: str | None = None
    """As sent; with the symbol what the mapping is checked again by."""
    names_market: bool = False
    """Whether an operator named the market itself: there is no symbol that could mean another one."""
    traceparent: str | None = None
    """The span that led to it, where the ingress was traced. Nothing of an execution depends on it."""
    replay_of: str | None = None
    """What `traceparent` was before its last replay."""


def beyond_plain(asked: AlertContent | Instruction) -> list[str]:
    """Return in words what is asked for beyond a market order of so many units; empty where that is all.

    What is not in this list every version of a worker reads the same.
    """
    words = []
    if asked.action not in _PLAIN_ACTIONS:
        words.append(f'action "{asked.action}"')
    if asked.unit is not _PLAIN_UNIT:
        words.append(f'a quantity in "{asked.unit}"')
    if asked.order_type is not _PLAIN_TYPE:
        words.append(f'order type "{asked.order_type}"')
    if asked.take_profit is not None:
        words.append("a take-profit")
    if asked.stop_loss is not None:
        words.append("a stop-loss")
    if asked.time_in_force is not None:
        words.append(f'time in force "{asked.time_in_force}"')
    if asked.reduce_only:
        words.append("reduce only")
    return words


def version_of(content: AlertContent) -> int:
    """Return the version of the instructions that an alert becomes: the oldest that can say it."""
    return SCHEMA_VERSION if beyond_plain(content) else PLAIN_VERSION
