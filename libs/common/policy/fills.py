"""Fills on paper: at what price, at what cost, and what they make of a position. Exact.

For every position holds, whatever was traded: `cash == realised - fees - cost`.
"""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, localcontext
from typing import Final, Generic, TypeVar

import msgspec

from libs.common.domain.order import Side

MOST_DECIMALS: Final = 24
"""Decimals a quantity or a price may have; finer results are rounded to them."""

LARGEST: Final = Decimal(10) ** 24
"""The largest quantity or price."""

_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_STEP: Final = Decimal(1).scaleb(-MOST_DECIMALS)
_WHOLE_BPS: Final = Decimal(10_000)

# A product of two of the largest and finest numbers has 96 digits; sums of many stay below 120.
_CONTEXT: Final = Context(prec=120, rounding=ROUND_HALF_EVEN)


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
    with localcontext(_CONTEXT):
        fee = _plain((quantity * price * fee_bps / _WHOLE_BPS).quantize(_STEP)) if fee_bps else _ZERO
        signed = quantity if side is Side.BUY else -quantity
        return Fill(price, fee, _after(position, signed, price, fee, last_price))


def slip(price: Decimal, side: Side, slippage_bps: Decimal) -> Decimal | Unfillable:
    """Return a price in range made worse: buys pay more, sells get less, rounded the same way."""
    if not slippage_bps:
        return _plain(price)
    with localcontext(_CONTEXT):
        slipped = _slipped(price, side, slippage_bps)
    if slipped <= 0:
        return Unfillable("out_of_range", f"{price} less {slippage_bps} basis points of slippage is no price")
    return slipped


def out_of_range(name: str, number: Decimal) -> Unfillable | None:
    """Refuse a quantity or a price that sums would not stay exact with."""
    if number.is_finite() and 0 < number <= LARGEST and _exponent(number) >= -MOST_DECIMALS:
        return None
    return Unfillable(
        "out_of_range",
        f"{name} {number} is not above 0, at most {LARGEST:e} and of at most {MOST_DECIMALS} decimals",
    )


def tidy(number: Decimal) -> Decimal:
    """Return the number without trailing zeros and exponent, rounded to `MOST_DECIMALS` decimals."""
    return _plain(number.quantize(_STEP, context=_CONTEXT) if _exponent(number) < -MOST_DECIMALS else number)


def add(*numbers: Decimal) -> Decimal:
    """Return the exact sum, without trailing zeros and exponent."""
    with localcontext(_CONTEXT):
        return _plain(sum(numbers, _ZERO))


def multiply(one: Decimal, other: Decimal) -> Decimal:
    """Return the exact product, without trailing zeros and exponent."""
    return _plain(_CONTEXT.multiply(one, other))


def divide(one: Decimal, other: Decimal) -> Decimal:
    """Return the quotient, rounded to `MOST_DECIMALS` decimals."""
    return tidy(_CONTEXT.divide(one, other))


def round_down(number: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of a step that is not above a number of at least 0."""
    return multiply(_CONTEXT.divide_int(number, step), step)


def is_multiple(number: Decimal, step: Decimal) -> bool:
    """Tell whether a number is a whole number of steps."""
    return not _CONTEXT.remainder(number, step)


def _after(
    position: AnyPosition, signed: Decimal, price: Decimal, fee: Decimal, last_price: Decimal | None
) -> AnyPosition:
    held = position.quantity
    closed = Decimal(0)  # signed as what is held
    removed = Decimal(0)  # its cost
    if held * signed < 0:
        closed = held if abs(signed) >= abs(held) else -signed
        removed = position.cost if closed == held else (position.cost * closed / held).quantize(_STEP)
    opened = signed + closed
    return msgspec.structs.replace(
        position,
        quantity=_plain(held + signed),
        cost=_plain(position.cost - removed + opened * price),
        cash=_plain(position.cash - signed * price - fee),
        realised=_plain(position.realised + closed * price - removed),
        fees=_plain(position.fees + fee),
        last_price=last_price,
    )


def _slipped(price: Decimal, side: Side, slippage_bps: Decimal) -> Decimal:
    share = slippage_bps / _WHOLE_BPS
    worse = price * (1 + share) if side is Side.BUY else price * (1 - share)
    if _exponent(worse) < -MOST_DECIMALS:
        worse = worse.quantize(_STEP, rounding=ROUND_UP if side is Side.BUY else ROUND_DOWN)
    return tidy(worse)


def _plain(number: Decimal) -> Decimal:
    """Return the number without trailing zeros and exponent, unrounded."""
    if not number:
        return _ZERO
    number = number.normalize(_CONTEXT)
    return number.quantize(_ONE, context=_CONTEXT) if _exponent(number) > 0 else number


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), number
    return exponent
