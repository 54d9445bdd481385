"""When an order trades, at what price and how much of it."""

from decimal import Decimal
from typing import Final

from libs.common.domain.order import OrderType, Side
from libs.common.domain.venue import FINEST_STEP
from libs.common.policy.book import Book, Order
from libs.common.policy.exact import magnitude, multiply, round_down
from libs.common.policy.fills import Unfillable, slip
from libs.common.policy.retry import Uniform

STOPS: Final = frozenset({OrderType.STOP, OrderType.STOP_LIMIT})
LIMITS: Final = frozenset({OrderType.LIMIT, OrderType.STOP_LIMIT})

_LEAST_PART: Final = Decimal("0.1")
"""Of the order: it is filled in ten parts at most."""


def reaches_stop(order: Order, price: Decimal) -> bool:
    """Tell whether the market price sets off a stop order: buys when it rises to it, sells when it falls to it."""
    assert order.stop_price is not None, order
    return price >= order.stop_price if order.side is Side.BUY else price <= order.stop_price


def trade_price(
    order: Order, price: Decimal, *, is_arriving: bool, slippage_bps: Decimal
) -> Decimal | Unfillable | None:
    """Return what an order trades at when this is the market price; None where its limit keeps it from trading.

    An order that meets the market takes its price, with slippage but never beyond its limit. One that rested is met
    by the market at its limit: better prices went to nobody, as the market passed the limit on its way.

    Args:
        order: A stop was set off before.
        price: The market's.
        is_arriving: Whether it meets the market now; else it rested.
        slippage_bps: Basis points by which the market is worse for whoever takes its price.
    """
    if order.type not in LIMITS:
        return slip(price, order.side, slippage_bps)
    limit = order.limit_price
    assert limit is not None, order
    is_buy = order.side is Side.BUY
    if price > limit if is_buy else price < limit:
        return None
    if not is_arriving:
        return limit
    slipped = slip(price, order.side, slippage_bps)
    if isinstance(slipped, Unfillable):
        return limit
    return min(slipped, limit) if is_buy else max(slipped, limit)


def reducible(book: Book, side: Side) -> Decimal:
    """Return how much of the position an order of this side may close, base units."""
    held = book.quantity
    return magnitude(held) if (held < 0) is (side is Side.BUY) else Decimal(0)


def draw_part(
    wanted: Decimal, whole: Decimal, share: float, step: Decimal | None, uniform: Uniform
) -> Decimal:
    """Return how much of an order fills at once: all of it, or by the dice a part.

    Args:
        wanted: What could fill.
        whole: The order's quantity.
        share: The share of fills that are only a part, 0 to 1.
        step: The market's quantity step, if it has one.
        uniform: Called twice where `share` is above 0, else not at all.
    """
    if not share:
        return wanted
    is_part, part = uniform(0, 1) < share, Decimal(repr(round(uniform(0.1, 0.9), 6)))
    if not is_part:
        return wanted
    part = round_down(max(multiply(wanted, part), multiply(whole, _LEAST_PART)), step or FINEST_STEP)
    return part if 0 < part < wanted else wanted
