"""A venue that costs next to nothing: fills every order in full and notes when its request came.

`python -m benchmarks.venue --port N`. The tests' venue (`tests/support/venue.py`) can do much more, writes a ledger
to disk, and takes three times as long for an order.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import uvloop

from benchmarks.http_server import Request, ask, serve
from tests.support.child_server import ModuleServer


@dataclass(frozen=True)
class Arrival:
    """One order that reached the venue in time."""

    at_us: int
    """Since the epoch."""
    alert_id: str
    symbol: str
    answered_us: int
    """When its answer left; 0 while it has not."""


class BenchVenue(ModuleServer):
    """Such a venue in a process of its own."""

    def __init__(self) -> None:
        super().__init__("bench-venue", "benchmarks.venue")

    def answer_after(self, delay_ms: int) -> None:
        """Answer orders so long after they came; they are executed at once."""
        ask(self.port, "POST", "/control", {"delay_ms": delay_ms})

    def forget(self) -> None:
        """Forget what came so far."""
        ask(self.port, "POST", "/control", {"forget": True})

    def executed(self) -> int:
        """Return how many orders came."""
        count: int = ask(self.port, "GET", "/count")
        return count

    def arrivals(self) -> list[Arrival]:
        """Return all orders that came, in the order of their coming."""
        return [Arrival(*entry) for entry in ask(self.port, "GET", "/arrivals")]


class _Order(msgspec.Struct):
    client_order_id: str
    symbol: str
    quantity: str
    alert_id: str
    expires_at_ms: int


class _Desk:
    def __init__(self) -> None:
        self._delay_s = 0.0
        self._arrivals: list[list[Any]] = []
        self._answers: dict[str, bytes] = {}
        self._decode = msgspec.json.Decoder(_Order).decode

    def handle(self, request: Request) -> None:
        match request.method, request.target.strip("/").split("/"):
            case "POST", ["orders"]:
                self._place(request)
            case "GET", ["orders", client_order_id]:
                answer = self._answers.get(client_order_id)
                request.answer(404) if answer is None else request.answer(200, answer)
            case "POST", ["control"]:
                self._control(orjson.loads(request.body))
                request.answer(200)
            case "GET", ["count"]:
                request.answer(200, orjson.dumps(len(self._arrivals)))
            case "GET", ["arrivals"]:
                request.answer(200, orjson.dumps(self._arrivals))
            case _:
                # What is optional, we do not have.
                request.answer(404, b'{"code":"not_found"}')

    def _place(self, request: Request) -> None:
        order = self._decode(request.body)
        if time.time_ns() // 1_000_000 >= order.expires_at_ms:
            request.answer(422, b'{"code":"expired"}')
            return
        entry = [request.arrived_ns // 1_000, order.alert_id, order.symbol, 0]
        self._arrivals.append(entry)
        answer = self._answers[order.client_order_id] = (
            b'{"order_id":"v-%d","status":"filled","filled_quantity":"%s","average_price":"100"}'
            % (len(self._arrivals), order.quantity.encode())
        )
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, _answer, request, answer, entry)
        else:
            _answer(request, answer, entry)

    def _control(self, wanted: dict[str, Any]) -> None:
        self._delay_s = wanted.get("delay_ms", self._delay_s * 1_000) / 1_000
        if wanted.get("forget"):
            self._arrivals.clear()


def _answer(request: Request, answer: bytes, entry: list[Any]) -> None:
    request.answer(201, answer)
    entry[3] = time.time_ns() // 1_000


def main() -> None:
    """Take orders until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.venue", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(serve(_Desk().handle, parser.parse_args().port))


if __name__ == "__main__":
    main()
