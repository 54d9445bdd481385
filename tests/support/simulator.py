"""A simulated exchange of several markets, in memory: what a server that speaks a venue's language is put around.

It keeps state, but has neither clock nor dice of its own: whoever calls gives the time, and once the dice.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderPlan
from libs.common.domain.venue import Balance
from libs.common.policy import exchange
from libs.common.policy.book import Book, Order
from libs.common.policy.exact import add
from libs.common.policy.exchange import Execution, Step, Ticket
from libs.common.policy.faults import Fault, Faults, Latency
from libs.common.policy.fills import Unfillable
from libs.common.policy.order_checks import Rules
from libs.common.policy.retry import Uniform
from services.worker.brokers.port import Deduplication


@dataclass(frozen=True, slots=True)
class Accepted:
    """The order was taken."""

    order: Order


@dataclass(frozen=True, slots=True)
class Duplicate:
    """The id was used before; nothing was executed."""

    order: Order
    """The first one, as it stands now."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The order was refused for good."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """The request comes to a bad end; the fault says whether the order was accepted."""

    fault: Fault
    retry_after_ms: int | None = None
    """Where it was throttled."""


PlaceAnswer = Accepted | Duplicate | Refused | Faulted


@dataclass(slots=True)
class _Known:
    """An order that was accepted once."""

    market: Market
    order: Order
    visible_at_ms: int


@dataclass(frozen=True, slots=True)
class _Late:
    """An order that is still on its way."""

    market: Market
    client_order_id: ClientOrderId
    plan: OrderPlan
    arrives_at_ms: int
    expires_at_ms: int | None


_ACCEPTED_UNSEEN = frozenset({Fault.TIMEOUT_AFTER, Fault.SERVER_ERROR_AFTER})


