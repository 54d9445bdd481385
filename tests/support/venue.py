"""A test venue behind Bascule's `http` wire: it executes whatever arrives, never deduplicates, and keeps a ledger.

An order with a limit or stop price rests until a test says `fill` or moves the `price` there; what it then does not
say of itself (money, steps) it answers with 404 until it is told. A path may begin with a prefix, which stands for a
book of its own (`http://127.0.0.1:1234/desk-a/orders`); positions and orders are kept per prefix and symbol.
"""

import http.client
import json
import os
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from tests.support.child_server import ModuleServer
from tests.support.venue_book import read_lines
from tests.support.venue_desk import DROP, RESOURCES, Answer, Desk, refusal, signature, split
from tests.support.venue_server import Connection

__all__ = ["DROP", "RESOURCES", "Answer", "Connection", "Desk", "Venue", "refusal", "signature", "split"]


class Venue(ModuleServer):
    """A test venue in a process of its own; started again, it remembers everything it had executed.

    Stopped in good order, it never executes the orders whose delay has not passed. Killed, what it has executed is
    in the ledger.

    Args:
        secret: Both sides' signing secret; None leaves requests unchecked.
        directory: Where the ledger is; by default a new one, deleted by `close`.
    """

    def __init__(self, *, secret: str | None = None, directory: Path | None = None) -> None:
        super().__init__("venue", "tests.support.venue_server", directory)
        self.secret = secret

    def command(self) -> list[str | os.PathLike[str]]:
        """Return what is run."""
        return [*super().command(), "--directory", self.directory]

    def environment(self) -> dict[str, str]:
        """Return the variables that it is started with."""
        return {**super().environment(), "VENUE_SECRET": self.secret or ""}

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
