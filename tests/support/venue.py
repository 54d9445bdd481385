"""A test venue behind Bascule's `http` wire: it executes whatever arrives, never deduplicates, and keeps a ledger.

`python -m tests.support.venue --directory DIR` runs it and prints `{"url", "pid", "ledger", "refused"}` on stdout.
Started again on the same directory it remembers what it has executed and what rests.

An order with a limit or stop price rests until a test says `fill` or moves the `price` there; what it then does not
say of itself (money, steps) it answers with 404 until it is told. A path may begin with a prefix, which stands for a
book of its own (`http://127.0.0.1:1234/desk-a/orders`); positions and orders are kept per prefix and symbol.
"""

import argparse
import asyncio
import hashlib
import hmac
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qs, unquote, urlsplit

import httptools
import msgspec
import orjson
import uvloop

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.venue_book import Arrival, Book, Order, read_lines
from tests.support.venue_modes import Faults, Modes

REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
TRUNCATED_BY: Final = 16


# ----------------------------------------------------------------------------------------------------------------------
# The handle
# ----------------------------------------------------------------------------------------------------------------------


class Venue:
    """A test venue in a process of its own.

    Args:
        secret: Both sides' signing secret; None leaves requests unchecked.
        directory: Where the ledger is; by default a new one, deleted by `close`.
    """

    def __init__(self, *, secret: str | None = None, directory: Path | None = None) -> None:
        self.secret = secret
        self.port = free_port()
        self._is_temporary = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="bascule-venue-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self) -> Self:
        """Start it, again too: on the same port, with everything it had executed."""
        arguments = [sys.executable, "-m", "tests.support.venue", "--directory", str(self.directory)]
        arguments += ["--port", str(self.port)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        environment.pop("VENUE_SECRET", None)
        if self.secret is not None:
            environment["VENUE_SECRET"] = self.secret
        ready = self.directory / "ready.json"
        ready.unlink(missing_ok=True)
        with ready.open("wb") as stdout, (self.directory / "venue.log").open("ab") as stderr:
            self._process = spawn(arguments, stdout=stdout, stderr=stderr, environment=environment)
        eventually_sync(self._has_printed, message="the venue listens")
        return self

    def stop(self) -> None:
        """End it in good order; orders whose delay has not passed are never executed."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash would: SIGKILL. What it has executed is in the ledger."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Stop it where it stands; connections stay open."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and delete what it wrote, unless the directory was given."""
        self.stop()
        if self._is_temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def ledger(self) -> list[dict[str, Any]]:
        """Return every execution, in order. The same `client_order_id` twice is two entries."""
        return read_lines(self.directory / "ledger.jsonl")

    def refused(self) -> list[dict[str, Any]]:
        """Return every order refused as expired, in order."""
        return read_lines(self.directory / "refused.jsonl")

    def changes(self) -> list[dict[str, Any]]:
        """Return everything that became of orders after they were placed, in order: fills, cancellations, ends."""
        return read_lines(self.directory / "changes.jsonl")

    def control(self, **modes: Any) -> None:
        """Change how it behaves from the next request on: see `Modes.change` and `Faults`."""
        self._command("", modes)

    def fill(
        self, client_order_id: str, quantity: Decimal | None = None, *, price: Decimal | None = None
    ) -> None:
        """Execute so much of a resting order (None: the rest), at its own price where none is given."""
        self._command("/fill", {"client_order_id": client_order_id, "quantity": quantity, "price": price})

    def end(self, client_order_id: str, status: str = "canceled") -> None:
        """Let a resting order end without our doing: `canceled` or `expired`."""
        self._command("/end", {"client_order_id": client_order_id, "status": status})

    def price(self, symbol: str, price: Decimal) -> None:
        """Move the last price, which executes the resting orders that it reaches, in every book."""
        self._command("/price", {"symbol": symbol, "price": price})

    def tell(
        self,
        *,
        account: Mapping[str, Any] | None = None,
        instruments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Say what it answers about its money and its markets, in every book; None: nothing."""
        self._command("/tell", {"account": account, "instruments": instruments})

    def stats(self) -> dict[str, int]:
        """Return its counters: see `Book.counts`; what never happened is 0."""
        status, answer = self._request("GET", "/control/stats", None)
        assert status == 200, answer
        return Counter(answer)

    def _command(self, name: str, document: Mapping[str, Any]) -> None:
        status, answer = self._request("POST", f"/control{name}", orjson.dumps(document, default=str))
        assert status == 200, answer

    def _request(self, method: str, path: str, body: bytes | None) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def _has_printed(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            log = (self.directory / "venue.log").read_text(errors="replace")
            raise RuntimeError(f"the venue ended at start: {log[-2_000:]}")
        return (self.directory / "ready.json").read_bytes().endswith(b"\n")


# ----------------------------------------------------------------------------------------------------------------------
# The wire
# ----------------------------------------------------------------------------------------------------------------------


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


class Connection(asyncio.Protocol):
    """One connection: requests in order, one at a time, kept alive."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._current: Arrival | None = None
        self._waiting: deque[Arrival] = deque()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._desk.counts["connections"] += 1

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_message_begin(self) -> None:
        self._current = Arrival("", "", time.time_ns() // 1_000)

    def on_url(self, url: bytes) -> None:
        assert self._current is not None
        self._current.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        assert self._current is not None
        self._current.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        assert self._current is not None
        self._current.body += body

    def on_message_complete(self) -> None:
        assert self._current is not None
        self._current.method = self._parser.get_method().decode("ascii")
        self._waiting.append(self._current)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._serve())

    async def _serve(self) -> None:
        while self._waiting:
            arrival = self._waiting.popleft()
            answer = self._desk.answer_at_once(arrival) or await self._desk.answer(arrival)
            self._send(answer)

    def _send(self, answer: Answer | object) -> None:
        if self._transport.is_closing():
            return
        if not isinstance(answer, Answer):
            self._transport.abort()
            return
        body = orjson.dumps(answer.document) if answer.raw is None else answer.raw
        headers = {"Content-Type": "application/json", **answer.headers}
        if self._desk.secret is not None:
            headers["X-Signature"] = signature(self._desk.secret, body)
        announced = len(body) if answer.announced is None else answer.announced
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, '')}\r\n{lines}Content-Length: {announced}\r\n\r\n"
        self._transport.write(head.encode("latin-1") + body)
        if answer.announced is not None:
            self._transport.close()


async def serve(directory: Path, port: int, secret: bytes | None) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    desk = Desk(Book(directory), secret)
    server = await loop.create_server(lambda: Connection(desk), "127.0.0.1", port)
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    ready = {
        "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        "pid": os.getpid(),
        "ledger": str(desk.book.ledger_path),
        "refused": str(desk.book.refused_path),
    }
    print(json.dumps(ready), flush=True)
    await is_over.wait()
    server.close()


def main() -> None:
    """Run a venue from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.venue", description=serve.__doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where the ledger is kept")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    options.directory.mkdir(parents=True, exist_ok=True)
    secret = os.environ.get("VENUE_SECRET")
    uvloop.run(serve(options.directory, options.port, secret.encode() if secret else None))


if __name__ == "__main__":
    main()
