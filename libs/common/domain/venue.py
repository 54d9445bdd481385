"""What a venue says about itself: the account's money, what can be traded and how finely, what rests there."""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.alert import TimeInForce
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderType, Side

FINEST_STEP: Final = Decimal("1e-8")
"""The step that computed quantities and prices are rounded to where a venue tells none."""


class OrderAbilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue lets an order carry. What is not here is refused before anything is sent, never left out."""

    types: frozenset[OrderType] = frozenset(OrderType)
    has_take_profit: bool = True
    has_stop_loss: bool = True
    has_reduce_only: bool = True
    """Whether it can be told to lessen a position only. Where not, such orders are sized by the position alone."""
    times_in_force: frozenset[TimeInForce] = frozenset(TimeInForce)


EVERYTHING: Final = OrderAbilities()
"""Of a venue that refuses by itself what it cannot do."""


class Balance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The account's money, in its quote currency."""

    equity: Decimal
    """Cash and what is open, at current prices."""
    day_pnl: Decimal | None = None
    """Realised and open profit since the account's day began; None where the venue does not tell."""
    currency: str = ""
    exposure: Decimal | None = None
    """Gross value of all positions; None where the venue does not tell."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How finely, and how much of, a market can be traded. Quantities are base units."""

    quantity_step: Decimal | None = None
    """Quantities are multiples of it; None: the venue does not tell."""
    price_step: Decimal | None = None
    """Prices are multiples of it."""
    min_quantity: Decimal | None = None
    max_quantity: Decimal | None = None
    min_value: Decimal | None = None
    """Quote currency."""


class OpenOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that rests at the venue, ours or not."""

    order_id: str
    """The venue's own id."""
    symbol: Market
    side: Side
    quantity: Decimal
    """Base units, as ordered."""
    client_order_id: ClientOrderId | None = None
    """As the venue has it; None where it was placed without one."""
    type: OrderType = OrderType.LIMIT
    filled_quantity: Decimal = Decimal(0)
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