class Simulator:
    """One account at an exchange.

    Attributes:
        deduplication: What it does with ids that it has seen; may change at any time, as the others.
        faults: What goes wrong, and how often.
        latency: How long answers take.
        rules: Of every market that has none of its own.
        market_rules: Of single markets.
        executions: Everything that traded, in order.
    """

    def __init__(
        self,
        *,
        uniform: Uniform,
        rules: Rules | None = None,
        market_rules: Mapping[Market, Rules] | None = None,
        deduplication: Deduplication = Deduplication.LIFETIME,
        faults: Faults | None = None,
        latency: Latency | None = None,
        cash: Decimal = Decimal(100_000),
        currency: str = "USDT",
    ) -> None:
        self.deduplication = deduplication
        self.faults = Faults() if faults is None else faults
        self.latency = Latency() if latency is None else latency
        self.rules = Rules() if rules is None else rules
        self.market_rules = dict(market_rules or {})
        self.executions: list[tuple[Market, Execution]] = []
        self._uniform = uniform
        self._cash = cash
        self._currency = currency
        self._books: defaultdict[Market, Book] = defaultdict(Book)
        self._known: dict[str, _Known] = {}
        self._ids: defaultdict[ClientOrderId, list[str]] = defaultdict(list)
        """The exchange's ids of each of ours, oldest first."""
        self._late: list[_Late] = []
        self._forced: deque[Fault] = deque()
        self._number = 0

    def latency_ms(self) -> int:
        """Return how long the next answer takes; the caller waits."""
        return self.latency.draw_ms(self._uniform)

    def fail_next(self, fault: Fault, times: int = 1) -> None:
        """Let this happen to the next orders, before anything that is drawn."""
        self._forced.extend([fault] * times)

    def place(
        self,
        market: Market,
        client_order_id: ClientOrderId,
        plan: OrderPlan,
        *,
        at_ms: int,
        expires_at_ms: int | None = None,
    ) -> PlaceAnswer:
        """Take an order, or do what goes wrong instead.

        Args:
            market: Where.
            client_order_id: The caller's id for it.
            plan: What is asked for.
            at_ms: Now.
            expires_at_ms: From when on the request is refused; None: never.
        """
        self._pass_time(at_ms)
        fault = self._forced.popleft() if self._forced else self.faults.draw(self._uniform)
        match fault:
            case None:
                return self._accept(market, client_order_id, plan, at_ms, expires_at_ms)
            case Fault.REFUSED:
                return Refused("refused", "refused by the dice")
            case Fault.THROTTLED:
                return Faulted(fault, self.faults.retry_after_ms)
            case Fault.LATE_ACCEPT:
                arrives_at_ms = at_ms + self.faults.late_by_ms
                self._late.append(_Late(market, client_order_id, plan, arrives_at_ms, expires_at_ms))
        if fault in _ACCEPTED_UNSEEN:
            self._accept(market, client_order_id, plan, at_ms, expires_at_ms)
        return Faulted(fault)

    def look_up_fault(self) -> Faulted | None:
        """Return what goes wrong with a request that only asks; None: nothing."""
        fault = self.faults.draw_for_look_up(self._uniform)
        if fault is None:
            return None
        return Faulted(fault, self.faults.retry_after_ms if fault is Fault.THROTTLED else None)

    def find(self, client_order_id: ClientOrderId, *, at_ms: int) -> Order | None:
        """Return the newest order of an id of ours, as far as look-ups know it."""
        self._pass_time(at_ms)
        for order_id in reversed(self._ids.get(client_order_id, ())):
            known = self._known[order_id]
            if known.visible_at_ms <= at_ms:
                return known.order
        return None

    def find_by_id(self, order_id: str, *, at_ms: int) -> Order | None:
        """Return an order by the exchange's id, as far as look-ups know it."""
        self._pass_time(at_ms)
        known = self._known.get(order_id)
        return known.order if known is not None and known.visible_at_ms <= at_ms else None

    def market_of(self, order_id: str) -> Market | None:
        """Return where an order was placed."""
        known = self._known.get(order_id)
        return None if known is None else known.market

    def open_orders(self, market: Market | None = None, *, at_ms: int) -> tuple[tuple[Market, Order], ...]:
        """Return what rests, in one market or in all, as far as look-ups know it."""
        self._pass_time(at_ms)
        return tuple(
            (name, order)
            for name, book in self._books.items()
            if market in {None, name}
            for order in book.orders
            if self._known[order.order_id].visible_at_ms <= at_ms
        )

    def cancel(self, market: Market, order_ids: Collection[str], *, at_ms: int) -> tuple[Order, ...]:
        """Take resting orders back and return them; those that rest no longer are passed over."""
        self._pass_time(at_ms)
        return self._keep(market, exchange.cancel(self._books[market], order_ids, at_ms=at_ms), at_ms)

    def price(self, market: Market) -> Decimal | None:
        """Return the last price."""
        return self._books[market].last_price if market in self._books else None

    def set_price(self, market: Market, price: Decimal, *, at_ms: int) -> tuple[Order, ...]:
        """Let a market have a new price, and return the orders that it changed.

        Raises:
            ValueError: The price is out of range.
        """
        self._pass_time(at_ms)
        step = exchange.tick(
            self._books[market], price, at_ms=at_ms, rules=self._rules(market), uniform=self._uniform
        )
        return self._keep(market, step, at_ms)

    def book(self, market: Market, *, at_ms: int) -> Book:
        """Return a market's book."""
        self._pass_time(at_ms)
        return self._books[market] if market in self._books else Book()

    def books(self, *, at_ms: int) -> Mapping[Market, Book]:
        """Return every market's book that anything ever happened to."""
        self._pass_time(at_ms)
        return dict(self._books)

    def balance(self, *, at_ms: int) -> Balance:
        """Return the account's money."""
        self._pass_time(at_ms)
        books = self._books.values()
        return Balance(
            equity=add(self._cash, *(book.worth for book in books)),
            day_pnl=add(*(book.day_pnl(at_ms) for book in books)),
            currency=self._currency,
        )

    def _pass_time(self, at_ms: int) -> None:
        """Let what is late arrive, and orders run out or go on filling."""
        due = [late for late in self._late if late.arrives_at_ms <= at_ms]
        if due:
            self._late = [late for late in self._late if late.arrives_at_ms > at_ms]
        for late in due:
            self._accept(late.market, late.client_order_id, late.plan, late.arrives_at_ms, late.expires_at_ms)
        for market, book in list(self._books.items()):
            if book.orders:
                step = exchange.advance(book, at_ms=at_ms, rules=self._rules(market), uniform=self._uniform)
                self._keep(market, step, at_ms)

    def _accept(
        self,
        market: Market,
        client_order_id: ClientOrderId,
        plan: OrderPlan,
        at_ms: int,
        expires_at_ms: int | None,
    ) -> Accepted | Duplicate | Refused:
        if expires_at_ms is not None and at_ms >= expires_at_ms:
            return Refused("expired", f"expired at {expires_at_ms}, it is {at_ms}")
        if (first := self._first(client_order_id)) is not None:
            return Duplicate(first)
        order_id = str(self._number + 1)
        step = exchange.submit(
            self._books[market],
            Ticket(order_id, client_order_id, plan),
            price=None,
            at_ms=at_ms,
            rules=self._rules(market),
            uniform=self._uniform,
        )
        if isinstance(step, Unfillable):
            return Refused(step.code, step.detail)
        self._number += 1
        self._ids[client_order_id].append(order_id)
        self._keep(market, step, at_ms)
        return Accepted(step.orders[0])

    def _first(self, client_order_id: ClientOrderId) -> Order | None:
        """Return the order that forbids another one of this id."""
        known = [self._known[order_id].order for order_id in self._ids.get(client_order_id, ())]
        match self.deduplication:
            case Deduplication.NONE:
                return None
            case Deduplication.OPEN:
                return next((order for order in known if order.is_open), None)
            case Deduplication.LIFETIME:
                return known[0] if known else None

    def _keep(self, market: Market, step: Step, at_ms: int) -> tuple[Order, ...]:
        self._books[market] = step.book
        self.executions += [(market, execution) for execution in step.executions]
        for order in step.orders:
            known = self._known.get(order.order_id)
            if known is None:
                visible_at_ms = at_ms + self.faults.look_up_lag_ms
                self._known[order.order_id] = _Known(market, order, visible_at_ms)
            else:
                known.order = order
        return step.orders

    def _rules(self, market: Market) -> Rules:
        return self.market_rules.get(market, self.rules)
