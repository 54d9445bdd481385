"""A simulated exchange: one market of one account, as a value that every step makes a new one of.

It knows one price, the last, and trades whatever is asked for at it: there is no depth, no queue and no impact.
"""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from msgspec.structs import replace

from libs.common.domain.alert import TimeInForce
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.book import DAY_MS, Book, Order, on_day
from libs.common.policy.exact import add, multiply, subtract
from libs.common.policy.fills import Unfillable, execute, out_of_range, slip
from libs.common.policy.matching import STOPS, draw_part, reaches_stop, reducible, trade_price
from libs.common.policy.order_checks import AT_ONCE, Rules, always_open, check_order, read_time_in_force
from libs.common.policy.retry import Uniform

PART_PAUSE_MS: Final = 250
"""Time between two parts of an order."""

MOST_OPEN: Final = 200
"""Orders that may rest in one market, as at large exchanges; exits of what is filled come on top."""

NOTHING_TO_REDUCE: Final = "nothing is open that it could reduce"
PAIR_TRADED: Final = "the other exit of its pair traded"
RAN_OUT: Final = "its time in force ended"


@dataclass(frozen=True, slots=True)
class Ticket:
    """An order that comes to the exchange."""

    order_id: str
    """What the exchange calls it; exits that come with it get `-tp` and `-sl` behind it."""
    client_order_id: ClientOrderId | None
    plan: OrderPlan
    """Its `reference_price` is the caller's business."""


@dataclass(frozen=True, slots=True)
class Execution:
    """One trade."""

    order_id: str
    client_order_id: ClientOrderId | None
    side: Side
    quantity: Decimal
    """Base units."""
    price: Decimal
    fee: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True)
class Step:
    """What one operation made of a book."""

    book: Book
    orders: tuple[Order, ...]
    """Every order that changed, as it stands now; one that was submitted comes first."""
    executions: tuple[Execution, ...]


def submit(
    book: Book, ticket: Ticket, *, price: Decimal | None, at_ms: int, rules: Rules, uniform: Uniform
) -> Step | Unfillable:
    """Take an order: trade it, let it rest, or refuse it and leave the book as it is.

    Args:
        book: The market's.
        ticket: The order.
        price: A new market price, which resting orders meet first; None: it is still the last one.
        at_ms: Now.
        rules: The market's.
        uniform: Dice; not touched unless fills may be partial.
    """
    plan = ticket.plan
    refused = check_order(plan, book.last_price if price is None else price, rules, at_ms)
    if refused is not None:
        return refused
    time_in_force = read_time_in_force(plan)
    if isinstance(time_in_force, Unfillable):
        return time_in_force
    if _trades_alone(book, plan, rules):
        return _trade_alone(book, ticket, time_in_force, price, at_ms, rules)
    run = _Run(book, at_ms, rules, uniform)
    if price is not None:
        run.move_to(price)
    if len(run.book.orders) >= MOST_OPEN and plan.type is not OrderType.MARKET:
        return Unfillable("too_many_orders", f"{MOST_OPEN} orders rest in the market")
    if plan.reduce_only and not reducible(run.book, plan.side):
        return Unfillable("nothing_to_reduce", NOTHING_TO_REDUCE)
    order = Order(
        order_id=ticket.order_id,
        client_order_id=ticket.client_order_id,
        side=plan.side,
        quantity=plan.quantity,
        type=plan.type,
        limit_price=plan.limit_price,
        stop_price=plan.stop_price,
        take_profit=plan.take_profit,
        stop_loss=plan.stop_loss,
        reduce_only=plan.reduce_only,
        time_in_force=time_in_force,
        placed_at_ms=at_ms,
    )
    unfillable = run.take_in(order)
    return run.step(order.order_id) if unfillable is None else unfillable


def tick(book: Book, price: Decimal, *, at_ms: int, rules: Rules, uniform: Uniform) -> Step:
    """Let the market have a new price, which sets off and fills what rests.

    Raises:
        ValueError: It is not above 0, or beyond what sums stay exact with.
    """
    if refused := out_of_range("price", price):
        raise ValueError(refused.detail)
    run = _Run(book, at_ms, rules, uniform)
    run.move_to(price)
    return run.step()


def advance(book: Book, *, at_ms: int, rules: Rules, uniform: Uniform) -> Step:
    """Let time pass: orders run out, and those filled in part meet the last price again.

    Where nothing comes of it, the book is the same object as before.
    """
    if not book.orders:
        return Step(book, (), ())
    run = _Run(book, at_ms, rules, uniform)
    run.meet_market()
    step = run.step()
    return step if step.orders else Step(book, (), ())


