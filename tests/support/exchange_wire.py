"""What the wires of both simulated exchanges have in common: a request comes, goes wrong or not, and is answered."""

import asyncio
import contextlib
import hashlib
import hmac
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Final
from urllib.parse import parse_qsl, urlsplit

import orjson

from libs.common.domain.order import OrderPlan, OrderType
from libs.common.policy.exact import round_down
from tests.support.exchange_desk import Desk, Ordered, PlacedAnswer
from tests.support.exchange_modes import DONE_AFTER_ALL, DROPS, HANGS, Faults, Trouble
from tests.support.venue_book import Arrival
from tests.support.venue_desk import DROP, Answer

API_KEY: Final = "test-exchange-key"
API_SECRET: Final = "test-exchange-secret"

PAGE: Final = b"<html><head><title>nginx</title></head><body>something is wrong here</body></html>"
LONGEST_WINDOW_MS: Final = 60_000
AHEAD_MS: Final = 1_000
"""How far a request's time stamp may be ahead of the exchange's clock."""

Reply = Answer | object
"""An answer, or DROP."""


class Refusal(Exception):
    """What a wire says no with."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.document)
        self.answer = answer


@dataclass(frozen=True)
class Call:
    """One request, read."""

    method: str
    path: str
    query: str
    """As it came."""
    body: str
    headers: dict[str, str]
    fields: dict[str, str]
    """Of the query and of a form or a JSON object; flags are `true` and `false`."""
    at_ms: int

    def has(self, name: str) -> bool:
        """Return whether a field says anything."""
        return self.fields.get(name, "") != ""


def read_call(arrival: Arrival) -> Call:
    """Return a request with its fields.

    Raises:
        ValueError: The body is neither a form nor a JSON object.
    """
    parts = urlsplit(arrival.target)
    body = arrival.body.decode()
    fields = dict(parse_qsl(parts.query, keep_blank_values=True))
    if body.startswith("{"):
        document = orjson.loads(body)
        fields |= {name: _text(value) for name, value in document.items() if value is not None}
    else:
        fields |= dict(parse_qsl(body, keep_blank_values=True))
    at_ms = arrival.received_at_us // 1_000
    return Call(arrival.method, parts.path, parts.query, body, arrival.headers, fields, at_ms)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def signature(secret: str, message: str) -> str:
    """Return the HMAC-SHA256 that both venues want; written apart from the product's own on purpose."""
    return hmac.new(secret.encode(), message.encode(), hashlib.sha256).hexdigest()


def number(text: str) -> Decimal | None:
    """Return a plain number; None where it is none. Neither venue takes exponents."""
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() and "e" not in text.lower() else None


class Wire(ABC):
    """A venue's language around a desk."""

    def __init__(self, desk: Desk, *, key: str = API_KEY, secret: str = API_SECRET) -> None:
        self.desk = desk
        self.key = key
        self.secret = secret
        self._is_over = asyncio.Event()

    def close(self) -> None:
        """Let everything go that hangs."""
        self._is_over.set()

    async def answer(self, arrival: Arrival) -> Reply:
        """Return the answer to any request, or DROP."""
        self.desk.counts["received"] += 1
        try:
            return await self.serve(read_call(arrival))
        except Refusal as refusal:
            return refusal.answer
        except ValueError:
            return Answer(400, raw=PAGE)

    @abstractmethod
    async def serve(self, call: Call) -> Reply:
        """Return the answer to a request.

        Raises:
            Refusal: The answer is no.
        """

    @abstractmethod
    def told(self, call: Call, ordered: Ordered, outcome: PlacedAnswer) -> Answer:
        """Return the answer to an order that came through."""

    @abstractmethod
    def in_trouble(self, trouble: Trouble, faults: Faults) -> Answer:
        """Return what the venue says when this happens; not asked for hangs, drops and garbled answers."""

    async def place(self, call: Call, ordered: Ordered) -> Reply:
        """Take an order, with all that may go wrong with it. Not to be cancelled when its sender hangs up."""
        market = ordered.listing.market
        self.desk.counts["orders"] += 1
        trouble = self.desk.modes.of_order(market)
        faults = self.desk.modes.faults(market)
        await asyncio.sleep(faults.latency_ms / 1_000)
        if trouble is None:
            return self.told(call, ordered, self.desk.accept(ordered))
        self.desk.counts[trouble.value] += 1
        answer: Answer | None = None
        if trouble is Trouble.LATE_ACCEPT:
            await asyncio.sleep(faults.late_by_ms / 1_000)
            self.desk.accept(ordered)
        elif trouble in DONE_AFTER_ALL:
            answer = self.told(call, ordered, self.desk.accept(ordered))
        return await self._end_badly(trouble, faults, answer)

    async def ask(self, market: str | None, make: Callable[[], Answer]) -> Reply:
        """Answer a question."""
        faults = self.desk.modes.faults(market)
        self.desk.counts["questions"] += 1
        await asyncio.sleep(faults.latency_ms / 1_000)
        trouble = self.desk.modes.of_question(market)
        return make() if trouble is None else await self._end_badly(trouble, faults, make())

    async def cancel(self, market: str, make: Callable[[], Answer]) -> Reply:
        """Cancel what `make` cancels."""
        faults = self.desk.modes.faults(market)
        self.desk.counts["cancels"] += 1
        await asyncio.sleep(faults.latency_ms / 1_000)
        if faults.cancelling is None:
            return make()
        answer = make() if faults.cancelling in DONE_AFTER_ALL else None
        return await self._end_badly(faults.cancelling, faults, answer)

    def is_signed(self, message: str, claimed: str) -> bool:
        """Return whether a signature fits."""
        return hmac.compare_digest(signature(self.secret, message).encode(), claimed.encode())

    def spent(self, ordered: Ordered, cost: Decimal) -> Ordered:
        """Return a market order over as much as this money buys."""
        quantity = cost / self.desk.price(ordered.kind, ordered.listing)
        step = ordered.listing.instrument.quantity_step or Decimal("1e-8")
        plan = OrderPlan(side=ordered.plan.side, quantity=round_down(quantity, step), type=OrderType.MARKET)
        return replace(ordered, plan=plan)

    async def _end_badly(self, trouble: Trouble, faults: Faults, answer: Answer | None) -> Reply:
        if trouble in HANGS:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), faults.hang_ms / 1_000)
            return DROP
        if trouble in DROPS:
            return DROP
        if trouble in {Trouble.JUNK, Trouble.JUNK_BEFORE}:
            return Answer(200, raw=PAGE)
        if trouble is Trouble.EMPTY:
            return Answer(200, raw=b"")
        if trouble is Trouble.TRUNCATED:
            assert answer is not None, "a truncated answer is one to something that was done"
            body = orjson.dumps(answer.document)
            return Answer(answer.status, raw=body[: len(body) // 2], announced=len(body))
        return self.in_trouble(trouble, faults)
