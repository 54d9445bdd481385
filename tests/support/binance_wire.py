"""A simulated exchange in the language of Binance's REST: spot (`/api/v3`) and USD-M futures (`/fapi`).

Source:
    Binance's public documentation of both, and what ccxt sends and reads.
"""

import re
from decimal import Decimal
from typing import Any, Final, NoReturn

import orjson

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

TYPES: Final = {
    Kind.SPOT: {
        "MARKET": OrderType.MARKET,
        "LIMIT": OrderType.LIMIT,
        "STOP_LOSS": OrderType.STOP,
        "STOP_LOSS_LIMIT": OrderType.STOP_LIMIT,
    },
    # Conditional orders have moved to an endpoint of their own.
    Kind.SWAP: {"MARKET": OrderType.MARKET, "LIMIT": OrderType.LIMIT},
}
NEEDED: Final = {
    OrderType.MARKET: (),
    OrderType.LIMIT: ("timeInForce", "quantity", "price"),
    OrderType.STOP: ("quantity", "stopPrice"),
    OrderType.STOP_LIMIT: ("timeInForce", "quantity", "price", "stopPrice"),
}
TIMES: Final = {"GTC": TimeInForce.GTC, "IOC": TimeInForce.IOC, "FOK": TimeInForce.FOK}
STATES: Final = {
    OrderState.ACCEPTED: "NEW",
    OrderState.PARTIAL: "PARTIALLY_FILLED",
    OrderState.FILLED: "FILLED",
    OrderState.CANCELED: "CANCELED",
    OrderState.EXPIRED: "EXPIRED",
}

REFUSALS: Final[dict[str, tuple[tuple[int, str], tuple[int, str]]]] = {
    "expired": (
        (-1021, "Timestamp for this request is outside of the recvWindow."),
        (-1021, "Timestamp for this request is outside of the recvWindow."),
    ),
    "insufficient_balance": (
        (-2010, "Account has insufficient balance for requested action."),
        (-2019, "Margin is insufficient."),
    ),
    "lot_size": (
        (-1013, "Filter failure: LOT_SIZE"),
        (-1111, "Precision is over the maximum defined for this asset."),
    ),
    "min_quantity": (
        (-1013, "Filter failure: LOT_SIZE"),
        (-4003, "Quantity less than or equal to zero."),
    ),
    "max_quantity": ((-1013, "Filter failure: LOT_SIZE"), (-4005, "Quantity greater than max quantity.")),
    "tick_size": (
        (-1013, "Filter failure: PRICE_FILTER"),
        (-4014, "Price not increased by tick size."),
    ),
    "min_value": (
        (-1013, "Filter failure: NOTIONAL"),
        (-4164, "Order's notional must be no smaller than 5.0 (unless you choose reduce only)"),
    ),
    "market_closed": ((-1013, "Market is closed."), (-4108, "Symbol is closed.")),
    "nothing_to_reduce": ((-2022, "ReduceOnly Order is rejected."), (-2022, "ReduceOnly Order is rejected.")),
}
"""By the exchange's own word: of spot, of futures. What is not here is -1013 and the word."""


def refuse(code: int, message: str, status: int = 400) -> NoReturn:
    """Say no in Binance's form."""
    raise Refusal(Answer(status, {"code": code, "msg": message}))


