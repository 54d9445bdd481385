"""A simulated exchange in the language of Binance's REST: spot (`/api/v3`) and USD-M futures (`/fapi`).

Source:
    Binance's public documentation of both, and what ccxt sends and reads.
"""

import re
from decimal import Decimal
from typing import Final, NoReturn

import orjson

from libs.common.domain.ids import ClientOrderId
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.book import Order
from tests.support.binance_words import (
    REFUSALS,
    TIMES,
    TYPES,
    brackets,
    exchange_info,
    fills,
    futures_account,
    order_document,
    positions,
    spot_account,
    ticker,
    trouble_answer,
)
from tests.support.exchange_desk import Kind, Listing, Ordered, PlacedAnswer, now_ms
from tests.support.exchange_modes import Faults, Trouble
from tests.support.exchange_wire import AHEAD_MS, LONGEST_WINDOW_MS, PAGE, Call, Refusal, Reply, Wire, number
from tests.support.simulator import Accepted, Duplicate
from tests.support.venue_desk import Answer

WINDOW_MS: Final = 5_000
"""The `recvWindow` of a request that names none."""

PREFIXES: Final = {
    "/api/v3/": Kind.SPOT,
    "/fapi/v1/": Kind.SWAP,
    "/fapi/v2/": Kind.SWAP,
    "/fapi/v3/": Kind.SWAP,
}
CLIENT_ID: Final = re.compile(r"[\.A-Z\:/a-z0-9_-]{1,36}")
LEGAL_ID: Final = "^[\\.A-Z\\:/a-z0-9_-]{1,36}$"

NEEDED: Final = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("timeInForce", "quantity", "price"),
    OrderType.STOP: ("quantity", "stopPrice"),
    OrderType.STOP_LIMIT: ("timeInForce", "quantity", "price", "stopPrice"),
}


def refuse(code: int, message: str, status: int = 400) -> NoReturn:
    """Say no in Binance's form."""
    raise Refusal(Answer(status, {"code": code, "msg": message}))


