"""A simulated exchange in the language of Bybit's REST, version 5, with a unified account: spot and linear swaps.

Source:
    Bybit's public documentation, and what ccxt sends and reads.
"""

import re
from decimal import Decimal
from typing import Any, Final, NoReturn

from libs.common.domain.alert import TimeInForce
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.book import Order
from tests.support.bybit_words import (
    REFUSALS,
    STOPS,
    UNNAMED,
    coin_document,
    ids,
    linear_instrument,
    no,
    order_document,
    plain,
    position_document,
    spot_instrument,
    trouble_answer,
    yes,
)
from tests.support.exchange_desk import QUOTE, Kind, Listing, Ordered, PlacedAnswer, now_ms
from tests.support.exchange_modes import Faults, Trouble
from tests.support.exchange_wire import AHEAD_MS, LONGEST_WINDOW_MS, PAGE, Call, Refusal, Reply, Wire, number
from tests.support.simulator import Accepted, Duplicate
from tests.support.venue_desk import Answer

CATEGORIES: Final = {"spot": Kind.SPOT, "linear": Kind.SWAP}
LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
TIMES: Final = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
SOME_RECENT: Final = 500


def refuse(code: int, message: str) -> NoReturn:
    """Say no."""
    raise Refusal(no(code, message))


def refuse_as(word: str, kind: Kind) -> NoReturn:
    """Say no for a reason in the table."""
    refuse(*REFUSALS[word][kind is Kind.SWAP])


