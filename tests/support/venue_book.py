"""What a test venue has executed and what rests at it: in memory, and in files that a second start reads again."""

import os
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson

from tests.support.venue_modes import Faults, Modes

FILLED: Final = frozenset({"filled", "partial", "partially_filled"})
RESTING: Final = frozenset({"accepted", "new", "open", "partial", "partially_filled"})


@dataclass
class Arrival:
    """One request as it came."""

    method: str
    target: str
    received_at_us: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    book: str = ""


class Order(msgspec.Struct, kw_only=True):
    """The body of `POST /orders`, as far as the venue needs it. Unknown keys are let through."""

    client_order_id: str
    symbol: str
    side: str
    quantity: str
    type: str = "market"
    account: str | None = None
    alert_id: str | None = None
    strategy: str | None = None
    limit_price: str | None = None
    stop_price: str | None = None
    reduce_only: bool = False
    expires_at_ms: int


@dataclass
class Placed:
    """One order as the venue has it."""

    order: dict[str, Any]
    """As it was ordered."""
    book: str
    order_id: str
    executed_at_ms: int
    status: str
    filled: Decimal = Decimal(0)
    average: Decimal | None = None
    is_triggered: bool = False
    """Whether the price has touched its stop."""

    @property
    def client_order_id(self) -> str:
        return str(self.order["client_order_id"])

    @property
    def symbol(self) -> str:
        return str(self.order["symbol"])

    @property
    def quantity(self) -> Decimal:
        return Decimal(self.order["quantity"])

    @property
    def rest(self) -> Decimal:
        return self.quantity - self.filled

    @property
    def is_resting(self) -> bool:
        return self.status in RESTING

    def fill(self, quantity: Decimal, price: Decimal) -> None:
        if self.average is not None and self.average != price:
            price = (self.average * self.filled + price * quantity) / (self.filled + quantity)
        self.average = price
        self.filled += quantity

    def answer(self) -> dict[str, Any]:
        """Return what the venue answers to its placing and to a look-up."""
        return {
            "order_id": self.order_id,
            "client_order_id": self.client_order_id,
            "status": self.status,
            "filled_quantity": format(self.filled, "f"),
            "average_price": None if self.average is None else format(self.average, "f"),
        }

    def listed(self) -> dict[str, Any]:
        """Return its entry in the list of open orders."""
        fields = ("symbol", "side", "type", "quantity", "limit_price", "stop_price")
        return {**self.answer(), **{name: self.order[name] for name in fields}}

    def price_at(self, last: Decimal) -> Decimal | None:
        """Return the price at which it executes while the market is at `last`; None where it goes on resting."""
        is_buy = self.order["side"] == "buy"
        stop, limit = self.order["stop_price"], self.order["limit_price"]
        if stop is not None and not self.is_triggered:
            self.is_triggered = last >= Decimal(stop) if is_buy else last <= Decimal(stop)
            if not self.is_triggered:
                return None
        if limit is None:
            return last
        is_met = last <= Decimal(limit) if is_buy else last >= Decimal(limit)
        return Decimal(limit) if is_met else None