class BinanceWire(Wire):
    """Speaks Binance."""

    async def serve(self, call: Call) -> Reply:
        """Return the answer to a request."""
        for prefix, kind in PREFIXES.items():
            if call.path.startswith(prefix):
                return await self._serve(call, kind, call.path.removeprefix(prefix))
        return Answer(404, raw=PAGE)

    async def _serve(self, call: Call, kind: Kind, name: str) -> Reply:
        match call.method, name:
            case "GET", "ping":
                return Answer(200, {})
            case "GET", "time":
                return Answer(200, {"serverTime": now_ms()})
            case "GET", "exchangeInfo":
                return Answer(200, exchange_info(self.desk, kind))
            case "GET", "ticker/24hr" | "ticker/price":
                return await self.ask(call.fields.get("symbol"), lambda: self._tickers(call, kind))
        expires_at_ms = self._check(call)
        match call.method, name:
            case "POST", "order":
                return await self.place(call, self._read_order(call, kind, expires_at_ms))
            case "GET", "order":
                listing = self._listing(call)
                return await self.ask(listing.market, lambda: self._find(call, kind, listing))
            case "DELETE", "order":
                listing = self._listing(call)
                return await self.cancel(listing.market, lambda: self._cancel(call, kind, listing))
            case "GET", "openOrders":
                one = self._listing(call) if call.has("symbol") else None
                market = None if one is None else one.market
                return await self.ask(market, lambda: self._resting(kind, one))
            case "GET", "account":
                account = spot_account if kind is Kind.SPOT else futures_account
                return await self.ask(None, lambda: Answer(200, account(self.desk)))
            case "GET", "balance" if kind is Kind.SWAP:
                return await self.ask(None, lambda: Answer(200, futures_account(self.desk)["assets"]))
            case "GET", "positionRisk" if kind is Kind.SWAP:
                one = self._listing(call) if call.has("symbol") else None
                is_all = "/v3/" not in call.path
                return await self.ask(None, lambda: Answer(200, positions(self.desk, one, is_all=is_all)))
            case "GET", "leverageBracket" if kind is Kind.SWAP:
                return await self.ask(None, lambda: Answer(200, brackets(self.desk)))
            case "GET", "positionSide/dual" if kind is Kind.SWAP:
                return await self.ask(None, lambda: Answer(200, {"dualSidePosition": False}))
        return Answer(404, raw=PAGE)

    # ------------------------------------------------------------------------------------------------------------------
    # Who asks
    # ------------------------------------------------------------------------------------------------------------------

    def _check(self, call: Call) -> int:
        """Return when the request expires, if it is signed and in time."""
        key = call.headers.get("x-mbx-apikey")
        if key is None:
            refuse(-2014, "API-key format invalid.", 401)
        if key != self.key:
            self.desk.counts["bad_key"] += 1
            refuse(-2015, "Invalid API-key, IP, or permissions for action.", 401)
        for name in ("timestamp", "signature"):
            if not call.has(name):
                self._miss(name)
        signed = "".join(part for part in (call.query, call.body) if part)
        message, _, claimed = signed.rpartition("&signature=")
        if not self.is_signed(message, claimed):
            self.desk.counts["bad_signature"] += 1
            refuse(-1022, "Signature for this request is not valid.")
        timestamp, window = (
            number(call.fields["timestamp"]),
            number(call.fields.get("recvWindow", str(WINDOW_MS))),
        )
        if timestamp is None or window is None or window < 0:
            refuse(-1100, "Illegal characters found in a parameter.")
        if window > LONGEST_WINDOW_MS:
            refuse(-1131, f"recvWindow must be less than {LONGEST_WINDOW_MS}.")
        if timestamp >= call.at_ms + AHEAD_MS:
            self.desk.counts["ahead"] += 1
            refuse(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
        if call.at_ms - timestamp > window:
            self.desk.counts["expired"] += 1
            refuse(*REFUSALS["expired"][0])
        return int(timestamp + window)

    def _miss(self, name: str) -> NoReturn:
        refuse(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")

    def _listing(self, call: Call) -> Listing:
        if not call.has("symbol"):
            self._miss("symbol")
        listing = self.desk.listings.get(call.fields["symbol"])
        if listing is None:
            refuse(-1121, "Invalid symbol.")
        return listing

    # ------------------------------------------------------------------------------------------------------------------
    # Orders
    # ------------------------------------------------------------------------------------------------------------------

    def _read_order(self, call: Call, kind: Kind, expires_at_ms: int) -> Ordered:
        fields = call.fields
        listing = self._listing(call)
        for name in ("side", "type"):
            if not call.has(name):
                self._miss(name)
        if fields["side"] not in {"BUY", "SELL"}:
            refuse(-1117, "Invalid side.")
        type_ = TYPES[kind].get(fields["type"])
        if type_ is None:
            if kind is Kind.SWAP and "STOP" in fields["type"]:
                refuse(
                    -4120,
                    "Order type not supported for this endpoint. Please use the Algo Order API endpoints instead.",
                )
            refuse(-1116, "Invalid orderType.")
        for name in NEEDED[type_]:
            if not call.has(name):
                self._miss(name)
        numbers = {
            name: self._number(call, name) for name in ("quantity", "price", "stopPrice", "quoteOrderQty")
        }
        if type_ is OrderType.MARKET:
            for name in ("price", "timeInForce"):
                if call.has(name):
                    refuse(-1106, f"Parameter '{name}' sent when not required.")
            if numbers["quantity"] is None and (numbers["quoteOrderQty"] is None or kind is Kind.SWAP):
                self._miss("quantity")
        if call.has("timeInForce") and fields["timeInForce"] not in TIMES:
            refuse(-1115, "Invalid timeInForce.")
        if call.has("reduceOnly") and kind is Kind.SPOT:
            refuse(-1104, "Not all sent parameters were read; read '9' parameter(s) but was sent '10'.")
        client_id = fields.get("newClientOrderId") or f"web_{self.desk.counts['orders']}"
        if CLIENT_ID.fullmatch(client_id) is None:
            refuse(
                -1100 if kind is Kind.SPOT else -4015,
                f"Illegal characters found in parameter 'newClientOrderId'; legal range is '{LEGAL_ID}'.",
            )
        plan = OrderPlan(
            side=Side(fields["side"].lower()),
            quantity=numbers["quantity"] or Decimal(0),
            type=type_,
            limit_price=numbers["price"],
            stop_price=numbers["stopPrice"],
            reduce_only=fields.get("reduceOnly") == "true",
            time_in_force=TIMES[fields["timeInForce"]] if call.has("timeInForce") else None,
        )
        ordered = Ordered(kind, listing, ClientOrderId(client_id), plan, expires_at_ms)
        cost = numbers["quoteOrderQty"]
        return ordered if cost is None else self.spent(ordered, cost)

    def _number(self, call: Call, name: str) -> Decimal | None:
        if not call.has(name):
            return None
        found = number(call.fields[name])
        if found is None or found < 0:
            refuse(
                -1100,
                f"Illegal characters found in parameter '{name}'; legal range is '^([0-9]{{1,20}})(\\.[0-9]{{1,20}})?$'.",
            )
        if found == 0:
            refuse(-1013, f"Invalid {name}.")
        return found

    def told(self, call: Call, ordered: Ordered, outcome: PlacedAnswer) -> Answer:
        """Return the answer to an order that came through."""
        is_spot = ordered.kind is Kind.SPOT
        if isinstance(outcome, Duplicate):
            code, message = (
                (-2010, "Duplicate order sent.") if is_spot else (-4116, "ClientOrderId is duplicated.")
            )
            return Answer(400, {"code": code, "msg": message})
        if not isinstance(outcome, Accepted):
            known = REFUSALS.get(outcome.code)
            code, message = (
                (-1013, f"Filter failure: {outcome.code.upper()}") if known is None else known[not is_spot]
            )
            return Answer(400, {"code": code, "msg": message})
        document = order_document(ordered.kind, ordered.listing, outcome.order)
        if not is_spot:
            return Answer(200, document)
        kind_of_answer = call.fields.get("newOrderRespType", "FULL")
        at_ms = document.pop("time")
        document["transactTime"] = at_ms
        if kind_of_answer == "ACK":
            names = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
            document = {name: document[name] for name in names}
        elif kind_of_answer == "FULL":
            document["fills"] = fills(outcome.order)
        return Answer(200, document)

    def _named(self, call: Call, kind: Kind, listing: Listing) -> Order | None:
        if not call.has("orderId") and not call.has("origClientOrderId"):
            refuse(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        if call.has("orderId"):
            return self.desk.find(kind, listing, order_id=call.fields["orderId"])
        return self.desk.find(kind, listing, client_order_id=call.fields["origClientOrderId"])

    def _find(self, call: Call, kind: Kind, listing: Listing) -> Answer:
        self.desk.counts["lookups"] += 1
        found = self._named(call, kind, listing)
        if found is None:
            refuse(-2013, "Order does not exist.")
        self.desk.counts["found"] += 1
        return Answer(200, order_document(kind, listing, found))

    def _cancel(self, call: Call, kind: Kind, listing: Listing) -> Answer:
        found = self._named(call, kind, listing)
        ended = None if found is None else self.desk.cancel(kind, listing, found)
        if ended is None:
            refuse(-2011, "Unknown order sent.")
        document = order_document(kind, listing, ended)
        if kind is Kind.SPOT:
            # A cancellation is named by an id of its own.
            document |= {
                "origClientOrderId": ended.client_order_id,
                "clientOrderId": f"cancel_{ended.order_id}",
            }
        return Answer(200, document)

    def _resting(self, kind: Kind, listing: Listing | None) -> Answer:
        return Answer(200, [order_document(kind, *found) for found in self.desk.resting(kind, listing)])

    # ------------------------------------------------------------------------------------------------------------------
    # Markets and money
    # ------------------------------------------------------------------------------------------------------------------

    def _tickers(self, call: Call, kind: Kind) -> Answer:
        if call.has("symbol"):
            return Answer(200, ticker(self.desk, kind, self._listing(call)))
        wanted = orjson.loads(call.fields["symbols"]) if call.has("symbols") else list(self.desk.listings)
        if not set(wanted) <= set(self.desk.listings):
            refuse(-1121, "Invalid symbol.")
        return Answer(200, [ticker(self.desk, kind, self.desk.listings[each]) for each in wanted])

    # ------------------------------------------------------------------------------------------------------------------
    # Troubles
    # ------------------------------------------------------------------------------------------------------------------

    def in_trouble(self, trouble: Trouble, faults: Faults) -> Answer:
        """Return what Binance says when this happens."""
        return trouble_answer(trouble, faults)
