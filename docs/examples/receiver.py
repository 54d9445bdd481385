# /// script
# requires-python = ">=3.11"
# dependencies = ["starlette", "uvicorn"]
# ///
"""The least that can stand behind `broker: http`. Copy it, and trade where `execute` is.

`DESK_SECRET=... python receiver.py` listens on port 9009 of this machine and keeps its orders in `receiver.db`. It takes
market orders; what it cannot do it refuses, for leaving out a stop would be worse. `docs/http-broker.md` has the whole.
"""

import hashlib
import hmac
import json
import os
import sqlite3
import time
from decimal import Decimal
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

AT_ONCE = {None, "day", "gtc", "ioc", "fok"}


async def execute(_order: dict[str, Any]) -> str:
    """Trade, and return the average price. This one trades nothing, at 100."""
    return "100"


class Receiver:
    """Signed requests in, signed answers out."""

    def __init__(self, secret: str, path: str) -> None:
        self._key = secret.encode()
        self._db = sqlite3.connect(path, isolation_level=None)  # every statement is on disk when it returns
        self._db.execute("CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, symbol, side, answer)")

    async def serve(self, request: Request) -> Response:
        """Answer one request."""
        body = await request.body()
        is_signed = self._is_signed(request, body)
        status, document = (
            await self._answer(request, body) if is_signed else (401, {"code": "bad_signature"})
        )
        encoded = json.dumps(document).encode()
        return Response(encoded, status, {"X-Signature": self._sign(encoded)}, "application/json")

    async def _answer(self, request: Request, body: bytes) -> tuple[int, dict[str, Any]]:
        match request.method, request.scope["path"].removeprefix("/").split("/", 1):
            case "POST", ["orders"]:
                return await self._place(json.loads(body))
            case "GET", ["orders", client_order_id]:
                known = self._find(client_order_id)
                return (200, known) if known else (404, {"code": "not_found"})
            case "GET", ["positions", symbol]:
                return 200, {"quantity": format(self._position(symbol), "f")}
        return 404, {"code": "not_found"}  # the optional addresses too

    async def _place(self, order: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        client_order_id, quantity = order["client_order_id"], Decimal(order["quantity"])
        if known := self._find(client_order_id):
            return 409, known
        if time.time() * 1_000 > order["expires_at_ms"]:
            return 422, {"code": "expired"}
        has_extras = order["take_profit"] is not None or order["stop_loss"] is not None
        if order["type"] != "market" or has_extras or order["time_in_force"] not in AT_ONCE:
            return 422, {"code": "unsupported", "detail": "plain market orders only"}
        position = self._position(order["symbol"])
        if order["reduce_only"] and quantity > (position if order["side"] == "sell" else -position):
            return 422, {"code": "reduce_only", "detail": f"the position is {position}"}
        # Written down before it is traded, with no await since the look: the same id never gets here twice.
        answer = {"order_id": f"r-{client_order_id}", "status": "accepted", "filled_quantity": "0"}
        row = (client_order_id, order["symbol"], order["side"], json.dumps(answer))
        self._db.execute("INSERT INTO orders VALUES (?, ?, ?, ?)", row)
        price = await execute(order)
        answer |= {"status": "filled", "filled_quantity": order["quantity"], "average_price": price}
        self._db.execute("UPDATE orders SET answer = ? WHERE id = ?", (json.dumps(answer), client_order_id))
        return 200, answer

    def _find(self, client_order_id: str) -> dict[str, Any] | None:
        row = self._db.execute("SELECT answer FROM orders WHERE id = ?", (client_order_id,)).fetchone()
        return None if row is None else json.loads(row[0])

    def _position(self, symbol: str) -> Decimal:
        rows = self._db.execute("SELECT side, answer FROM orders WHERE symbol = ?", (symbol,))
        filled = [(side, Decimal(json.loads(answer)["filled_quantity"])) for side, answer in rows]
        return sum((quantity if side == "buy" else -quantity for side, quantity in filled), Decimal(0))

    def _is_signed(self, request: Request, body: bytes) -> bool:
        message = body
        if request.method != "POST":
            query, stamp = request.scope["query_string"], request.headers.get("X-Timestamp", "")
            if not stamp.isdecimal() or abs(time.time() * 1_000 - int(stamp)) > 30_000:
                return False
            target = request.scope["raw_path"] + (b"?" + query if query else b"")
            message = b"\n".join((request.method.encode(), target, stamp.encode()))
        presented = request.headers.get("X-Signature", "").encode()
        return hmac.compare_digest(self._sign(message).encode(), presented)

    def _sign(self, message: bytes) -> str:
        return "sha256=" + hmac.new(self._key, message, hashlib.sha256).hexdigest()


if __name__ == "__main__":
    receiver = Receiver(os.environ["DESK_SECRET"], os.environ.get("RECEIVER_DB", "receiver.db"))
    app = Starlette(routes=[Route("/{path:path}", receiver.serve, methods=["GET", "POST", "DELETE"])])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "9009")), log_level="warning")
