"""How many base units a size comes to, whatever it is counted in."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.alert import QuantityUnit
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderType, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Balance
from libs.common.policy.exact import magnitude, multiply, share_in_steps, subtract
from libs.common.policy.exit_levels import WrongSide, stop_loss
from libs.common.policy.readings import Readings
from libs.common.policy.rounding import quantity_step, round_price, round_quantity, shown

_HUNDRED: Final = Decimal(100)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Amount:
    """What a size comes to."""

    quantity: Decimal
    """Base units, rounded down to what the market trades: 0 where that is less than one step."""
    words: str
    """How it was found."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """What an order asks for cannot be sent, or cannot be told."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Prices:
    """The prices of an order, rounded to the market's step by its side."""

    limit: Decimal | None
    stop: Decimal | None
    entry: Decimal | None
    """About what it trades at: its own price, else the alert's, else the venue's last."""


def order_prices(instruction: Instruction, readings: Readings, side: Side) -> Prices | Unfit:
    """Return the prices of an order to buy or to sell; refuse those that its type lacks, or has not."""
    kind, step = instruction.order_type, None
    if readings.instrument is not None:
        step = readings.instrument.price_step
    rounded: dict[str, Decimal | None] = {}
    for name, price, is_wanted in (
        ("limit_price", instruction.limit_price, kind in {OrderType.LIMIT, OrderType.STOP_LIMIT}),
        ("stop_price", instruction.stop_price, kind in {OrderType.STOP, OrderType.STOP_LIMIT}),
    ):
        if is_wanted is (price is None):
            detail = "is missing" if is_wanted else f"is {price}"
            expected = "a price above 0" if is_wanted else f"none with a {kind} order"
            return Unfit(Reason.INVALID, f'"{name}" {detail}, expected {expected}')
        rounded[name] = None if price is None else round_price(price, side, step)
        if price is not None and not rounded[name]:
            detail = f'"{name}" is {price}, expected at least the market\'s step of {step}'
            return Unfit(Reason.INVALID, detail)
    limit, stop = rounded["limit_price"], rounded["stop_price"]
    entry = limit if limit is not None else stop
    if entry is None:
        entry = instruction.price if instruction.price is not None else readings.price
    return Prices(limit, stop, entry)


def amount_of(
    instruction: Instruction,
    readings: Readings,
    default_quantity: Decimal | None,
    side: Side,
    entry: Decimal | None,
) -> Amount | Unfit:
    """Return what the size of an instruction comes to.

    Args:
        instruction: What the alert asked for.
        readings: What the venue said.
        default_quantity: Base units, above 0; None where the account has none.
        side: Which way the position goes that is sized: a stop-loss lies on its other side.
        entry: The price of one unit; None where nothing tells it.
    """
    unit, asked, instrument = instruction.unit, instruction.quantity, readings.instrument
    if unit is QuantityUnit.UNITS:
        if asked is not None:
            return Amount(round_quantity(asked, instrument), f"{shown(asked)} units")
        if default_quantity is None:
            detail = "the alert names no quantity, and its account has no default_quantity"
            return Unfit(Reason.NO_QUANTITY, detail)
        return Amount(
            round_quantity(default_quantity, instrument), f"the account's default {shown(default_quantity)}"
        )
    if asked is None:
        return Unfit(Reason.NO_QUANTITY, f'the alert counts in "{unit}", but names no quantity')
    if unit is QuantityUnit.PERCENT_OF_POSITION:
        return _of_position(asked, readings)
    if entry is None:
        detail = (
            f'a size in "{unit}" takes a price: neither the order nor the alert names one, nor does the venue'
        )
        return Unfit(Reason.NO_PRICE, detail)
    if unit is QuantityUnit.QUOTE:
        return _divided(asked, entry, readings, f"{shown(asked)} at {shown(entry)}")
    if unit is QuantityUnit.RISK_QUOTE:
        return _at_risk(instruction, asked, readings, side, entry, f"{shown(asked)}")
    balance = readings.balance
    if balance is None:
        return Unfit(
            Reason.NOT_SUPPORTED, f'a size in "{unit}" takes the equity, which the venue does not tell'
        )
    if balance.equity <= 0:
        return Unfit(Reason.TOO_SMALL, f"there is nothing to size by: equity {_money(balance)}")
    hundredfold = multiply(balance.equity, asked)
    words = f"{shown(asked)}% of equity {_money(balance)}"
    if unit is QuantityUnit.PERCENT_OF_EQUITY:
        return _divided(hundredfold, multiply(entry, _HUNDRED), readings, f"{words} at {shown(entry)}")
    if unit is QuantityUnit.RISK_PERCENT:
        return _at_risk(instruction, hundredfold, readings, side, entry, words, parts=_HUNDRED)
    assert_never(unit)


def _of_position(percent: Decimal, readings: Readings) -> Amount | Unfit:
    if readings.position is None:
        detail = "a size in percent of the position takes the position, which the venue does not tell"
        return Unfit(Reason.NOT_SUPPORTED, detail)
    held = magnitude(readings.position)
    hundredfold = multiply(held, percent)
    return _divided(hundredfold, _HUNDRED, readings, f"{shown(percent)}% of a position of {shown(held)}")


def _at_risk(
    instruction: Instruction,
    lost: Decimal,
    readings: Readings,
    side: Side,
    entry: Decimal,
    words: str,
    parts: Decimal = _ONE,
) -> Amount | Unfit:
    """Return how many units lose so much between the entry and the stop-loss; `lost` is so many parts of it."""
    if instruction.stop_loss is None:
        detail = (
            f'"stop_loss" is missing, expected where the loss is stopped that "{instruction.unit}" counts'
        )
        return Unfit(Reason.INVALID, detail)
    step = None if readings.instrument is None else readings.instrument.price_step
    stop = stop_loss(instruction.stop_loss, entry, side, step)
    if isinstance(stop, WrongSide):
        return Unfit(Reason.INVALID, stop.detail)
    distance = magnitude(subtract(entry, stop))
    way = f"{words} lost from {shown(entry)} to {shown(stop)}"
    return _divided(lost, multiply(distance, parts), readings, way)


def _divided(numerator: Decimal, denominator: Decimal, readings: Readings, words: str) -> Amount:
    quantity = share_in_steps(numerator, denominator, quantity_step(readings.instrument))
    return Amount(quantity, f"{words} = {shown(quantity)}")


def _money(balance: Balance) -> str:
    return f"{shown(balance.equity)} {balance.currency}".rstrip()
