"""A simulated exchange in the language of Bybit's REST, version 5, with a unified account: spot and linear swaps.

Source:
    Bybit's public documentation, and what ccxt sends and reads.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NoReturn

from libs.common.domain.alert import TimeInForce
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.book import Book, Order
from libs.common.policy.simulator import Accepted, Duplicate
from tests.support.exchange_desk import QUOTE, Kind, Listing, Ordered, PlacedAnswer, now_ms
from tests.support.exchange_modes import Faults, Trouble
from tests.support.exchange_wire import (
    AHEAD_MS,
    LONGEST_WINDOW_MS,
    PAGE,
    Call,
    Refusal,
    Reply,
    Wire,
    is_signature,
    number,
    spent,
)
from tests.support.venue import Answer

CATEGORIES: Final = {"spot": Kind.SPOT, "linear": Kind.SWAP}
LINK_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,36}")
UNNAMED: Final = "~"
"""What the ids of orders without one begin with, inside; the venue shows none."""

TIMES: Final = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
STATES: Final = {
    OrderState.ACCEPTED: "New",
    OrderState.PARTIAL: "PartiallyFilled",
    OrderState.FILLED: "Filled",
    OrderState.CANCELED: "Cancelled",
    OrderState.EXPIRED: "Cancelled",
}
STOPS: Final = {OrderType.STOP: "Market", OrderType.STOP_LIMIT: "Limit"}
SOME_RECENT: Final = 500

REFUSALS: Final[dict[str, tuple[tuple[int, str], tuple[int, str]]]] = {
    "expired": (
        (10002, "invalid request, please check your server timestamp or recv_window param."),
        (10002, "invalid request, please check your server timestamp or recv_window param."),
    ),
    "insufficient_balance": ((170131, "Insufficient balance."), (110007, "ab not enough for new order")),
    "lot_size": ((170137, "Order volume decimal too long."), (10001, "Qty invalid")),
    "min_quantity": ((170136, "Order quantity is lower than the minimum."), (10001, "Qty invalid")),
    "max_quantity": (
        (170135, "Order quantity too large."),
        (10001, "The number of contracts exceeds maximum limit allowed"),
    ),
    "tick_size": ((170134, "Order price decimal too long."), (10001, "Price invalid")),
    "min_value": (
        (170140, "Order value exceeded lower limit."),
        (110094, "Order does not meet minimum order value 5USDT"),
    ),
    "market_closed": ((170116, "Market closed."), (110074, "This contract is not live.")),
    "nothing_to_reduce": (
        (10001, "reduceOnly is not supported."),
        (110017, "current position is zero, cannot fix reduce-only order qty"),
    ),
    "unknown_order": ((170213, "Order does not exist."), (110001, "order not exists or too late to cancel")),
    "duplicate": ((170141, "Duplicate clientOrderId"), (110072, "OrderLinkedID is duplicate")),
}
"""By the exchange's own word: of spot, of swaps. What is not here is 10001 and the word."""


