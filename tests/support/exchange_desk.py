"""One account at a simulated exchange, whatever language the venue speaks: markets, money, orders, and what was taken."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.venue import Instrument
from libs.common.policy.book import Book, Order
from libs.common.policy.faults import Faults as Lag
from libs.common.policy.matching import LIMITS, reducible
from libs.common.policy.order_checks import Rules
from services.worker.brokers.port import Deduplication
from tests.support.exchange_modes import Conduct, Modes
from tests.support.simulator import Accepted, Duplicate, Faulted, Refused, Simulator

QUOTE: Final = "USDT"
LEVERAGE: Final = 20
"""How much of a swap one unit of money opens."""

PlacedAnswer = Accepted | Duplicate | Refused


class Kind(StrEnum):
    """What is traded."""

    SPOT = "spot"
    SWAP = "swap"


FINE: Final = Instrument(
    quantity_step=Decimal("1e-8"),
    price_step=Decimal("0.0001"),
    min_quantity=Decimal("1e-8"),
    max_quantity=Decimal(9_000_000_000),
    min_value=Decimal("1e-6"),
)
"""The steps of most markets: as fine as both venues have them, so that much can be asked of numbers."""


@dataclass(frozen=True)
class Listing:
    """A market in both kinds: its coin against USDT."""

    base: str
    price: Decimal = Decimal(100)
    instrument: Instrument = FINE

    @property
    def market(self) -> Market:
        """Return what both venues call it."""
        return Market(f"{self.base}{QUOTE}")


COARSE: Final = Listing(
    "XRP",
    Decimal("0.5"),
    Instrument(
        quantity_step=Decimal("0.1"),
        price_step=Decimal("0.0001"),
        min_quantity=Decimal(1),
        max_quantity=Decimal(1_000_000),
        min_value=Decimal(5),
    ),
)
"""A market as they are, where small and fine orders are refused."""

LISTINGS: Final = (*(Listing(base) for base in ("BTC", "ETH", "SOL", *(f"S{n}" for n in range(40)))), COARSE)


@dataclass(frozen=True)
class Ordered:
    """An order as a venue's wire has read it."""

    kind: Kind
    listing: Listing
    client_order_id: ClientOrderId
    plan: OrderPlan
    expires_at_ms: int
    """The last moment at which the book may take it."""


def now_ms() -> int:
    """Return the time that everything is stamped with."""
    return time.time_ns() // 1_000_000