def digits(value: Decimal, least: int = 8) -> str:
    """Return a number as Binance writes it: with at least so many decimals, and never an exponent."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return format(value, f".{max(least, -exponent)}f")


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
                return Answer(200, self._exchange_info(kind))
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
                make = self._spot_account if kind is Kind.SPOT else self._futures_account
                return await self.ask(None, lambda: Answer(200, make()))
            case "GET", "balance" if kind is Kind.SWAP:
                return await self.ask(None, lambda: Answer(200, self._futures_account()["assets"]))
            case "GET", "positionRisk" if kind is Kind.SWAP:
                one = self._listing(call) if call.has("symbol") else None
                is_all = "/v3/" not in call.path
                return await self.ask(None, lambda: Answer(200, self._positions(one, is_all=is_all)))
            case "GET", "leverageBracket" if kind is Kind.SWAP:
                return await self.ask(None, lambda: Answer(200, self._brackets()))
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
        if not is_signature(self.secret, message, claimed):
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
        return ordered if cost is None else spent(ordered, self.desk.price(kind, listing), cost)

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
        document = self._order(ordered.kind, ordered.listing, outcome.order)
        if not is_spot:
            return Answer(200, document)
        kind_of_answer = call.fields.get("newOrderRespType", "FULL")
        at_ms = document.pop("time")
        document["transactTime"] = at_ms
        if kind_of_answer == "ACK":
            names = ("symbol", "orderId", "orderListId", "clientOrderId", "transactTime")
            document = {name: document[name] for name in names}
        elif kind_of_answer == "FULL":
            document["fills"] = self._fills(outcome.order)
        return Answer(200, document)

    def _fills(self, order: Order) -> list[dict[str, Any]]:
        if not order.filled or order.average_price is None:
            return []
        return [
            {
                "price": digits(order.average_price),
                "qty": digits(order.filled),
                "commission": digits(order.fee),
                "commissionAsset": QUOTE,
                "tradeId": int(order.order_id),
            }
        ]

    def _order(self, kind: Kind, listing: Listing, order: Order) -> dict[str, Any]:
        names = {found: name for name, found in TYPES[Kind.SPOT].items()}
        document = {
            "symbol": listing.market,
            "orderId": int(order.order_id),
            "clientOrderId": order.client_order_id,
            "price": digits(order.limit_price or Decimal(0)),
            "origQty": digits(order.quantity),
            "executedQty": digits(order.filled),
            "status": STATES[order.state],
            "timeInForce": order.time_in_force.upper(),
            "type": names[order.type],
            "side": order.side.upper(),
            "stopPrice": digits(order.stop_price or Decimal(0)),
            "time": order.placed_at_ms,
            "updateTime": order.placed_at_ms,
        }
        if kind is Kind.SPOT:
            return document | {
                "orderListId": -1,
                "cummulativeQuoteQty": digits(order.value),
                "icebergQty": "0.00000000",
                "isWorking": order.stop_price is None or order.is_triggered,
                "workingTime": order.placed_at_ms,
                "origQuoteOrderQty": "0.00000000",
                "selfTradePreventionMode": "NONE",
            }
        return document | {
            "avgPrice": digits(order.average_price or Decimal(0)),
            "cumQuote": digits(order.value),
            "cumQty": digits(order.filled),
            "reduceOnly": order.reduce_only,
            "closePosition": False,
            "positionSide": "BOTH",
            "workingType": "CONTRACT_PRICE",
            "priceProtect": False,
            "origType": names[order.type],
            "priceMatch": "NONE",
            "selfTradePreventionMode": "NONE",
            "goodTillDate": 0,
        }

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
        return Answer(200, self._order(kind, listing, found))

    def _cancel(self, call: Call, kind: Kind, listing: Listing) -> Answer:
        found = self._named(call, kind, listing)
        ended = None if found is None else self.desk.cancel(kind, listing, found)
        if ended is None:
            refuse(-2011, "Unknown order sent.")
        document = self._order(kind, listing, ended)
        if kind is Kind.SPOT:
            # A cancellation is named by an id of its own.
            document |= {
                "origClientOrderId": ended.client_order_id,
                "clientOrderId": f"cancel_{ended.order_id}",
            }
        return Answer(200, document)

    def _resting(self, kind: Kind, listing: Listing | None) -> Answer:
        return Answer(200, [self._order(kind, *found) for found in self.desk.resting(kind, listing)])

    # ------------------------------------------------------------------------------------------------------------------
    # Markets and money
    # ------------------------------------------------------------------------------------------------------------------

    def _exchange_info(self, kind: Kind) -> dict[str, Any]:
        make = self._spot_symbol if kind is Kind.SPOT else self._futures_symbol
        return {
            "timezone": "UTC",
            "serverTime": now_ms(),
            "rateLimits": [
                {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
            ],
            "exchangeFilters": [],
            "symbols": [make(listing) for listing in self.desk.listings.values()],
        }

    def _filters(self, listing: Listing, notional: dict[str, Any]) -> list[dict[str, Any]]:
        rules = listing.instrument
        least, most = rules.min_quantity or Decimal(0), rules.max_quantity or Decimal(0)
        tick, step = rules.price_step or Decimal(0), rules.quantity_step or Decimal(0)
        lot = {"minQty": digits(least), "maxQty": digits(most), "stepSize": digits(step)}
        return [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": digits(tick),
                "maxPrice": digits(Decimal(1_000_000)),
                "tickSize": digits(tick),
            },
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot, "stepSize": digits(Decimal(0))},
            notional,
        ]

    def _spot_symbol(self, listing: Listing) -> dict[str, Any]:
        least = digits(listing.instrument.min_value or Decimal(0))
        notional = {
            "filterType": "NOTIONAL",
            "minNotional": least,
            "applyMinToMarket": True,
            "maxNotional": digits(Decimal(9_000_000_000)),
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        }
        return {
            "symbol": listing.market,
            "status": "TRADING",
            "baseAsset": listing.base,
            "baseAssetPrecision": 8,
            "quoteAsset": QUOTE,
            "quotePrecision": 8,
            "quoteAssetPrecision": 8,
            "orderTypes": [*TYPES[Kind.SPOT], "LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
            "icebergAllowed": True,
            "ocoAllowed": True,
            "quoteOrderQtyMarketAllowed": True,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "filters": self._filters(listing, notional),
            "permissions": [],
            "permissionSets": [["SPOT"]],
        }

    def _futures_symbol(self, listing: Listing) -> dict[str, Any]:
        least = digits(listing.instrument.min_value or Decimal(0))
        return {
            "symbol": listing.market,
            "pair": listing.market,
            "contractType": "PERPETUAL",
            "deliveryDate": 4_133_404_800_000,
            "onboardDate": 1_569_398_400_000,
            "status": "TRADING",
            "baseAsset": listing.base,
            "quoteAsset": QUOTE,
            "marginAsset": QUOTE,
            "pricePrecision": 8,
            "quantityPrecision": 8,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "filters": self._filters(listing, {"filterType": "MIN_NOTIONAL", "notional": least}),
            "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
            "timeInForce": list(TIMES),
        }

    def _tickers(self, call: Call, kind: Kind) -> Answer:
        if call.has("symbol"):
            return Answer(200, self._ticker(kind, self._listing(call)))
        wanted = orjson.loads(call.fields["symbols"]) if call.has("symbols") else list(self.desk.listings)
        if not set(wanted) <= set(self.desk.listings):
            refuse(-1121, "Invalid symbol.")
        return Answer(200, [self._ticker(kind, self.desk.listings[each]) for each in wanted])

    def _ticker(self, kind: Kind, listing: Listing) -> dict[str, Any]:
        price = digits(self.desk.price(kind, listing))
        document = {
            "symbol": listing.market,
            "price": price,
            "lastPrice": price,
            "openPrice": price,
            "highPrice": price,
            "lowPrice": price,
            "weightedAvgPrice": price,
            "priceChange": "0.00000000",
            "priceChangePercent": "0.000",
            "lastQty": "1.00000000",
            "volume": "1000.00000000",
            "quoteVolume": "100000.00000000",
            "openTime": now_ms() - 86_400_000,
            "closeTime": now_ms(),
            "firstId": 1,
            "lastId": 2,
            "count": 2,
        }
        if kind is Kind.SWAP:
            return document | {"time": now_ms()}
        quantities = {"bidQty": "1.00000000", "askQty": "1.00000000", "prevClosePrice": price}
        return document | quantities | {"bidPrice": price, "askPrice": price}

    def _spot_account(self) -> dict[str, Any]:
        locked = self.desk.locked_cash()
        held = {QUOTE: (self.desk.cash(Kind.SPOT) - locked, locked), **self.desk.coins()}
        return {
            "makerCommission": 0,
            "takerCommission": 0,
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "updateTime": now_ms(),
            "accountType": "SPOT",
            "balances": [
                {"asset": coin, "free": digits(free), "locked": digits(used)}
                for coin, (free, used) in held.items()
            ],
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def _futures_account(self) -> dict[str, Any]:
        cash, profit = self.desk.cash(Kind.SWAP), self.desk.open_profit()
        asset = {
            "asset": QUOTE,
            "walletBalance": digits(cash),
            "balance": digits(cash),
            "unrealizedProfit": digits(profit),
            "marginBalance": digits(cash + profit),
            "initialMargin": digits(Decimal(0)),
            "maintMargin": digits(Decimal(0)),
            "availableBalance": digits(cash + profit),
            "crossWalletBalance": digits(cash),
            "crossUnPnl": digits(profit),
            "maxWithdrawAmount": digits(cash),
            "updateTime": now_ms(),
        }
        return {
            "totalWalletBalance": asset["walletBalance"],
            "totalUnrealizedProfit": asset["unrealizedProfit"],
            "totalMarginBalance": asset["marginBalance"],
            "totalInitialMargin": asset["initialMargin"],
            "totalMaintMargin": asset["maintMargin"],
            "availableBalance": asset["availableBalance"],
            "canTrade": True,
            "assets": [asset],
            "positions": self._positions(None, is_all=False),
        }

    def _positions(self, one: Listing | None, *, is_all: bool) -> list[dict[str, Any]]:
        return [
            self._position(listing, book)
            for listing, book in self.desk.books(Kind.SWAP)
            if one in {None, listing} and (is_all or book.quantity or book.orders)
        ]

    def _position(self, listing: Listing, book: Book) -> dict[str, Any]:
        mark = book.last_price or Decimal(0)
        entry = digits(book.average_price or Decimal(0))
        return {
            "symbol": listing.market,
            "positionSide": "BOTH",
            "positionAmt": digits(book.quantity),
            "entryPrice": entry,
            "breakEvenPrice": entry,
            "markPrice": digits(mark),
            "unRealizedProfit": digits(book.worth - book.realised + book.fees),
            "liquidationPrice": "0",
            "isolatedMargin": "0",
            "notional": digits(book.quantity * mark),
            "marginAsset": QUOTE,
            "isolatedWallet": "0",
            "initialMargin": "0",
            "maintMargin": "0",
            "leverage": "20",
            "marginType": "cross",
            "updateTime": now_ms(),
        }

    def _brackets(self) -> list[dict[str, Any]]:
        bracket = {"bracket": 1, "initialLeverage": 20, "notionalCap": 10**12, "notionalFloor": 0}
        brackets = [{**bracket, "maintMarginRatio": 0.004, "cum": 0}]
        return [{"symbol": listing, "brackets": brackets} for listing in self.desk.listings]

    # ------------------------------------------------------------------------------------------------------------------
    # Troubles
    # ------------------------------------------------------------------------------------------------------------------

    def in_trouble(self, trouble: Trouble, faults: Faults) -> Answer:
        """Return what Binance says when this happens."""
        later = {"Retry-After": faults.retry_after_s} if faults.retry_after_s else {}
        match trouble:
            case Trouble.THROTTLED:
                text = "Too much request weight used; current limit is 6000 request weight per 1 MINUTE."
                return Answer(429, {"code": -1003, "msg": text}, later)
            case Trouble.BANNED:
                text = f"Way too much request weight used; IP banned until {now_ms() + 1_000}."
                return Answer(418, {"code": -1003, "msg": text}, later)
            case Trouble.TIMED_OUT | Trouble.TIMED_OUT_AFTER:
                text = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
                return Answer(408, {"code": -1007, "msg": text})
            case Trouble.ERROR_503_AFTER:
                text = "Internal error; unable to process your request. Please try again."
                return Answer(503, {"code": -1001, "msg": text})
            case Trouble.MAINTENANCE:
                return Answer(503, {"code": 1, "msg": "System is under maintenance."})
            case Trouble.REFUSED:
                code, message = REFUSALS["insufficient_balance"][0]
                return Answer(400, {"code": code, "msg": message})
            case _:
                return Answer(int(trouble.split("_")[1]), raw=PAGE)