class BybitWire(Wire):
    """Speaks Bybit."""

    async def serve(self, call: Call) -> Reply:
        """Return the answer to a request."""
        match call.method, call.path:
            case "GET", "/v5/market/time":
                return yes({"timeSecond": str(now_ms() // 1_000), "timeNano": str(now_ms() * 1_000_000)})
            case "GET", "/v5/market/instruments-info":
                return yes(self._instruments(call))
            case "GET", "/v5/market/tickers":
                return await self.ask(call.fields.get("symbol"), lambda: yes(self._tickers(call)))
        expires_at_ms = self._check(call)
        match call.method, call.path:
            case "POST", "/v5/order/create":
                return await self.place(call, self._read_order(call, expires_at_ms))
            case "POST", "/v5/order/cancel":
                listing = self._listing(call, self._kind(call))
                return await self.cancel(listing.market, lambda: self._cancel(call, listing))
            case "GET", "/v5/order/realtime":
                return await self.ask(call.fields.get("symbol"), lambda: self._realtime(call))
            case "GET", "/v5/order/history":
                return await self.ask(call.fields.get("symbol"), lambda: self._history(call))
            case "GET", "/v5/position/list":
                return await self.ask(call.fields.get("symbol"), lambda: self._positions(call))
            case "GET", "/v5/account/wallet-balance":
                return await self.ask(None, lambda: self._wallet(call))
            case "GET", "/v5/user/query-api":
                return await self.ask(None, lambda: yes({"uta": 1, "unified": 0, "readOnly": 0, "userID": 1}))
            case "GET", "/v5/account/info":
                result = {
                    "unifiedMarginStatus": 6,
                    "marginMode": "REGULAR_MARGIN",
                    "spotHedgingStatus": "OFF",
                }
                return await self.ask(None, lambda: yes(result))
        return Answer(404, raw=PAGE)

    # ------------------------------------------------------------------------------------------------------------------
    # Who asks
    # ------------------------------------------------------------------------------------------------------------------

    def _check(self, call: Call) -> int:
        """Return when the request expires, if it is signed and in time."""
        key, stamp = call.headers.get("x-bapi-api-key", ""), call.headers.get("x-bapi-timestamp", "")
        window_text = call.headers.get("x-bapi-recv-window", "5000")
        if key != self.key:
            self.desk.counts["bad_key"] += 1
            refuse(10003, "API key is invalid.")
        timestamp, window = number(stamp), number(window_text)
        if timestamp is None or window is None or not 0 <= window <= LONGEST_WINDOW_MS:
            refuse(10001, "request parameter error: X-BAPI-TIMESTAMP or X-BAPI-RECV-WINDOW")
        claimed = call.headers.get("x-bapi-sign", "")
        message = stamp + key + window_text + (call.query if call.method == "GET" else call.body)
        if not self.is_signed(message, claimed):
            self.desk.counts["bad_signature"] += 1
            refuse(10004, f"error sign! origin_string[{message}]")
        if not call.at_ms - window <= timestamp < call.at_ms + AHEAD_MS:
            self.desk.counts["expired"] += 1
            refuse(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{stamp}],server_timestamp[{call.at_ms}],recv_window[{window_text}]",
            )
        return int(timestamp + window)

    def _kind(self, call: Call) -> Kind:
        kind = CATEGORIES.get(call.fields.get("category", ""))
        if kind is None:
            refuse(10001, "Illegal category")
        return kind

    def _listing(self, call: Call, kind: Kind) -> Listing:
        listing = self.desk.listings.get(call.fields.get("symbol", ""))
        if listing is None:
            refuse(*((170121, "Invalid symbol.") if kind is Kind.SPOT else (10001, "symbol invalid")))
        return listing

    # ------------------------------------------------------------------------------------------------------------------
    # Orders
    # ------------------------------------------------------------------------------------------------------------------

    def _read_order(self, call: Call, expires_at_ms: int) -> Ordered:
        fields, kind = call.fields, self._kind(call)
        listing = self._listing(call, kind)
        if fields.get("side") not in {"Buy", "Sell"}:
            refuse(10001, "Side invalid")
        if fields.get("orderType") not in {"Market", "Limit"}:
            refuse(10001, "OrderType invalid")
        if fields.get("timeInForce", "GTC") not in TIMES:
            refuse(10001, "TimeInForce invalid")
        link_id = fields.get("orderLinkId") or f"{UNNAMED}{self.desk.counts['orders']}"
        if call.has("orderLinkId") and LINK_ID.fullmatch(link_id) is None:
            refuse(10001, "OrderLinkId invalid")
        is_market, is_stop = fields["orderType"] == "Market", call.has("triggerPrice")
        side = Side(fields["side"].lower())
        if is_stop:
            self._check_trigger(call, kind, side)
        type_ = {
            (True, False): OrderType.MARKET,
            (False, False): OrderType.LIMIT,
            (True, True): OrderType.STOP,
            (False, True): OrderType.STOP_LIMIT,
        }[is_market, is_stop]
        quantity, price = self._number(call, "qty"), self._number(call, "price")
        if quantity is None or (price is None and not is_market):
            refuse(10001, "Qty invalid" if quantity is None else "Price invalid")
        if kind is Kind.SPOT and call.fields.get("reduceOnly") == "true":
            refuse(10001, "reduceOnly is not supported.")
        plan = OrderPlan(
            side=side,
            quantity=quantity,
            type=type_,
            # A market order's price is let through and not looked at.
            limit_price=None if is_market else price,
            stop_price=self._number(call, "triggerPrice"),
            take_profit=self._number(call, "takeProfit"),
            stop_loss=self._number(call, "stopLoss"),
            reduce_only=fields.get("reduceOnly") == "true",
            # A market order is IOC whatever it says; here the rest of a part goes on.
            time_in_force=None if is_market else TIMES[fields.get("timeInForce", "GTC")],
        )
        ordered = Ordered(kind, listing, ClientOrderId(link_id), plan, expires_at_ms)
        is_cost = kind is Kind.SPOT and type_ is OrderType.MARKET and side is Side.BUY
        if is_cost and fields.get("marketUnit") != "baseCoin":
            return self.spent(ordered, quantity)
        return ordered

    def _check_trigger(self, call: Call, kind: Kind, side: Side) -> None:
        """Refuse what the exchange behind does not know: triggers that the price reaches from the other side."""
        if kind is Kind.SPOT:
            if call.fields.get("orderFilter") not in {"StopOrder", "tpslOrder"}:
                refuse(10001, "OrderFilter invalid")
        elif call.fields.get("triggerDirection") != ("1" if side is Side.BUY else "2"):
            refuse(10001, "TriggerDirection invalid")

    def _number(self, call: Call, name: str) -> Decimal | None:
        if not call.has(name):
            return None
        found = number(call.fields[name])
        if found is None or found < 0:
            refuse(10001, f"{name} invalid")
        return found or None

    def told(self, call: Call, ordered: Ordered, outcome: PlacedAnswer) -> Answer:
        """Return the answer to an order that came through: its ids, and nothing of what became of it."""
        is_swap = ordered.kind is Kind.SWAP
        if isinstance(outcome, Duplicate):
            return no(*REFUSALS["duplicate"][is_swap])
        if not isinstance(outcome, Accepted):
            known = REFUSALS.get(outcome.code)
            return no(
                *(known[is_swap] if known is not None else (10001, f"{outcome.code}: {outcome.detail}"))
            )
        return yes(ids(outcome.order))

    def _cancel(self, call: Call, listing: Listing) -> Answer:
        kind = self._kind(call)
        if not call.has("orderId") and not call.has("orderLinkId"):
            refuse(10001, "orderId and orderLinkId cannot both be empty")
        found = self._named(call, kind, listing)
        if found is not None and kind is Kind.SPOT:
            is_stop = found.type in STOPS and not found.is_triggered
            if call.fields.get("orderFilter", "Order") != ("StopOrder" if is_stop else "Order"):
                found = None
        ended = None if found is None else self.desk.cancel(kind, listing, found)
        if ended is None:
            refuse_as("unknown_order", kind)
        return yes(ids(ended))

    def _named(self, call: Call, kind: Kind, listing: Listing) -> Order | None:
        if call.has("orderId"):
            return self.desk.find(kind, listing, order_id=call.fields["orderId"])
        return self.desk.find(kind, listing, client_order_id=call.fields["orderLinkId"])

    def _realtime(self, call: Call) -> Answer:
        """Return what rests; one order by its id however it stands; the last ended ones where asked for."""
        kind = self._kind(call)
        one = self._listing(call, kind) if call.has("symbol") else None
        if call.has("orderId") or call.has("orderLinkId"):
            return self._one(call, kind, one)
        if kind is Kind.SWAP and one is None and not call.has("settleCoin") and not call.has("baseCoin"):
            refuse(10001, "Missing some parameters that must be filled in, symbol or settleCoin or baseCoin")
        if call.fields.get("openOnly", "0") != "0":
            return self._ended(kind, one, SOME_RECENT)
        return self._list(kind, self.desk.resting(kind, one))

    def _history(self, call: Call) -> Answer:
        """Return orders that have ended."""
        kind = self._kind(call)
        one = self._listing(call, kind) if call.has("symbol") else None
        if call.has("orderId") or call.has("orderLinkId"):
            return self._one(call, kind, one, is_ended=True)
        return self._ended(kind, one, int(call.fields.get("limit", "20")))

    def _one(self, call: Call, kind: Kind, one: Listing | None, *, is_ended: bool = False) -> Answer:
        self.desk.counts["lookups"] += 1
        for listing in self.desk.listings.values() if one is None else (one,):
            found = self._named(call, kind, listing)
            if found is not None and not (is_ended and found.is_open):
                self.desk.counts["found"] += 1
                return self._list(kind, [(listing, found)])
        return self._list(kind, [])

    def _ended(self, kind: Kind, one: Listing | None, most: int) -> Answer:
        found = [pair for pair in self.desk.ended(kind) if one in {None, pair[0]}]
        return self._list(kind, found[:most])

    def _list(self, kind: Kind, found: list[tuple[Listing, Order]]) -> Answer:
        orders = [order_document(listing, order) for listing, order in found]
        category = "spot" if kind is Kind.SPOT else "linear"
        return yes({"category": category, "nextPageCursor": "", "list": orders})

    # ------------------------------------------------------------------------------------------------------------------
    # Markets and money
    # ------------------------------------------------------------------------------------------------------------------

    def _instruments(self, call: Call) -> dict[str, Any]:
        kind = self._kind(call)
        make = spot_instrument if kind is Kind.SPOT else linear_instrument
        listings = list(self.desk.listings.values())
        if call.has("symbol"):
            listings = [self._listing(call, kind)]
        if call.fields.get("status", "Trading") != "Trading":
            listings = []
        found = [make(listing) for listing in listings]
        return {"category": call.fields["category"], "nextPageCursor": "", "list": found}

    def _tickers(self, call: Call) -> dict[str, Any]:
        kind = self._kind(call)
        listings = [self._listing(call, kind)] if call.has("symbol") else self.desk.listings.values()
        found = []
        for listing in listings:
            price = plain(self.desk.price(kind, listing))
            found.append(
                {
                    "symbol": listing.market,
                    "lastPrice": price,
                    "markPrice": price,
                    "indexPrice": price,
                    "bid1Price": price,
                    "bid1Size": "1",
                    "ask1Price": price,
                    "ask1Size": "1",
                    "prevPrice24h": price,
                    "highPrice24h": price,
                    "lowPrice24h": price,
                    "price24hPcnt": "0",
                    "turnover24h": "100000",
                    "volume24h": "1000",
                }
            )
        return {"category": call.fields["category"], "list": found}

    def _positions(self, call: Call) -> Answer:
        kind = self._kind(call)
        if kind is Kind.SPOT:
            refuse(10001, "Illegal category")
        if call.has("symbol"):
            listing = self._listing(call, kind)
            found = [position_document(listing, self.desk.book(kind, listing))]
        elif call.has("settleCoin"):
            found = [position_document(*pair) for pair in self.desk.books(kind) if pair[1].quantity]
        else:
            refuse(10001, "Missing some parameters that must be filled in, symbol or settleCoin")
        return yes({"category": "linear", "nextPageCursor": "", "list": found})

    def _wallet(self, call: Call) -> Answer:
        if call.fields.get("accountType") != "UNIFIED":
            refuse(10001, "accountType only support UNIFIED.")
        cash, profit, locked = self.desk.cash(Kind.SPOT), self.desk.open_profit(), self.desk.locked_cash()
        coins = [coin_document(QUOTE, cash, locked, profit, Decimal(1))]
        worth = cash + profit
        for name, (free, used) in self.desk.coins().items():
            price = self.desk.price(Kind.SPOT, self.desk.listings[f"{name}{QUOTE}"])
            coins.append(coin_document(name, free + used, used, Decimal(0), price))
            worth += (free + used) * price
        account = {
            "accountType": "UNIFIED",
            "totalEquity": plain(worth),
            "totalWalletBalance": plain(worth - profit),
            "totalMarginBalance": plain(worth),
            "totalAvailableBalance": plain(worth - locked),
            "totalPerpUPL": plain(profit),
            "totalInitialMargin": "0",
            "totalMaintenanceMargin": "0",
            "coin": coins,
        }
        return yes({"list": [account]})

    # ------------------------------------------------------------------------------------------------------------------
    # Troubles
    # ------------------------------------------------------------------------------------------------------------------

    def in_trouble(self, trouble: Trouble, faults: Faults) -> Answer:
        """Return what Bybit says when this happens."""
        return trouble_answer(trouble, faults)