def no(code: int, message: str, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer that says no, in Bybit's form: with status 200."""
    document = {"retCode": code, "retMsg": message, "result": {}, "retExtInfo": {}, "time": now_ms()}
    return Answer(status, document, headers or {})


def yes(result: dict[str, Any]) -> Answer:
    """Return an answer that says yes."""
    return Answer(200, {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": now_ms()})


def refuse(code: int, message: str) -> NoReturn:
    """Say no."""
    raise Refusal(no(code, message))


def refuse_as(word: str, kind: Kind) -> NoReturn:
    """Say no for a reason in the table."""
    refuse(*REFUSALS[word][kind is Kind.SWAP])


def plain(value: Decimal | None) -> str:
    """Return a number as Bybit writes it: no exponent, no zeros at the end, empty for none."""
    return "" if value is None else format(value.normalize(), "f")


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
        if not is_signature(self.secret, message, claimed):
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
            return spent(ordered, self.desk.price(kind, listing), quantity)
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
        return yes(_ids(outcome.order))

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
        return yes(_ids(ended))

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
        orders = [self._order(listing, order) for listing, order in found]
        category = "spot" if kind is Kind.SPOT else "linear"
        return yes({"category": category, "nextPageCursor": "", "list": orders})

    def _order(self, listing: Listing, order: Order) -> dict[str, Any]:
        is_waiting = order.type in STOPS and order.is_open and not order.is_triggered
        is_market = order.type in {OrderType.MARKET, OrderType.STOP}
        state = STATES[order.state]
        if state == "Cancelled" and order.filled:
            state = "PartiallyFilledCanceled"
        return {
            **_ids(order),
            "symbol": listing.market,
            "side": order.side.capitalize(),
            "orderType": "Market" if is_market else "Limit",
            "orderStatus": "Untriggered" if is_waiting else state,
            "stopOrderType": "Stop" if order.type in STOPS else "",
            "price": plain(order.limit_price) or "0",
            "qty": plain(order.quantity),
            "leavesQty": plain(order.remaining) if order.is_open else "0",
            "leavesValue": "0",
            "cumExecQty": plain(order.filled),
            "cumExecValue": plain(order.value),
            "cumExecFee": plain(order.fee),
            "cumFeeDetail": {QUOTE: plain(order.fee)} if order.parts else {},
            "avgPrice": plain(order.average_price),
            "timeInForce": "IOC" if is_market else order.time_in_force.upper(),
            "triggerPrice": plain(order.stop_price),
            "triggerDirection": (1 if order.side is Side.BUY else 2) if order.type in STOPS else 0,
            "takeProfit": plain(order.take_profit),
            "stopLoss": plain(order.stop_loss),
            "tpslMode": "",
            "reduceOnly": order.reduce_only,
            "closeOnTrigger": False,
            "marketUnit": "baseCoin" if is_market else "",
            "positionIdx": 0,
            "cancelType": "CancelByUser" if order.state is OrderState.CANCELED else "UNKNOWN",
            "rejectReason": "EC_NoError",
            "createdTime": str(order.placed_at_ms),
            "updatedTime": str(order.placed_at_ms),
        }

    # ------------------------------------------------------------------------------------------------------------------
    # Markets and money
    # ------------------------------------------------------------------------------------------------------------------

    def _instruments(self, call: Call) -> dict[str, Any]:
        kind = self._kind(call)
        make = self._spot_instrument if kind is Kind.SPOT else self._linear_instrument
        listings = list(self.desk.listings.values())
        if call.has("symbol"):
            listings = [self._listing(call, kind)]
        if call.fields.get("status", "Trading") != "Trading":
            listings = []
        found = [make(listing) for listing in listings]
        return {"category": call.fields["category"], "nextPageCursor": "", "list": found}

    def _spot_instrument(self, listing: Listing) -> dict[str, Any]:
        rules = listing.instrument
        return {
            "symbol": listing.market,
            "baseCoin": listing.base,
            "quoteCoin": QUOTE,
            "innovation": "0",
            "status": "Trading",
            "marginTrading": "none",
            "lotSizeFilter": {
                "basePrecision": plain(rules.quantity_step),
                "quotePrecision": "0.00000001",
                "minOrderQty": plain(rules.min_quantity),
                "maxOrderQty": plain(rules.max_quantity),
                "maxLimitOrderQty": plain(rules.max_quantity),
                "maxMarketOrderQty": plain(rules.max_quantity),
                "minOrderAmt": plain(rules.min_value),
                "maxOrderAmt": "9000000000000",
            },
            "priceFilter": {"tickSize": plain(rules.price_step)},
        }

    def _linear_instrument(self, listing: Listing) -> dict[str, Any]:
        rules = listing.instrument
        return {
            "symbol": listing.market,
            "contractType": "LinearPerpetual",
            "status": "Trading",
            "baseCoin": listing.base,
            "quoteCoin": QUOTE,
            "settleCoin": QUOTE,
            "launchTime": "1585526400000",
            "deliveryTime": "0",
            "deliveryFeeRate": "",
            "priceScale": "4",
            "leverageFilter": {"minLeverage": "1", "maxLeverage": "100.00", "leverageStep": "0.01"},
            "priceFilter": {
                "minPrice": plain(rules.price_step),
                "maxPrice": "1000000",
                "tickSize": plain(rules.price_step),
            },
            "lotSizeFilter": {
                "minNotionalValue": plain(rules.min_value),
                "maxOrderQty": plain(rules.max_quantity),
                "maxMktOrderQty": plain(rules.max_quantity),
                "minOrderQty": plain(rules.min_quantity),
                "qtyStep": plain(rules.quantity_step),
                "postOnlyMaxOrderQty": plain(rules.max_quantity),
            },
            "unifiedMarginTrade": True,
            "fundingInterval": 480,
            "copyTrading": "none",
            "isPreListing": False,
        }

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
            found = [self._position(listing, self.desk.book(kind, listing))]
        elif call.has("settleCoin"):
            found = [self._position(*pair) for pair in self.desk.books(kind) if pair[1].quantity]
        else:
            refuse(10001, "Missing some parameters that must be filled in, symbol or settleCoin")
        return yes({"category": "linear", "nextPageCursor": "", "list": found})

    def _position(self, listing: Listing, book: Book) -> dict[str, Any]:
        size, mark = abs(book.quantity), book.last_price or Decimal(0)
        side = "" if not size else "Buy" if book.quantity > 0 else "Sell"
        return {
            "positionIdx": 0,
            "symbol": listing.market,
            "side": side,
            "size": plain(size),
            "avgPrice": plain(book.average_price or Decimal(0)),
            "positionValue": plain(abs(book.cost)) if size else "",
            "markPrice": plain(mark),
            "unrealisedPnl": plain(book.worth - book.realised + book.fees),
            "cumRealisedPnl": plain(book.realised - book.fees),
            "leverage": "20",
            "liqPrice": "",
            "positionStatus": "Normal",
            "tradeMode": 0,
            "createdTime": "0",
            "updatedTime": str(now_ms()),
        }

    def _wallet(self, call: Call) -> Answer:
        if call.fields.get("accountType") != "UNIFIED":
            refuse(10001, "accountType only support UNIFIED.")
        cash, profit, locked = self.desk.cash(Kind.SPOT), self.desk.open_profit(), self.desk.locked_cash()
        coins = [_coin(QUOTE, cash, locked, profit, Decimal(1))]
        worth = cash + profit
        for name, (free, used) in self.desk.coins().items():
            price = self.desk.price(Kind.SPOT, self.desk.listings[f"{name}{QUOTE}"])
            coins.append(_coin(name, free + used, used, Decimal(0), price))
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
        """Return what Bybit says when this happens; with status 200, but for what its front door says itself."""
        match trouble:
            case Trouble.THROTTLED if faults.retry_after_s:
                return no(10006, "Too many visits!", 429, {"Retry-After": faults.retry_after_s})
            case Trouble.THROTTLED:
                reset_at_ms = str(now_ms() + 1_000)
                headers = {"X-Bapi-Limit-Status": "0", "X-Bapi-Limit-Reset-Timestamp": reset_at_ms}
                return no(10006, "Too many visits. Exceeded the API Rate Limit.", headers=headers)
            case Trouble.BANNED:
                return no(10018, "Exceeded the IP Rate Limit.", 403)
            case Trouble.TIMED_OUT:
                return no(170146, "Order creation timeout.")
            case Trouble.TIMED_OUT_AFTER:
                return no(10000, "Server Timeout")
            case Trouble.ERROR_503_AFTER:
                return no(10016, "System error. Please try again later.")
            case Trouble.MAINTENANCE:
                return no(10019, "Service is restarting.", 503)
            case Trouble.REFUSED:
                return no(*REFUSALS["insufficient_balance"][1])
            case _:
                return Answer(int(trouble.split("_")[1]), raw=PAGE)


def _ids(order: Order) -> dict[str, Any]:
    named = order.client_order_id or ""
    return {"orderId": order.order_id, "orderLinkId": "" if named.startswith(UNNAMED) else named}


def _coin(name: str, held: Decimal, locked: Decimal, profit: Decimal, price: Decimal) -> dict[str, Any]:
    return {
        "coin": name,
        "equity": plain(held + profit),
        "usdValue": plain((held + profit) * price),
        "walletBalance": plain(held),
        "locked": plain(locked),
        "unrealisedPnl": plain(profit),
        "cumRealisedPnl": "0",
        "borrowAmount": "0",
        "accruedInterest": "0",
        "totalPositionIM": "0",
        "totalOrderIM": "0",
        "marginCollateral": True,
    }
