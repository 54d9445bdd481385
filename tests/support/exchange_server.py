"""A simulated exchange that speaks Binance's or Bybit's REST, so that a real client library trades there.

`python -m tests.support.exchange_server --wire binance` runs it and prints `{"url", "pid"}` on stdout; `Exchange` is
that process, `LocalExchange` the same in the test's own event loop. It keys, signs and expires requests as the venue
does, deduplicates as it is told, and keeps a ledger of every order that it took; nothing survives its end.
"""

import argparse
import asyncio
import http.client
import json
import os
import signal
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Self
from urllib.parse import urlsplit

import msgspec
import orjson
import uvloop

from services.worker.brokers.port import Deduplication
from tests.support.binance_wire import BinanceWire
from tests.support.bybit_wire import BybitWire
from tests.support.child_server import ModuleServer
from tests.support.exchange_desk import Desk, Kind
from tests.support.exchange_wire import Reply, Wire
from tests.support.venue_book import Arrival
from tests.support.venue_desk import Answer
from tests.support.venue_server import Connection

CONTROL: Final = "/_control"


def make_wire(name: str) -> Wire:
    """Return a wire by name, around a new account."""
    match name:
        case "binance":
            return BinanceWire(Desk(Deduplication.OPEN, is_unified=False))
        case "bybit":
            return BybitWire(Desk(Deduplication.LIFETIME, is_unified=True))
        case _:
            raise ValueError(f"no such wire: {name}")


# ----------------------------------------------------------------------------------------------------------------------
# The server
# ----------------------------------------------------------------------------------------------------------------------


class Front:
    """What connections hand their requests to: the wire, and the control path beside it."""

    secret: bytes | None = None
    """Answers are not signed."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.counts = wire.desk.counts

    def answer_at_once(self, arrival: Arrival) -> Answer | None:
        """Return the answer to a control request; None to any other."""
        path = urlsplit(arrival.target).path
        if not path.startswith(CONTROL):
            return None
        try:
            found = self._control(arrival.method, path.removeprefix(CONTROL).strip("/"), arrival.body)
        except (
            orjson.JSONDecodeError,
            msgspec.ValidationError,
            InvalidOperation,
            KeyError,
            ValueError,
        ) as error:
            return Answer(400, {"detail": repr(error)})
        return Answer(200, found)

    async def answer(self, arrival: Arrival) -> Reply:
        """Return the answer to a request of the venue's own, or DROP."""
        return await self.wire.answer(arrival)

    def _control(self, method: str, name: str, body: bytes) -> Any:
        desk = self.wire.desk
        if method == "GET":
            return {"stats": dict(desk.counts), "ledger": desk.accepted, "executions": desk.executions()}[
                name
            ]
        wanted: dict[str, Any] = orjson.loads(body)
        match name:
            case "":
                desk.change(wanted)
            case "price":
                desk.set_price(desk.listings[wanted["symbol"]], Decimal(wanted["price"]))
            case "deposit":
                desk.deposit(wanted["coin"], Decimal(wanted["amount"]), Kind(wanted["kind"]))
            case _:
                raise KeyError(name)
        return {"ok": True}


class LocalExchange:
    """An exchange in this event loop; use as `async with LocalExchange("binance") as exchange:`."""

    def __init__(self, wire: str) -> None:
        self.wire = make_wire(wire)
        self.desk = self.wire.desk
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        front: Any = Front(self.wire)
        self._server = await loop.create_server(lambda: Connection(front), "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.wire.close()
        self._server.close()

    def control(self, **modes: Any) -> None:
        """Change how it behaves from the next request on: see `Modes.change`."""
        self.desk.change(modes)


async def serve(wire: Wire, port: int) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    front: Any = Front(wire)
    server = await loop.create_server(lambda: Connection(front), "127.0.0.1", port)
    is_over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_over.set)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(json.dumps({"url": url, "pid": os.getpid()}), flush=True)
    await is_over.wait()
    wire.close()
    server.close()


# ----------------------------------------------------------------------------------------------------------------------
# The handle
# ----------------------------------------------------------------------------------------------------------------------


class Exchange(ModuleServer):
    """An exchange in a process of its own; started again, it has forgotten everything.

    Args:
        wire: `binance` or `bybit`.
    """

    def __init__(self, wire: str) -> None:
        super().__init__("exchange", "tests.support.exchange_server")
        self.wire = wire

    def command(self) -> list[str | os.PathLike[str]]:
        """Return what is run."""
        return [*super().command(), "--wire", self.wire]

    def control(self, **modes: Any) -> None:
        """Change how it behaves from the next request on: see `Modes.change`."""
        self._request("POST", "", modes)

    def price(self, symbol: str, price: Decimal) -> None:
        """Move the price of a market, which executes the resting orders that it reaches."""
        self._request("POST", "/price", {"symbol": symbol, "price": price})

    def deposit(self, coin: str, amount: Decimal, kind: Kind = Kind.SPOT) -> None:
        """Put money or coins into a purse; below zero: take them out."""
        self._request("POST", "/deposit", {"coin": coin, "amount": amount, "kind": kind})

    def ledger(self) -> list[dict[str, Any]]:
        """Return every order that it took, in order. The same `client_order_id` twice is two entries."""
        found: list[dict[str, Any]] = self._request("GET", "/ledger")
        return found

    def executions(self) -> Counter[str]:
        """Return how many orders it took under each client order id."""
        return Counter(self._request("GET", "/executions"))

    def stats(self) -> Counter[str]:
        """Return its counters; what never happened is 0."""
        return Counter(self._request("GET", "/stats"))

    def _request(self, method: str, name: str, document: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            body = None if document is None else orjson.dumps(document, default=str)
            connection.request(method, f"{CONTROL}{name}", body)
            answer = connection.getresponse()
            found = json.loads(answer.read())
            assert answer.status == 200, found
            return found
        finally:
            connection.close()


def main() -> None:
    """Run an exchange from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.exchange_server", description=serve.__doc__
    )
    parser.add_argument("--wire", choices=("binance", "bybit"), required=True, help="the language it speaks")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    uvloop.run(serve(make_wire(options.wire), options.port))


if __name__ == "__main__":
    main()
