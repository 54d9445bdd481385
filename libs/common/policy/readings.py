"""What a plan depends on at the venue: what must be asked, and what it said."""

from decimal import Decimal
from enum import StrEnum
from typing import Final

import msgspec

from libs.common.domain.alert import RISK_UNITS, Action, QuantityUnit
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderType
from libs.common.domain.venue import Balance, Instrument, OpenOrder, OrderAbilities
from libs.common.policy.abilities import lacking


class Need(StrEnum):
    """One thing that a venue is asked for."""

    POSITION = "position"
    """In the instruction's market."""
    PRICE = "price"
    """The last one there."""
    BALANCE = "balance"
    INSTRUMENT = "instrument"
    OPEN_ORDERS = "open_orders"
    """In the instruction's market."""
    ACCOUNT_ORDERS = "account_orders"
    """In all markets of the account."""
    EXPOSURE = "exposure"
    """The gross value of all positions of the account."""


class Readings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was read for one instruction. None: it was not asked for, or the venue does not tell."""

    position: Decimal | None = None
    """Signed, base units."""
    price: Decimal | None = None
    """The venue's last."""
    balance: Balance | None = None
    instrument: Instrument | None = None
    open_orders: tuple[OpenOrder, ...] | None = None
    """In the instruction's market."""
    account_orders: tuple[OpenOrder, ...] | None = None
    """In all markets of the account."""
    exposure: Decimal | None = None
    """Gross value of all positions of the account, at least 0; None: the balance's own counts."""
    read_at_ms: int = 0
    """Redis' time before the oldest of them was read."""


NOTHING: Final[frozenset[Need]] = frozenset()

_EQUITY_UNITS: Final = frozenset({QuantityUnit.PERCENT_OF_EQUITY, QuantityUnit.RISK_PERCENT})
_PRICED_UNITS: Final = frozenset({QuantityUnit.QUOTE, QuantityUnit.PERCENT_OF_EQUITY, *RISK_UNITS})


def is_plain(instruction: Instruction) -> bool:
    """Tell whether an instruction is a market order of so many units and no more: it depends on nothing at the venue."""
    action = instruction.action
    return (
        (action is Action.BUY or action is Action.SELL)
        and instruction.unit is QuantityUnit.UNITS
        and instruction.order_type is OrderType.MARKET
        and instruction.take_profit is None
        and instruction.stop_loss is None
        and not instruction.reduce_only
    )


def needs_of(instruction: Instruction, abilities: OrderAbilities) -> frozenset[Need]:
    """Return what the venue must be asked for before an instruction can be planned.

    Nothing for a market order of so many units, which most are, and nothing for what the venue cannot do anyway.
    """
    if is_plain(instruction):
        return NOTHING
    trades = instruction.action is Action.BUY or instruction.action is Action.SELL
    has_exits = instruction.take_profit is not None or instruction.stop_loss is not None
    is_market = instruction.order_type is OrderType.MARKET
    if instruction.action is Action.CANCEL:
        return frozenset({Need.OPEN_ORDERS})
    if lacking(instruction, abilities):
        return NOTHING
    needs = {Need.INSTRUMENT}
    if not trades or instruction.reduce_only or instruction.unit is QuantityUnit.PERCENT_OF_POSITION:
        needs.add(Need.POSITION)
    if instruction.unit in _EQUITY_UNITS:
        needs.add(Need.BALANCE)
    if is_market and instruction.price is None and (has_exits or instruction.unit in _PRICED_UNITS):
        needs.add(Need.PRICE)
    return frozenset(needs)