def cancel(book: Book, order_ids: Collection[str], *, at_ms: int) -> Step:
    """Take resting orders back by the exchange's ids; those that rest no longer are passed over.

    Exits of what an order has filled are orders of their own: they stay unless they are named.
    """
    run = _Run(book, at_ms, Rules(), _no_dice)
    for order in book.orders:
        if order.order_id in order_ids:
            run.end(order, OrderState.CANCELED)
    return run.step()


def _trades_alone(book: Book, plan: OrderPlan, rules: Rules) -> bool:
    """Tell whether an order is a plain one that touches no other."""
    return (
        plan.type is OrderType.MARKET
        and not book.orders
        and not rules.partial_fills
        and not plan.reduce_only
        and plan.take_profit is None
        and plan.stop_loss is None
    )


def _trade_alone(
    book: Book, ticket: Ticket, time_in_force: TimeInForce, price: Decimal | None, at_ms: int, rules: Rules
) -> Step | Unfillable:
    """Trade such an order in full: nearly all are, and this takes half the time."""
    plan, last_price = ticket.plan, book.last_price if price is None else price
    assert last_price is not None, "checked before"
    at = slip(last_price, plan.side, rules.slippage_bps)
    if isinstance(at, Unfillable):
        return at
    filled = execute(
        on_day(book, at_ms),
        plan.side,
        plan.quantity,
        at,
        fee_bps=rules.fee_bps,
        last_price=last_price,
    )
    order = Order(
        order_id=ticket.order_id,
        client_order_id=ticket.client_order_id,
        side=plan.side,
        quantity=plan.quantity,
        time_in_force=time_in_force,
        placed_at_ms=at_ms,
        state=OrderState.FILLED,
        filled=plan.quantity,
        value=multiply(plan.quantity, at),
        fee=filled.fee,
        parts=1,
    )
    execution = Execution(
        ticket.order_id, ticket.client_order_id, plan.side, plan.quantity, at, filled.fee, at_ms
    )
    return Step(filled.position, (order,), (execution,))


