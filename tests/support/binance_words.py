"""What Binance says: its codes, and the documents that its answers are.

Source:
    Binance's public documentation of spot and USD-M futures, and what ccxt reads.
"""

from decimal import Decimal
from typing import Any, Final

from libs.common.domain.alert import TimeInForce
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderType
from libs.common.policy.book import Book, Order
from tests.support.exchange_desk import QUOTE, Desk, Kind, Listing, now_ms
from tests.support.exchange_modes import Faults, Trouble
from tests.support.exchange_wire import PAGE
from tests.support.venue_desk import Answer

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


def digits(value: Decimal, least: int = 8) -> str:
    """Return a number as Binance writes it: with at least so many decimals, and never an exponent."""
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)
    return format(value, f".{max(least, -exponent)}f")


def fills(order: Order) -> list[dict[str, Any]]:
    """Return the trades of an order, as one."""
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


def order_document(kind: Kind, listing: Listing, order: Order) -> dict[str, Any]:
    """Return an order as look-ups tell it."""
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


def exchange_info(desk: Desk, kind: Kind) -> dict[str, Any]:
    """Return what is traded, and how finely."""
    make = _spot_symbol if kind is Kind.SPOT else _futures_symbol
    return {
        "timezone": "UTC",
        "serverTime": now_ms(),
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
        ],
        "exchangeFilters": [],
        "symbols": [make(listing) for listing in desk.listings.values()],
    }


def _filters(listing: Listing, notional: dict[str, Any]) -> list[dict[str, Any]]:
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


def _spot_symbol(listing: Listing) -> dict[str, Any]:
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
        "filters": _filters(listing, notional),
        "permissions": [],
        "permissionSets": [["SPOT"]],
    }


def _futures_symbol(listing: Listing) -> dict[str, Any]:
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
        "filters": _filters(listing, {"filterType": "MIN_NOTIONAL", "notional": least}),
        "orderTypes": ["LIMIT", "MARKET", "STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET"],
        "timeInForce": list(TIMES),
    }


def ticker(desk: Desk, kind: Kind, listing: Listing) -> dict[str, Any]:
    """Return the price of a market, with what else a day's ticker has."""
    price = digits(desk.price(kind, listing))
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


def spot_account(desk: Desk) -> dict[str, Any]:
    """Return the spot purse."""
    locked = desk.locked_cash()
    held = {QUOTE: (desk.cash(Kind.SPOT) - locked, locked), **desk.coins()}
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


def futures_account(desk: Desk) -> dict[str, Any]:
    """Return the futures purse."""
    cash, profit = desk.cash(Kind.SWAP), desk.open_profit()
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
        "positions": positions(desk, None, is_all=False),
    }


def positions(desk: Desk, one: Listing | None, *, is_all: bool) -> list[dict[str, Any]]:
    """Return the positions; those that are flat and without orders too, where `is_all`."""
    return [
        _position(listing, book)
        for listing, book in desk.books(Kind.SWAP)
        if one in {None, listing} and (is_all or book.quantity or book.orders)
    ]


def _position(listing: Listing, book: Book) -> dict[str, Any]:
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


def brackets(desk: Desk) -> list[dict[str, Any]]:
    """Return how much may be borrowed: the same everywhere."""
    bracket = {"bracket": 1, "initialLeverage": 20, "notionalCap": 10**12, "notionalFloor": 0}
    levels = [{**bracket, "maintMarginRatio": 0.004, "cum": 0}]
    return [{"symbol": listing, "brackets": levels} for listing in desk.listings]


def trouble_answer(trouble: Trouble, faults: Faults) -> Answer:
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
