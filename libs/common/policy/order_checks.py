"""What an exchange refuses at once: orders that do not fit its market, or make no sense."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from libs.common.domain.alert import TimeInForce
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.venue import Instrument
from libs.common.policy.exact import is_multiple, multiply
from libs.common.policy.fills import Unfillable, out_of_range
from libs.common.policy.matching import LIMITS, STOPS

TIMES_IN_FORCE: Final = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK})
"""Those that the simulated exchange knows; it has no auctions."""

AT_ONCE: Final = frozenset({TimeInForce.IOC, TimeInForce.FOK})
"""Those under which an order never rests."""


ANY_QUANTITY: Final = Instrument()
"""A market without steps and limits."""


def always_open(at_ms: int) -> bool:  # noqa: ARG001 - the shape of every table of trading hours
    """Trade round the clock."""
    return True


@dataclass(frozen=True, slots=True)
class Rules:
    """How one market trades."""

    slippage_bps: Decimal = Decimal(0)
    """Basis points by which whoever takes the market price trades worse."""
    fee_bps: Decimal = Decimal(0)
    """Basis points of a fill's value that it costs."""
    instrument: Instrument = ANY_QUANTITY
    is_open: Callable[[int], bool] = always_open
    """Tells whether it trades at a time."""
    partial_fills: float = 0.0
    """The share of fills that are only a part, 0 to 1."""


def read_time_in_force(plan: OrderPlan) -> TimeInForce | Unfillable:
    """Return how long an order may rest: until it is cancelled where it does not say."""
    if plan.time_in_force is None:
        return TimeInForce.GTC
    known = {one.value: one for one in TIMES_IN_FORCE}.get(plan.time_in_force)
    if known is None:
        names = ", ".join(sorted(TIMES_IN_FORCE))
        return Unfillable("unsupported", f"time in force {plan.time_in_force}; there are {names}")
    return known


def check_order(plan: OrderPlan, price: Decimal | None, rules: Rules, at_ms: int) -> Unfillable | None:
    """Return why an order is refused; None where it may come.

    Args:
        plan: What is asked for.
        price: The market's price; None where none is known.
        rules: The market's.
        at_ms: When it came.
    """
    if rules.is_open is not always_open and not rules.is_open(at_ms):
        return Unfillable("market_closed", f"the market does not trade at {at_ms}")
    refused = (
        _check_prices(plan)
        or out_of_range("quantity", plan.quantity)
        or (None if price is None else out_of_range("price", price))
    )
    if refused is None and price is None and plan.type is OrderType.MARKET:
        refused = Unfillable("no_price", "the market has no price yet")
    if refused is None and rules.instrument != ANY_QUANTITY:
        refused = _check_instrument(plan, price, rules.instrument)
    if refused is None and (plan.take_profit is not None or plan.stop_loss is not None):
        refused = _check_exits(plan, price)
    return refused


def _entry_price(plan: OrderPlan, price: Decimal | None) -> Decimal | None:
    """Return about what the order will trade at."""
    if plan.type in LIMITS:
        return plan.limit_price
    return plan.stop_price if plan.type is OrderType.STOP else price


def _check_prices(plan: OrderPlan) -> Unfillable | None:
    prices = (
        ("limit_price", plan.limit_price, plan.type in LIMITS),
        ("stop_price", plan.stop_price, plan.type in STOPS),
    )
    for name, price, is_wanted in prices:
        if (price is not None) is not is_wanted:
            what = "needs a" if is_wanted else "takes no"
            return Unfillable("invalid_order", f"a {plan.type} order {what} {name}")
        if price is not None and (refused := out_of_range(name, price)):
            return refused
    return None


def _check_instrument(plan: OrderPlan, price: Decimal | None, instrument: Instrument) -> Unfillable | None:
    quantity, step = plan.quantity, instrument.quantity_step
    if step is not None and not is_multiple(quantity, step):
        return Unfillable("lot_size", f"quantity {quantity} is not a multiple of {step}")
    if instrument.max_quantity is not None and quantity > instrument.max_quantity:
        return Unfillable("max_quantity", f"quantity {quantity} is above {instrument.max_quantity}")
    for name in ("limit_price", "stop_price", "take_profit", "stop_loss"):
        own: Decimal | None = getattr(plan, name)
        if own is not None and instrument.price_step and not is_multiple(own, instrument.price_step):
            return Unfillable("tick_size", f"{name} {own} is not a multiple of {instrument.price_step}")
    if plan.reduce_only:  # or the rest of a position could never be closed
        return None
    if instrument.min_quantity is not None and quantity < instrument.min_quantity:
        return Unfillable("min_quantity", f"quantity {quantity} is below {instrument.min_quantity}")
    entry = _entry_price(plan, price)
    if instrument.min_value is not None and entry is not None:
        value = multiply(quantity, entry)
        if value < instrument.min_value:
            return Unfillable("min_value", f"the order's value {value} is below {instrument.min_value}")
    return None


def _check_exits(plan: OrderPlan, price: Decimal | None) -> Unfillable | None:
    """Refuse exits that would trade at once, and those of an order that closes."""
    if plan.reduce_only:
        return Unfillable("invalid_exit", "a reduce-only order takes no take_profit and no stop_loss")
    entry = _entry_price(plan, price)
    is_buy = plan.side is Side.BUY
    for name, level, is_above in (
        ("take_profit", plan.take_profit, is_buy),
        ("stop_loss", plan.stop_loss, not is_buy),
    ):
        if level is None:
            continue
        if refused := out_of_range(name, level):
            return refused
        if entry is not None and not (level > entry if is_above else level < entry):
            where = "above" if is_above else "below"
            return Unfillable("invalid_exit", f"{name} {level} of a {plan.side} is not {where} {entry}")
    return None
