"""What the test venue answers: everything but the bytes."""

import asyncio
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import orjson

from tests.support.venue_book import Arrival, Book, Order
from tests.support.venue_modes import Faults, Modes

TRUNCATED_BY: Final = 16

RESOURCES: Final = frozenset({"orders", "positions", "prices", "account", "instruments", "control"})


def split(arrival: Arrival) -> list[str]:
    """Return the decoded parts of the path from the first known one on; what is before names the book."""
    parts = [unquote(part) for part in urlsplit(arrival.target).path.split("/") if part]
    for index, part in enumerate(parts):
        if part in RESOURCES:
            arrival.book = "/".join(parts[:index])
            return parts[index:]
    return parts


_decode_order: Final = msgspec.json.Decoder(Order).decode

DROP: Final = object()
"""In place of an answer: close the connection."""


@dataclass(frozen=True)
class Answer:
    """A status and a document; `raw` and `announced` bend the body for the garbage modes."""

    status: int
    document: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    announced: int | None = None


def refusal(status: int, code: str, detail: str, **headers: str) -> Answer:
    """Return an answer that says no."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"code": code, "detail": detail}, named)


class Desk:
    """Takes requests and answers them: everything but the bytes."""

    def __init__(self, book: Book, secret: bytes | None) -> None:
        self.book = book
        self.modes = Modes()
        self.secret = secret
        self.counts = book.counts
        self.in_flight = 0
        self._account: dict[str, Any] | None = None
        self._instruments: dict[str, dict[str, Any]] | None = None

    def answer_at_once(self, arrival: Arrival) -> Answer | object | None:
        """Return the answer to what needs no waiting; None if it must go through `answer`."""
        parts = split(arrival)
        if parts[:1] == ["control"]:
            return self._control(arrival, parts)
        return None

    async def answer(self, arrival: Arrival) -> Answer | object:
        """Return the answer, or DROP. Not to be cancelled when the sender hangs up: the order executes all the same."""
        self.counts["received"] += 1
        self.in_flight += 1
        self.counts["max_in_flight"] = max(self.counts["max_in_flight"], self.in_flight)
        try:
            if not self._is_signed(arrival):
                self.counts["bad_signature"] += 1
                return refusal(401, "bad_signature", "X-Signature does not fit")
            match arrival.method, split(arrival):
                case "POST", ["orders"]:
                    return await self._place(arrival)
                case "GET", ["orders", client_order_id]:
                    return await self._find(client_order_id)
                case "DELETE", ["orders"]:
                    return await self._cancel(arrival)
                case "GET", parts:
                    return await self._tell(arrival, parts)
                case _:
                    return refusal(404, "not_found", "no such resource")
        finally:
            self.in_flight -= 1

    async def _place(self, arrival: Arrival) -> Answer | object:
        try:
            order = _decode_order(arrival.body)
            if order.side not in {"buy", "sell"} or not Decimal(order.quantity) > 0:
                raise ValueError("side or quantity")
        except (msgspec.DecodeError, ValueError, InvalidOperation) as error:
            self.counts["malformed"] += 1
            return refusal(400, "malformed", str(error))
        faults, strikes = self.modes.of_order(order.symbol), self.modes.strikes
        if faults.delay_before_ms:
            await asyncio.sleep(faults.delay_before_ms / 1_000)
        if strikes(faults.drop_before):
            self.counts["dropped_before"] += 1
            return DROP
        has_status = faults.status != 0 and strikes(faults.status_rate)
        if has_status and not faults.status_executes:
            self.counts[f"status_{faults.status}"] += 1
            return self._status(faults, faults.status)
        if faults.reject and strikes(faults.reject_rate):
            self.counts["rejected"] += 1
            return refusal(422, faults.reject, "as the test asked for")
        executed = self.book.execute(order, arrival, faults)
        if executed is None:
            return refusal(422, "expired", f"expires_at_ms {order.expires_at_ms} has passed")
        if faults.delay_ms:
            await asyncio.sleep(faults.delay_ms / 1_000)
        if has_status:
            self.counts[f"status_{faults.status}"] += 1
            return self._status(faults, faults.status)
        if strikes(faults.drop_after):
            self.counts["dropped_after"] += 1
            return DROP
        if faults.garbage and strikes(faults.garbage_rate):
            self.counts["garbage"] += 1
            return _garbage(faults.garbage, executed)
        return Answer(201, executed)

    async def _find(self, client_order_id: str) -> Answer | object:
        self.counts["lookups"] += 1
        faults, found = self.book.find(client_order_id, self.modes)
        if faults.lookup_delay_ms:
            await asyncio.sleep(faults.lookup_delay_ms / 1_000)
        if self.modes.strikes(faults.lookup_drop):
            return DROP
        if faults.lookup_status:
            return refusal(faults.lookup_status, "as_asked", "as the test asked for")
        if found is None:
            return refusal(404, "not_found", f"no order {client_order_id}")
        self.counts["found"] += 1
        return Answer(200, found)

    async def _cancel(self, arrival: Arrival) -> Answer | object:
        self.counts["cancels"] += 1
        query = parse_qs(urlsplit(arrival.target).query)
        symbol, order_ids = query.get("symbol", [""])[0], query.get("order_id", [])
        faults = self.modes.of_lookup(symbol)
        if not order_ids:
            return refusal(400, "malformed", "no order_id: this venue never cancels all")
        if faults.cancel_status and not faults.cancel_executes:
            return self._status(faults, faults.cancel_status)
        cancelled = self.book.cancel(arrival.book, symbol, order_ids)
        if self.modes.strikes(faults.cancel_drop):
            return DROP
        if faults.cancel_status:
            return self._status(faults, faults.cancel_status)
        return Answer(200, {"cancelled": cancelled})

    async def _tell(self, arrival: Arrival, parts: list[str]) -> Answer | object:
        self.counts[parts[0] if parts else ""] += 1
        faults = self.modes.of_lookup(parts[1] if len(parts) == 2 else None)
        if faults.facts_delay_ms:
            await asyncio.sleep(faults.facts_delay_ms / 1_000)
        if self.modes.strikes(faults.facts_drop):
            return DROP
        if faults.facts_status:
            return self._status(faults, faults.facts_status)
        document: Any = None
        match parts:
            case ["orders"]:
                wanted = parse_qs(urlsplit(arrival.target).query).get("symbol")
                resting = self.book.resting(arrival.book)
                document = [order.listed() for order in resting if wanted is None or order.symbol in wanted]
            case ["positions", symbol]:
                document = {"quantity": format(self.book.position(arrival.book, symbol), "f")}
            case ["prices", symbol]:
                price = self.book.price(symbol)
                document = None if price is None else {"price": format(price, "f")}
            case ["account"]:
                document = self._account
            case ["instruments"]:
                document = None if self._instruments is None else {"symbols": list(self._instruments)}
            case ["instruments", symbol]:
                document = (self._instruments or {}).get(symbol)
        return refusal(404, "not_found", "no such resource") if document is None else Answer(200, document)

    def _control(self, arrival: Arrival, parts: list[str]) -> Answer:
        if arrival.method == "GET" and parts == ["control", "stats"]:
            return Answer(200, {**self.counts, "in_flight": self.in_flight})
        try:
            is_done = self._command(parts[1:], orjson.loads(arrival.body))
        except (orjson.JSONDecodeError, msgspec.ValidationError, InvalidOperation, KeyError) as error:
            return refusal(400, "malformed", repr(error))
        return Answer(200, {"ok": True}) if is_done else refusal(404, "not_found", "no such resting order")

    def _command(self, names: list[str], wanted: dict[str, Any]) -> bool:
        match names:
            case []:
                self.modes.change(wanted)
            case ["fill"]:
                quantity, price = _decimal(wanted["quantity"]), _decimal(wanted["price"])
                return self.book.fill(wanted["client_order_id"], quantity, price)
            case ["end"]:
                return self.book.end(wanted["client_order_id"], wanted["status"])
            case ["price"]:
                self.book.move(wanted["symbol"], Decimal(wanted["price"]))
            case ["tell"]:
                self._account, self._instruments = wanted["account"], wanted["instruments"]
            case _:
                return False
        return True

    def _status(self, faults: Faults, status: int) -> Answer:
        headers = {"Retry-After": faults.retry_after_s} if faults.retry_after_s else {}
        if status not in {429, 503}:
            headers = {}
        return refusal(status, "as_asked", "as the test asked for", **headers)

    def _is_signed(self, arrival: Arrival) -> bool:
        if self.secret is None:
            return True
        message = arrival.body
        if arrival.method in {"GET", "DELETE"}:
            message = f"{arrival.method}\n{arrival.target}\n{arrival.headers.get('x-timestamp', '')}".encode()
        return hmac.compare_digest(signature(self.secret, message), arrival.headers.get("x-signature", ""))


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def signature(secret: bytes, message: bytes) -> str:
    """Return what `X-Signature` must say; written apart from the product's own on purpose."""
    return f"sha256={hmac.new(secret, message, hashlib.sha256).hexdigest()}"


def _garbage(kind: str, executed: dict[str, Any]) -> Answer:
    body = orjson.dumps(executed)
    match kind:
        case "no_order_id":
            return Answer(200, {key: value for key, value in executed.items() if key != "order_id"})
        case "truncated":
            return Answer(200, raw=body[:TRUNCATED_BY], announced=len(body))
        case "not_json":
            return Answer(200, raw=b"<html>all is well</html>")
        case _:
            return Answer(200, raw=b"")
