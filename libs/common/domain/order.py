"""Orders: what we ask of a venue and what it answers."""

from decimal import Decimal
from enum import StrEnum

import msgspec

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState


class Side(StrEnum):
    """Which way an order trades."""

    BUY = "buy"
    SELL = "sell"

    @property
    def opposite(self) -> "Side":
        """Return the side that undoes what this one does."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    """How an order is to be executed."""

    MARKET = "market"
    LIMIT = "limit"
    STOP = "stop"
    STOP_LIMIT = "stop_limit"


class OrderPlan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be traded for one leg; never changed once its first attempt was made."""

    side: Side
    quantity: Decimal
    """Base units, above 0."""
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    reduce_only: bool = False
    time_in_force: str | None = None
    reference_price: Decimal | None = None
    """The alert's price: what slippage is measured against; never an order price."""
    is_exit: bool = False
    """Whether it can only lessen what was open when it was planned; not every venue knows `reduce_only`."""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that one instruction does at the venue; made once, kept from the first attempt on."""

    legs: tuple[OrderPlan, ...] = ()
    """Orders, one after the other: each once the one before it is filled. At most two."""
    cancels: tuple[str, ...] = ()
    """The venue's ids of resting orders that are cancelled first: what rested when the plan was made, so that a late
    holder cannot cancel its successor's."""


class OrderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at an order, as a broker adapter gets it."""

    client_order_id: ClientOrderId
    account: AccountName
    symbol: Market
    alert_id: AlertId
    strategy: str | None
    plan: OrderPlan
    expires_at_ms: int
    """The venue must refuse the order after this time."""


class OrderReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the venue says about one order."""

    order_id: str
    """The venue's own id."""
    state: OrderState
    """ACCEPTED, PARTIAL, FILLED, REJECTED, CANCELED or EXPIRED."""
    filled_quantity: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fee: Decimal | None = None
    detail: str | None = None
    """The venue's words, where it refused."""