class _Run:
    """One operation under way: the book as far as it has come, and what changed."""

    def __init__(self, book: Book, at_ms: int, rules: Rules, uniform: Uniform) -> None:
        self.book = on_day(book, at_ms)
        self._at_ms = at_ms
        self._rules = rules
        self._uniform = uniform
        self._changed: dict[str, Order] = {}
        self._executions: list[Execution] = []

    def step(self, first: str | None = None) -> Step:
        """Return what came of it, the named order first."""
        orders = list(self._changed.values())
        if first is not None and len(orders) > 1:
            orders.sort(key=lambda order: order.order_id != first)
        return Step(self.book, tuple(orders), tuple(self._executions))

    def move_to(self, price: Decimal) -> None:
        """Let the market have this price."""
        if price != self.book.last_price:
            self.book = replace(self.book, last_price=price)
        self.meet_market()

    def meet_market(self) -> None:
        """Hold everything that rests against the last price, the oldest first."""
        # What comes up on the way, exits of what fills here, waits for the next price.
        for known in self.book.orders:
            order = self.book.order(known.order_id)
            if order is None:
                continue  # ended by one before it
            if self._has_run_out(order):
                self.end(order, OrderState.EXPIRED, RAN_OUT)
            elif order.due_at_ms <= self._at_ms:
                self._try(order, is_arriving=order.type is OrderType.MARKET)

    def take_in(self, order: Order) -> Unfillable | None:
        """Trade an order that arrives, and let the rest of it rest; or refuse it."""
        self._put(order)
        unfillable = self._try(order, is_arriving=True)
        if unfillable is None:
            self._end_at_once(order.order_id)
        return unfillable

    def end(self, order: Order, state: OrderState, detail: str | None = None) -> None:
        """Take an order out of the book."""
        self._put(replace(order, state=state, detail=detail))

    def _try(self, order: Order, *, is_arriving: bool) -> Unfillable | None:
        """Trade what can be traded of an order at the last price."""
        price = self.book.last_price
        rules = self._rules
        if price is None or (rules.is_open is not always_open and not rules.is_open(self._at_ms)):
            return None
        if order.type in STOPS and not order.is_triggered:
            if not reaches_stop(order, price):
                return None
            order, is_arriving = replace(order, is_triggered=True), True
            self._put(order)
        at = trade_price(order, price, is_arriving=is_arriving, slippage_bps=rules.slippage_bps)
        if isinstance(at, Unfillable):
            self.end(order, OrderState.CANCELED, at.detail)
            return at
        if at is not None:
            self._trade(order, at)
        self._end_at_once(order.order_id)
        return None

    def _trade(self, order: Order, price: Decimal) -> None:
        wanted = order.remaining
        if order.reduce_only:
            wanted = min(wanted, reducible(self.book, order.side))
            if not wanted:
                self.end(order, OrderState.CANCELED, NOTHING_TO_REDUCE)
                return
        rules = self._rules
        step = rules.instrument.quantity_step
        quantity = draw_part(wanted, order.quantity, rules.partial_fills, step, self._uniform)
        if order.time_in_force is TimeInForce.FOK and quantity != order.quantity:
            return
        filled = execute(
            self.book, order.side, quantity, price, fee_bps=rules.fee_bps, last_price=self.book.last_price
        )
        self.book = filled.position
        self._executions.append(
            Execution(
                order.order_id,
                order.client_order_id,
                order.side,
                quantity,
                price,
                filled.fee,
                self._at_ms,
            )
        )
        is_whole = quantity == order.remaining
        order = replace(
            order,
            state=OrderState.FILLED if is_whole else OrderState.PARTIAL,
            filled=order.quantity if is_whole else add(order.filled, quantity),
            value=add(order.value, multiply(quantity, price)),
            fee=add(order.fee, filled.fee),
            parts=order.parts + 1,
            due_at_ms=0 if is_whole else self._at_ms + PART_PAUSE_MS,
        )
        self._put(order)
        self._attach_exits(order, quantity)
        if self.book.orders:
            self._lessen_pair(order, quantity)
            self._cancel_idle()

    def _attach_exits(self, entry: Order, quantity: Decimal) -> None:
        """Let exits of what an order has just filled rest."""
        levels = (
            ("tp", OrderType.LIMIT, entry.take_profit),
            ("sl", OrderType.STOP, entry.stop_loss),
        )
        part = "" if entry.parts == 1 else f"-{entry.parts}"
        for name, kind, level in levels:
            if level is None:
                continue
            self._put(
                Order(
                    order_id=f"{entry.order_id}-{name}{part}",
                    side=entry.side.opposite,
                    quantity=quantity,
                    type=kind,
                    limit_price=level if kind is OrderType.LIMIT else None,
                    stop_price=level if kind is OrderType.STOP else None,
                    reduce_only=True,
                    placed_at_ms=self._at_ms,
                    pair_id=f"{entry.order_id}{part}",
                )
            )

    def _lessen_pair(self, traded: Order, quantity: Decimal) -> None:
        """Take from the other exit of a pair what this one has closed."""
        if traded.pair_id is None:
            return
        for other in self.book.orders:
            if other.pair_id == traded.pair_id and other.order_id != traded.order_id:
                if quantity >= other.remaining:
                    self.end(other, OrderState.CANCELED, PAIR_TRADED)
                else:
                    self._put(replace(other, quantity=subtract(other.quantity, quantity)))

    def _cancel_idle(self) -> None:
        """Cancel what may only reduce, where nothing is left for it to reduce."""
        for order in self.book.orders:
            if order.reduce_only and not reducible(self.book, order.side):
                self.end(order, OrderState.CANCELED, NOTHING_TO_REDUCE)

    def _end_at_once(self, order_id: str) -> None:
        """End an order that met the market and may not rest."""
        order = self.book.order(order_id)
        if order is None or order.time_in_force not in AT_ONCE:
            return
        if order.type not in STOPS or order.is_triggered:
            self.end(order, OrderState.EXPIRED, RAN_OUT)

    def _has_run_out(self, order: Order) -> bool:
        if order.time_in_force is not TimeInForce.DAY:
            return False
        rules = self._rules
        is_closed = rules.is_open is not always_open and not rules.is_open(self._at_ms)
        return is_closed or self._at_ms // DAY_MS > order.placed_at_ms // DAY_MS

    def _put(self, order: Order) -> None:
        """Let the book and the answer have an order as it stands now."""
        self._changed[order.order_id] = order
        orders = self.book.orders
        if not order.is_open:
            if any(one.order_id == order.order_id for one in orders):
                kept = tuple(one for one in orders if one.order_id != order.order_id)
                self.book = replace(self.book, orders=kept)
            return
        if any(one.order_id == order.order_id for one in orders):
            orders = tuple(order if one.order_id == order.order_id else one for one in orders)
        else:
            orders = (*orders, order)
        self.book = replace(self.book, orders=orders)


def _no_dice(low: float, high: float) -> float:
    raise AssertionError(f"nothing is left to chance here, asked for {low} to {high}")