class Book:
    """Every order and position, by the book that the path names."""

    def __init__(self, directory: Path) -> None:
        self.ledger_path = directory / "ledger.jsonl"
        self.refused_path = directory / "refused.jsonl"
        changes_path = directory / "changes.jsonl"
        self.counts: Counter[str] = Counter()
        self._orders: dict[str, Placed] = {}
        self._by_client_id: dict[str, Placed] = {}
        self._resting: dict[str, Placed] = {}
        self._positions: dict[tuple[str, str], Decimal] = {}
        self._prices: dict[str, Decimal] = {}
        self._sequence = 0
        for entry in read_lines(self.ledger_path):
            self._remember(entry)
        for change in read_lines(changes_path):
            self._apply(change)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._ledger = os.open(self.ledger_path, flags, 0o600)
        self._refused = os.open(self.refused_path, flags, 0o600)
        self._changes = os.open(changes_path, flags, 0o600)

    def execute(self, order: Order, arrival: Arrival, faults: Faults) -> dict[str, Any] | None:
        """Execute an order and return its answer; None if it has expired. Nothing is ever deduplicated."""
        now_ms = time.time_ns() // 1_000_000
        entry: dict[str, Any] = {
            "seq": self._sequence + 1,
            "received_at_ms": arrival.received_at_us // 1_000,
            "received_at_us": arrival.received_at_us,
            "executed_at_ms": now_ms,
            "client_order_id": order.client_order_id,
            "alert_id": order.alert_id,
            "account": order.account,
            "symbol": order.symbol,
            "strategy": order.strategy,
            "side": order.side,
            "type": order.type,
            "quantity": order.quantity,
            "limit_price": order.limit_price,
            "stop_price": order.stop_price,
            "reduce_only": order.reduce_only,
            "expires_at_ms": order.expires_at_ms,
            "idempotency_key": arrival.headers.get("idempotency-key"),
            "traceparent": arrival.headers.get("traceparent"),
            "book": arrival.book,
        }
        if now_ms >= order.expires_at_ms:
            os.write(self._refused, orjson.dumps({**entry, "seq": None}) + b"\n")
            self.counts["refused_expired"] += 1
            return None
        is_priced = order.limit_price is not None or order.stop_price is not None or order.type != "market"
        status = faults.order_status or ("accepted" if is_priced else "filled")
        filled = Decimal(order.quantity) * Decimal(faults.fill) if status in FILLED else Decimal(0)
        entry["answer"] = {
            "order_id": f"v-{self._sequence + 1}",
            "client_order_id": order.client_order_id,
            "status": status,
            "filled_quantity": format(filled, "f"),
            "average_price": (order.limit_price or faults.price) if filled else None,
        }
        os.write(self._ledger, orjson.dumps(entry) + b"\n")
        self._remember(entry)
        self.counts["executed"] += 1
        return dict(entry["answer"])

    def fill(self, client_order_id: str, quantity: Decimal | None, price: Decimal | None) -> bool:
        """Execute so much of a resting order (None: the rest), at its own price where none is given."""
        placed = self._by_client_id.get(client_order_id)
        if placed is None or not placed.is_resting:
            return False
        quantity = placed.rest if quantity is None else min(quantity, placed.rest)
        if price is None:
            own = placed.order["limit_price"] or placed.order["stop_price"]
            price = Decimal(own) if own is not None else self._prices[placed.symbol]
        self._change(placed, "filled" if quantity == placed.rest else "partial", quantity, price)
        return True

    def end(self, client_order_id: str, status: str) -> bool:
        """Let a resting order end by itself: `canceled` or `expired`."""
        placed = self._by_client_id.get(client_order_id)
        if placed is None or not placed.is_resting:
            return False
        self._change(placed, status)
        return True

    def move(self, symbol: str, price: Decimal) -> None:
        """Set the last price, and execute what it reaches, in order of arrival."""
        self._prices[symbol] = price
        for placed in [order for order in self._resting.values() if order.symbol == symbol]:
            executes_at = placed.price_at(price)
            if executes_at is not None:
                self._change(placed, "filled", placed.rest, executes_at)

    def cancel(self, book: str, symbol: str, order_ids: Collection[str]) -> list[str]:
        """Cancel these orders, as far as they rest in this market, and return their ids."""
        found = [
            order for order in self.resting(book) if order.symbol == symbol and order.order_id in order_ids
        ]
        for placed in found:
            self._change(placed, "canceled")
        self.counts["cancelled"] += len(found)
        return [placed.order_id for placed in found]

    def resting(self, book: str) -> list[Placed]:
        """Return what rests, oldest first."""
        return [placed for placed in self._resting.values() if placed.book == book]

    def find(self, client_order_id: str, modes: Modes) -> tuple[Faults, dict[str, Any] | None]:
        """Return an executed order's answer once a look-up may see it, and the faults for its symbol."""
        placed = self._by_client_id.get(client_order_id)
        if placed is None:
            return modes.of_lookup(None), None
        faults = modes.of_lookup(placed.symbol)
        is_visible = time.time_ns() // 1_000_000 >= placed.executed_at_ms + faults.lookup_lag_ms
        return faults, placed.answer() if is_visible else None

    def position(self, book: str, symbol: str) -> Decimal:
        """Return the net quantity, signed."""
        return self._positions.get((book, symbol), Decimal(0))

    def price(self, symbol: str) -> Decimal | None:
        """Return the price it was last moved to or executed at; None where there was none."""
        return self._prices.get(symbol)

    def _remember(self, entry: dict[str, Any]) -> None:
        answer = entry["answer"]
        self._sequence = entry["seq"]
        placed = Placed(entry, entry["book"], answer["order_id"], entry["executed_at_ms"], answer["status"])
        self._orders[placed.order_id] = self._by_client_id[placed.client_order_id] = placed
        if placed.is_resting:
            self._resting[placed.order_id] = placed
        if answer["average_price"] is not None:
            self._fill(placed, Decimal(answer["filled_quantity"]), Decimal(answer["average_price"]))

    def _change(
        self, placed: Placed, status: str, quantity: Decimal = Decimal(0), price: Decimal | None = None
    ) -> None:
        change = {
            "at_ms": time.time_ns() // 1_000_000,
            "order_id": placed.order_id,
            "client_order_id": placed.client_order_id,
            "status": status,
            "quantity": format(quantity, "f"),
            "price": None if price is None else format(price, "f"),
        }
        os.write(self._changes, orjson.dumps(change) + b"\n")
        self._apply(change)

    def _apply(self, change: dict[str, Any]) -> None:
        placed = self._orders[change["order_id"]]
        placed.status = change["status"]
        if not placed.is_resting:
            self._resting.pop(placed.order_id, None)
        if change["price"] is not None:
            self._fill(placed, Decimal(change["quantity"]), Decimal(change["price"]))

    def _fill(self, placed: Placed, quantity: Decimal, price: Decimal) -> None:
        placed.fill(quantity, price)
        self._prices[placed.symbol] = price
        signed = quantity if placed.order["side"] == "buy" else -quantity
        place = (placed.book, placed.symbol)
        self._positions[place] = self._positions.get(place, Decimal(0)) + signed


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the documents of a file that may still be written."""
    if not path.exists():
        return []
    # A line that is being written has no end yet.
    return [
        orjson.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    ]
