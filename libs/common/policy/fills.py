"""Fills on paper: at what price, at what cost, and what they make of a position. Exact.

For every position holds, whatever was traded: `cash == realised - fees - cost`.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_UP, Decimal
from typing import Final, Generic, TypeVar

import msgspec

from libs.common.domain.order import Side
from libs.common.policy.exact import (
    MOST_DECIMALS,
    decimals,
    divide,
    exactly,
    plain,
    signed,
    tidy,
)

LARGEST: Final = Decimal(10) ** 24
"""The largest quantity or price."""

_ZERO: Final = Decimal(0)
_BPS: Final = Decimal("0.0001")


class Position(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One market of one account, with all that trading it has paid in and taken out."""

    quantity: Decimal = Decimal(0)
    """Base units; negative is short."""
    cost: Decimal = Decimal(0)
    """What the open quantity was bought for; negative: what it was sold for."""
    cash: Decimal = Decimal(0)
    """What all fills together added to the account's cash, fees included."""
    realised: Decimal = Decimal(0)
    """Profit of what was closed, before fees."""
    fees: Decimal = Decimal(0)
    """Fees paid."""
    last_price: Decimal | None = None
    """The last market price seen, without slippage."""

    @property
    def average_price(self) -> Decimal | None:
        """What one unit of the open quantity cost; None where nothing is open."""
        return divide(self.cost, self.quantity) if self.quantity else None


AnyPosition = TypeVar("AnyPosition", bound=Position)


@dataclass(frozen=True, slots=True)
class Fill(Generic[AnyPosition]):
    """A quantity that was traded at one price."""

    price: Decimal
    fee: Decimal
    position: AnyPosition
    """The position after it; whatever else it carries is as before."""


@dataclass(frozen=True, slots=True)
class Unfillable:
    """The order cannot be executed, now or later."""

    code: str
    detail: str


def fill(
    position: AnyPosition,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    slippage_bps: Decimal,
    fee_bps: Decimal,
) -> Fill[AnyPosition] | Unfillable:
    """Execute a market order in full.

    Args:
        position: The market's position before it.
        side: Which way it trades.
        quantity: Base units.
        price: The market price.
        slippage_bps: Basis points by which the fill is worse than the market price, 0 to 10,000.
        fee_bps: Basis points of the fill's value that it costs.
    """
    if refused := out_of_range("quantity", quantity) or out_of_range("price", price):
        return refused
    slipped = slip(price, side, slippage_bps)
    if isinstance(slipped, Unfillable):
        return slipped
    return execute(position, side, quantity, slipped, fee_bps=fee_bps, last_price=price)


def execute(
    position: AnyPosition,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    fee_bps: Decimal,
    last_price: Decimal | None,
) -> Fill[AnyPosition]:
    """Trade a quantity at exactly this price; both are in range.

    Args:
        position: The market's position before it.
        side: Which way it trades.
        quantity: Base units.
        price: What is paid or received for one.
        fee_bps: Basis points of the value that it costs.
        last_price: The market price, which the position keeps.
    """
    with exactly():
        fee = tidy(quantity * price * fee_bps * _BPS) if fee_bps else _ZERO
        return Fill(price, fee, _after(position, signed(side, quantity), price, fee, last_price))


def slip(price: Decimal, side: Side, slippage_bps: Decimal) -> Decimal | Unfillable:
    """Return a price in range made worse: buys pay more, sells get less, rounded the same way."""
    if not slippage_bps:
        return plain(price)
    slipped = _slipped(price, side, slippage_bps)
    if slipped <= 0:
        return Unfillable("out_of_range", f"{price} less {slippage_bps} basis points of slippage is no price")
    return slipped


def out_of_range(name: str, number: Decimal) -> Unfillable | None:
    """Refuse a quantity or a price that sums would not stay exact with."""
    if number.is_finite() and 0 < number <= LARGEST and decimals(number) <= MOST_DECIMALS:
        return None
    return Unfillable(
        "out_of_range",
        f"{name} {number} is not above 0, at most {LARGEST:e} and of at most {MOST_DECIMALS} decimals",
    )


def _after(
    position: AnyPosition, moved: Decimal, price: Decimal, fee: Decimal, last_price: Decimal | None
) -> AnyPosition:
    held = position.quantity
    closed = _ZERO  # signed as what is held
    removed = _ZERO  # its cost
    if held * moved < 0:
        closed = held if abs(moved) >= abs(held) else -moved
        removed = position.cost if closed == held else divide(position.cost * closed, held)
    opened = moved + closed
    return msgspec.structs.replace(
        position,
        quantity=plain(held + moved),
        cost=plain(position.cost - removed + opened * price),
        cash=plain(position.cash - moved * price - fee),
        realised=plain(position.realised + closed * price - removed),
        fees=plain(position.fees + fee),
        last_price=last_price,
    )


def _slipped(price: Decimal, side: Side, slippage_bps: Decimal) -> Decimal:
    with exactly():
        share = slippage_bps * _BPS
        if side is Side.BUY:
            return tidy(price * (1 + share), ROUND_UP)
        return tidy(price * (1 - share), ROUND_DOWN)
