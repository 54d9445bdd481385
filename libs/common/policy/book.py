"""One market's book of one account: what is held, and what rests there."""

from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.alert import TimeInForce
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import RESTING, OrderState
from libs.common.domain.order import OrderReport, OrderType, Side
from libs.common.domain.venue import OpenOrder
from libs.common.policy.exact import add, divide, multiply, subtract
from libs.common.policy.fills import Position

DAY_MS: Final = 86_400_000


class Order(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An order that the exchange took, and how far it has come."""

    order_id: str
    """The exchange's own id."""
    client_order_id: ClientOrderId | None = None
    """None for an exit that came with another order."""
    side: Side
    quantity: Decimal
    """Base units, as ordered."""
    type: OrderType = OrderType.MARKET
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    take_profit: Decimal | None = None
    """Where what it fills is to be closed at a profit."""
    stop_loss: Decimal | None = None
    """Where what it fills is to be closed at a loss."""
    reduce_only: bool = False
    time_in_force: TimeInForce = TimeInForce.GTC
    placed_at_ms: int
    state: OrderState = OrderState.ACCEPTED
    filled: Decimal = Decimal(0)
    """Base units."""
    value: Decimal = Decimal(0)
    """What the filled quantity was traded for."""
    fee: Decimal = Decimal(0)
    parts: int = 0
    """Executions so far."""
    is_triggered: bool = False
    """Whether the market has reached its stop price."""
    pair_id: str | None = None
    """Of an exit: shared by a take-profit and a stop-loss of which only one may trade."""
    due_at_ms: int = 0
    """Before this nothing more of it fills."""
    detail: str | None = None
    """Why it ended, where that is not plain."""

    @property
    def is_open(self) -> bool:
        """Return whether it may still fill."""
        return self.state in RESTING

    @property
    def remaining(self) -> Decimal:
        """Return what is not filled, base units."""
        return subtract(self.quantity, self.filled) if self.filled else self.quantity

    @property
    def average_price(self) -> Decimal | None:
        """Return what one unit was traded for; None before the first fill."""
        return divide(self.value, self.filled) if self.filled else None

    def report(self) -> OrderReport:
        """Return what the exchange says about it."""
        has_traded = self.parts > 0
        return OrderReport(
            order_id=self.order_id,
            state=self.state,
            filled_quantity=self.filled,
            average_price=self.average_price,
            fee=self.fee if has_traded else None,
            detail=self.detail,
        )

    def as_open(self, symbol: Market) -> OpenOrder:
        """Return it as one of the orders that rest in a market."""
        return OpenOrder(
            order_id=self.order_id,
            symbol=symbol,
            side=self.side,
            quantity=self.quantity,
            client_order_id=self.client_order_id,
            type=self.type,
            filled_quantity=self.filled,
            limit_price=self.limit_price,
            stop_price=self.stop_price,
        )


class Book(Position, frozen=True, kw_only=True, omit_defaults=True):
    """A position with what rests in its market. `Book()` is a market that was never traded.

    It is stored flat, so that whoever knows only positions reads and keeps one.
    """

    orders: tuple[Order, ...] = ()
    """Those that may still fill, oldest first."""
    day: int = 0
    """The last day, UTC, on which anything happened: days since the epoch."""
    opening_worth: Decimal = Decimal(0)
    """What the book was worth when that day began."""

    @property
    def worth(self) -> Decimal:
        """Return what its trading has added to the account: cash, and what is open at the last price."""
        if not self.quantity or self.last_price is None:
            return self.cash
        return add(self.cash, multiply(self.quantity, self.last_price))

    def day_pnl(self, at_ms: int) -> Decimal:
        """Return what this day, UTC, has added to it so far."""
        return subtract(self.worth, self.opening_worth) if self.day == at_ms // DAY_MS else Decimal(0)

    def order(self, order_id: str) -> Order | None:
        """Return the open order of this id; None where there is none."""
        return next((order for order in self.orders if order.order_id == order_id), None)

    def order_of(self, client_order_id: ClientOrderId) -> Order | None:
        """Return the open order that was placed under this id; None where there is none."""
        return next((order for order in self.orders if order.client_order_id == client_order_id), None)


def on_day(book: Book, at_ms: int) -> Book:
    """Return the book with the day of `at_ms` begun, at what it was worth before anything happened on it."""
    day = at_ms // DAY_MS
    # Clocks of several workers may differ around midnight: a day that was begun is not taken back.
    if day <= book.day:
        return book
    return msgspec.structs.replace(book, day=day, opening_worth=book.worth)
