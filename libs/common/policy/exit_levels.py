"""Where the take-profit and the stop-loss of an entry lie, as prices."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.alert import ExitLevel, ExitUnit
from libs.common.domain.order import Side
from libs.common.domain.venue import FINEST_STEP
from libs.common.policy.exact import add, multiply, subtract
from libs.common.policy.rounding import round_price, shown

_PERCENT: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class WrongSide:
    """An exit that would be met at once, or at a price below 0."""

    detail: str


def take_profit(level: ExitLevel, entry: Decimal, side: Side, step: Decimal | None) -> Decimal | WrongSide:
    """Return the price at which an entry takes its profit: above the entry of a buy, below that of a sell.

    Args:
        level: As the alert gives it.
        entry: The entry's price.
        side: The entry's side.
        step: The market's price step; None where the venue tells none.
    """
    return _price("take_profit", level, entry, side, step, is_above=side is Side.BUY)


def stop_loss(level: ExitLevel, entry: Decimal, side: Side, step: Decimal | None) -> Decimal | WrongSide:
    """Return the price at which an entry stops its loss: below the entry of a buy, above that of a sell.

    Args:
        level: As the alert gives it.
        entry: The entry's price.
        side: The entry's side.
        step: The market's price step; None where the venue tells none.
    """
    return _price("stop_loss", level, entry, side, step, is_above=side is Side.SELL)


def _price(
    name: str, level: ExitLevel, entry: Decimal, side: Side, step: Decimal | None, *, is_above: bool
) -> Decimal | WrongSide:
    exit_side = side.opposite
    match level.unit:
        case ExitUnit.PRICE:
            price = round_price(level.value, exit_side, step)
        case ExitUnit.DISTANCE:
            price = _away(entry, level.value, exit_side, step, is_above=is_above)
        case ExitUnit.PERCENT:
            away = multiply(entry, level.value, _PERCENT)
            price = _away(entry, away, exit_side, step or FINEST_STEP, is_above=is_above)
        case _:
            assert_never(level.unit)
    if price > 0 and price != entry and (price > entry) is is_above:
        return price
    where = "above" if is_above else "below"
    return WrongSide(
        f'"{name}" comes to {shown(price)}, expected a price {where} the entry of {shown(entry)} to {side}'
    )


def _away(
    entry: Decimal, distance: Decimal, exit_side: Side, step: Decimal | None, *, is_above: bool
) -> Decimal:
    price = add(entry, distance) if is_above else subtract(entry, distance)
    return round_price(price, exit_side, step)
