"""What Bybit says: its codes, and the documents that its answers are.

Source:
    Bybit's public documentation of version 5, and what ccxt reads.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderType, Side
from libs.common.policy.book import Book, Order
from tests.support.exchange_desk import QUOTE, Listing, now_ms
from tests.support.exchange_modes import Faults, Trouble
from tests.support.exchange_wire import PAGE
from tests.support.venue_desk import Answer

UNNAMED: Final = "~"
"""What the ids of orders without one begin with, inside; the venue shows none."""

STATES: Final = {
    OrderState.ACCEPTED: "New",
    OrderState.PARTIAL: "PartiallyFilled",
    OrderState.FILLED: "Filled",
    OrderState.CANCELED: "Cancelled",
    OrderState.EXPIRED: "Cancelled",
}
STOPS: Final = {OrderType.STOP: "Market", OrderType.STOP_LIMIT: "Limit"}
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


def plain(value: Decimal | None) -> str:
    """Return a number as Bybit writes it: no exponent, no zeros at the end, empty for none."""
    return "" if value is None else format(value.normalize(), "f")


def order_document(listing: Listing, order: Order) -> dict[str, Any]:
    """Return an order as look-ups tell it."""
    is_waiting = order.type in STOPS and order.is_open and not order.is_triggered
    is_market = order.type in {OrderType.MARKET, OrderType.STOP}
    state = STATES[order.state]
    if state == "Cancelled" and order.filled:
        state = "PartiallyFilledCanceled"
    return {
        **ids(order),
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


def spot_instrument(listing: Listing) -> dict[str, Any]:
    """Return how finely a spot market is traded."""
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


def linear_instrument(listing: Listing) -> dict[str, Any]:
    """Return how finely a swap is traded."""
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


def position_document(listing: Listing, book: Book) -> dict[str, Any]:
    """Return a position, flat ones too."""
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


def trouble_answer(trouble: Trouble, faults: Faults) -> Answer:
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


def ids(order: Order) -> dict[str, Any]:
    """Return both ids of an order."""
    named = order.client_order_id or ""
    return {"orderId": order.order_id, "orderLinkId": "" if named.startswith(UNNAMED) else named}


def coin_document(
    name: str, held: Decimal, locked: Decimal, profit: Decimal, price: Decimal
) -> dict[str, Any]:
    """Return what the purse holds of one coin."""
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
