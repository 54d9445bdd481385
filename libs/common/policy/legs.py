"""Single orders of a plan: those that open a position, and those that lessen one."""

from collections.abc import Callable
from decimal import Decimal

from libs.common.domain.alert import ExitLevel
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderPlan, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Instrument
from libs.common.policy.amounts import Prices, Unfit
from libs.common.policy.exact import multiply
from libs.common.policy.exit_levels import WrongSide, stop_loss, take_profit
from libs.common.policy.rounding import shown


def entry_leg(
    instruction: Instruction,
    instrument: Instrument | None,
    side: Side,
    quantity: Decimal,
    prices: Prices,
    words: str,
) -> OrderPlan | Unfit:
    """Return an order that opens, with its exits.

    Args:
        instruction: What the alert asked for.
        instrument: The market's steps and limits; None where they were not asked for, or the venue does not tell.
        side: Which way it trades.
        quantity: Rounded; 0 is refused.
        prices: Its own, and about what it trades at.
        words: How the quantity was found.
    """
    refused = _too_small(quantity, prices.entry, words, instrument) or _too_large(quantity, instrument)
    if refused is not None:
        return refused
    step = None if instrument is None else instrument.price_step
    profit = _level(take_profit, instruction.take_profit, prices.entry, side, step)
    if isinstance(profit, Unfit):
        return profit
    loss = _level(stop_loss, instruction.stop_loss, prices.entry, side, step)
    if isinstance(loss, Unfit):
        return loss
    return OrderPlan(
        side=side,
        quantity=quantity,
        type=instruction.order_type,
        limit_price=prices.limit,
        stop_price=prices.stop,
        take_profit=profit,
        stop_loss=loss,
        time_in_force=instruction.time_in_force,
        reference_price=instruction.price,
    )


def exit_leg(
    instruction: Instruction,
    instrument: Instrument | None,
    side: Side,
    quantity: Decimal,
    prices: Prices,
    *,
    reduce_only: bool,
) -> OrderPlan | Unfit:
    """Return an order that lessens what is open.

    The least that the market trades is left to the venue: many let a smaller rest be closed.
    """
    if refused := _too_large(quantity, instrument):
        return refused
    return OrderPlan(
        side=side,
        quantity=quantity,
        type=instruction.order_type,
        limit_price=prices.limit,
        stop_price=prices.stop,
        reduce_only=reduce_only,
        time_in_force=instruction.time_in_force,
        reference_price=instruction.price,
        is_exit=True,
    )


def _level(
    find: Callable[[ExitLevel, Decimal, Side, Decimal | None], Decimal | WrongSide],
    level: ExitLevel | None,
    entry: Decimal | None,
    side: Side,
    step: Decimal | None,
) -> Decimal | Unfit | None:
    if level is None:
        return None
    if entry is None:
        detail = (
            "exits take the price of the entry: neither the order nor the alert names one, nor does the venue"
        )
        return Unfit(Reason.NO_PRICE, detail)
    price = find(level, entry, side, step)
    return Unfit(Reason.INVALID, price.detail) if isinstance(price, WrongSide) else price


def _too_small(
    quantity: Decimal, price: Decimal | None, words: str, instrument: Instrument | None
) -> Unfit | None:
    if not quantity:
        return Unfit(Reason.TOO_SMALL, f"{words}, less than the market's step")
    if instrument is None:
        return None
    least, least_value = instrument.min_quantity, instrument.min_value
    if least is not None and quantity < least:
        detail = f"{words}: {shown(quantity)}, but the market trades at least {shown(least)}"
        return Unfit(Reason.TOO_SMALL, detail)
    if least_value is not None and price is not None and multiply(quantity, price) < least_value:
        value = shown(multiply(quantity, price))
        detail = f"{words}: worth {value}, but the market trades at least {shown(least_value)}"
        return Unfit(Reason.TOO_SMALL, detail)
    return None


def _too_large(quantity: Decimal, instrument: Instrument | None) -> Unfit | None:
    if instrument is None or instrument.max_quantity is None or quantity <= instrument.max_quantity:
        return None
    detail = f"{shown(quantity)}, but the market trades at most {shown(instrument.max_quantity)} at once"
    return Unfit(Reason.TOO_LARGE, detail)
