"""Fills on paper: at what price, at what cost, and what they make of a position. Exact.

For every position holds, whatever was traded: `cash == realised - fees - cost`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Context, Decimal, localcontext
from typing import Final

import msgspec

from libs.common.domain.order import Side

MOST_DECIMALS: Final = 24
"""Decimals a quantity or a price may have; finer results are rounded to them."""

LARGEST: Final = Decimal(10) ** 24
"""The largest quantity or price."""

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
        with _exact():
            return tidy(self.cost / self.quantity) if self.quantity else None


@dataclass(frozen=True, slots=True)
class Fill:
    """An order executed in full."""

    price: Decimal
    fee: Decimal
    position: Position
    """The position after it."""


@dataclass(frozen=True, slots=True)
class Unfillable:
    """The order cannot be executed, now or later."""

    code: str
    detail: str


def market_price(
    reference_price: Decimal | None, position: Position, default_price: Decimal | None
) -> Decimal | None:
    """Return the price to fill at: the alert's, else the last seen, else the account's; None without any."""
    if reference_price is not None:
        return reference_price
    return position.last_price if position.last_price is not None else default_price


def fill(
    position: Position,
    side: Side,
    quantity: Decimal,
    price: Decimal,
    *,
    slippage_bps: Decimal,
    fee_bps: Decimal,
) -> Fill | Unfillable:
    """Execute a market order in full.

    Args:
        position: The market's position before it.
        side: Which way it trades.
        quantity: Base units.
        price: The market price.
        slippage_bps: Basis points by which the fill is worse than the market price, 0 to 10,000.
        fee_bps: Basis points of the fill's value that it costs.
    """
    for name, number in (("quantity", quantity), ("price", price)):
        if not _is_in_range(number):
            return Unfillable(
                "out_of_range",
                f"{name} {number} is not above 0, at most {LARGEST:e} and of at most {MOST_DECIMALS} decimals",
            )
    with _exact():
        slipped = _slipped(price, side, slippage_bps)
        if slipped <= 0:
            return Unfillable(
                "out_of_range", f"{price} less {slippage_bps} basis points of slippage is no price"
            )
        fee = tidy((quantity * slipped * fee_bps / _WHOLE_BPS).quantize(_STEP))
        signed = quantity if side is Side.BUY else -quantity
        return Fill(slipped, fee, _after(position, signed, slipped, fee, price))


def tidy(number: Decimal) -> Decimal:
    """Return the number without trailing zeros and exponent, rounded to `MOST_DECIMALS` decimals."""
    with _exact():
        return _plain(number.quantize(_STEP) if _exponent(number) < -MOST_DECIMALS else number)


def _after(
    position: Position, signed: Decimal, price: Decimal, fee: Decimal, last_price: Decimal
) -> Position:
    held = position.quantity
    closed = Decimal(0)  # signed as what is held
    removed = Decimal(0)  # its cost
    if held * signed < 0:
        closed = held if abs(signed) >= abs(held) else -signed
        removed = position.cost if closed == held else (position.cost * closed / held).quantize(_STEP)
    opened = signed + closed
    return Position(
        quantity=_plain(held + signed),
        cost=_plain(position.cost - removed + opened * price),
        cash=_plain(position.cash - signed * price - fee),
        realised=_plain(position.realised + closed * price - removed),
        fees=_plain(position.fees + fee),
        last_price=last_price,
    )


def _slipped(price: Decimal, side: Side, slippage_bps: Decimal) -> Decimal:
    """Return the price made worse: buys pay more, sells get less, rounded the same way."""
    share = slippage_bps / _WHOLE_BPS
    worse = price * (1 + share) if side is Side.BUY else price * (1 - share)
    if _exponent(worse) < -MOST_DECIMALS:
        worse = worse.quantize(_STEP, rounding=ROUND_UP if side is Side.BUY else ROUND_DOWN)
    return tidy(worse)


def _is_in_range(number: Decimal) -> bool:
    return number.is_finite() and 0 < number <= LARGEST and _exponent(number) >= -MOST_DECIMALS


def _plain(number: Decimal) -> Decimal:
    """Return the number without trailing zeros and exponent, unrounded; only within `_exact`."""
    if not number:
        return Decimal(0)
    number = number.normalize()
    return number.quantize(Decimal(1)) if _exponent(number) > 0 else number


def _exponent(number: Decimal) -> int:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int), number
    return exponent


@contextmanager
def _exact() -> Iterator[None]:
    with localcontext(_CONTEXT):
        yield