class Desk:
    """The account.

    Args:
        deduplication: What the venue does with ids that it has seen, where the modes say nothing else.
        is_unified: Whether one purse serves both kinds, or each has its own.
        listings: What is traded.
        cash: What each purse starts with.
    """

    def __init__(
        self,
        deduplication: Deduplication,
        *,
        is_unified: bool,
        listings: Iterable[Listing] = LISTINGS,
        cash: Decimal = Decimal(10_000_000_000),
    ) -> None:
        self.modes = Modes()
        self.counts: Counter[str] = Counter()
        self.accepted: list[dict[str, Any]] = []
        self.listings: Mapping[str, Listing] = {each.market: each for each in listings}
        self.is_unified = is_unified
        self._deduplication = deduplication
        self._cash = {Kind.SPOT: cash, Kind.SWAP: Decimal(0) if is_unified else cash}
        self._coins: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._simulators = {
            kind: Simulator(
                uniform=random.Random(0).uniform,
                market_rules={each.market: Rules(instrument=each.instrument) for each in listings},
                deduplication=deduplication,
            )
            for kind in Kind
        }
        for kind in Kind:
            for each in self.listings.values():
                self.set_price(each, each.price, kind)

    # ------------------------------------------------------------------------------------------------------------------
    # Orders
    # ------------------------------------------------------------------------------------------------------------------

    def accept(self, ordered: Ordered) -> PlacedAnswer:
        """Take an order to the book, unless it comes too late, is a second one or cannot be paid."""
        at_ms = now_ms()
        if self.modes.conduct.rechecks_expiry and at_ms > ordered.expires_at_ms:
            self.counts["expired"] += 1
            return Refused("expired", f"expired at {ordered.expires_at_ms}, it is {at_ms}")
        if not self._can_pay(ordered):
            self.counts["unpayable"] += 1
            return Refused("insufficient_balance", "the money does not suffice")
        answer = self._simulators[ordered.kind].place(
            ordered.listing.market, ordered.client_order_id, ordered.plan, at_ms=at_ms
        )
        assert not isinstance(answer, Faulted), "faults are the wire's business"
        self.counts[type(answer).__name__.lower()] += 1
        if isinstance(answer, Accepted):
            self.accepted.append(
                {
                    "client_order_id": ordered.client_order_id,
                    "order_id": answer.order.order_id,
                    "kind": ordered.kind,
                    "symbol": ordered.listing.market,
                    "side": ordered.plan.side,
                    "quantity": format(ordered.plan.quantity, "f"),
                    "accepted_at_ms": at_ms,
                }
            )
        return answer

    def find(
        self, kind: Kind, listing: Listing, *, client_order_id: str | None = None, order_id: str | None = None
    ) -> Order | None:
        """Return an order, as far as questions know it."""
        simulator = self._simulators[kind]
        if order_id is not None:
            found = simulator.find_by_id(order_id, at_ms=now_ms())
        else:
            found = simulator.find(ClientOrderId(client_order_id or ""), at_ms=now_ms())
        is_here = found is not None and simulator.market_of(found.order_id) == listing.market
        return found if is_here else None

    def ended(self, kind: Kind) -> list[tuple[Listing, Order]]:
        """Return the orders that rest no longer, the newest first."""
        found = []
        for line in reversed(self.accepted):
            if line["kind"] != kind:
                continue
            order = self._simulators[kind].find_by_id(line["order_id"], at_ms=now_ms())
            if order is not None and not order.is_open:
                found.append((self.listings[line["symbol"]], order))
        return found

    def resting(self, kind: Kind, listing: Listing | None = None) -> list[tuple[Listing, Order]]:
        """Return what rests, in one market or in all."""
        market = None if listing is None else listing.market
        found = self._simulators[kind].open_orders(market, at_ms=now_ms())
        return [(self.listings[name], order) for name, order in found]

    def cancel(self, kind: Kind, listing: Listing, order: Order) -> Order | None:
        """Cancel a resting order and return it; None where it rests no longer."""
        cancelled = self._simulators[kind].cancel(listing.market, [order.order_id], at_ms=now_ms())
        self.counts["cancelled"] += len(cancelled)
        return cancelled[0] if cancelled else None

    # ------------------------------------------------------------------------------------------------------------------
    # Markets and money
    # ------------------------------------------------------------------------------------------------------------------

    def price(self, kind: Kind, listing: Listing) -> Decimal:
        """Return the last price."""
        price = self._simulators[kind].price(listing.market)
        assert price is not None, "every market starts with one"
        return price

    def book(self, kind: Kind, listing: Listing) -> Book:
        """Return what was traded in a market, and what rests there."""
        return self._simulators[kind].book(listing.market, at_ms=now_ms())

    def books(self, kind: Kind) -> list[tuple[Listing, Book]]:
        """Return every market's book."""
        books = self._simulators[kind].books(at_ms=now_ms())
        return [(self.listings[market], book) for market, book in books.items()]

    def coins(self) -> dict[str, tuple[Decimal, Decimal]]:
        """Return what the spot purse holds besides money: coin -> free, locked in orders."""
        found = {}
        for listing, book in self.books(Kind.SPOT):
            held = self._coins[listing.base] + book.quantity
            locked = sum((each.remaining for each in book.orders if each.side is Side.SELL), Decimal(0))
            if held or listing.base in self._coins:
                found[listing.base] = (held - locked, locked)
        return found

    def cash(self, kind: Kind) -> Decimal:
        """Return the money in a purse: what trading left of it, without what open swaps have won or lost."""
        kinds = tuple(Kind) if self.is_unified else (kind,)
        total = sum((self._cash[each] for each in kinds), Decimal(0))
        for each in kinds:
            for _, book in self.books(each):
                total += book.cash if each is Kind.SPOT else book.realised - book.fees
        return total

    def open_profit(self) -> Decimal:
        """Return what open swaps have won or lost."""
        found = (book.worth - book.realised + book.fees for _, book in self.books(Kind.SWAP))
        return sum(found, Decimal(0))

    def locked_cash(self) -> Decimal:
        """Return the money that resting spot orders need."""
        resting = [order for _, order in self.resting(Kind.SPOT) if order.side is Side.BUY]
        return sum(
            (order.remaining * (order.limit_price or order.stop_price or Decimal(0)) for order in resting),
            Decimal(0),
        )

    def _can_pay(self, ordered: Ordered) -> bool:
        plan, listing = ordered.plan, ordered.listing
        limit = plan.limit_price if plan.type in LIMITS else plan.stop_price
        price = self.price(ordered.kind, listing) if plan.type is OrderType.MARKET or limit is None else limit
        if ordered.kind is Kind.SPOT:
            if plan.side is Side.SELL:
                return self.coins().get(listing.base, (Decimal(0), Decimal(0)))[0] >= plan.quantity
            return self.cash(Kind.SPOT) - self.locked_cash() >= plan.quantity * price
        book = self.book(Kind.SWAP, listing)
        opens = max(plan.quantity - reducible(book, plan.side), Decimal(0))
        return plan.reduce_only or (self.cash(Kind.SWAP) + self.open_profit()) * LEVERAGE >= opens * price

    # ------------------------------------------------------------------------------------------------------------------
    # Behind the scenes
    # ------------------------------------------------------------------------------------------------------------------

    def change(self, wanted: dict[str, Any]) -> None:
        """Change how it behaves: see `Modes.change`."""
        self.modes.change(wanted)
        conduct: Conduct = self.modes.conduct
        for simulator in self._simulators.values():
            simulator.deduplication = conduct.deduplication or self._deduplication
            simulator.faults = Lag(look_up_lag_ms=conduct.look_up_lag_ms)
            for market, rules in simulator.market_rules.items():
                simulator.market_rules[market] = replace(rules, partial_fills=conduct.partial_fills)

    def set_price(self, listing: Listing, price: Decimal, kind: Kind | None = None) -> None:
        """Move the price, which fills what it reaches; of one kind or of both."""
        for each in (kind,) if kind is not None else tuple(Kind):
            self._simulators[each].set_price(listing.market, price, at_ms=now_ms())

    def deposit(self, coin: str, amount: Decimal, kind: Kind = Kind.SPOT) -> None:
        """Put money or coins into a purse; below zero: take them out."""
        if coin == QUOTE:
            self._cash[kind] += amount
        else:
            self._coins[coin] += amount

    def executions(self) -> Counter[str]:
        """Return how many orders it took under each client order id."""
        return Counter(line["client_order_id"] for line in self.accepted)
