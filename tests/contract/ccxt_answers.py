"""What each named exchange answers: its clock, one market, an order, a look-up, a repeated id. As documented."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from libs.common.runtime.account_settings import MarketType
from tests.contract.ccxt_server import Answer, Answering, Asked, Reply

SECRET = "c2VjcmV0IG9mIGEgdGVzdCwgbm90IG9mIGFuIGV4Y2hhbmdlLCBhdCBhbGw="
"""Base64, which Kraken's secrets are; any text to the others."""

ORDER_ID = "7001"
FINEST = "0.000000000000000001"


@dataclass(frozen=True)
class ExchangeAnswers:
    """One exchange, for one market."""

    name: str
    market_type: MarketType
    symbol: str
    start: Mapping[str, Answering]
    """Routes of what is asked before the first order."""
    order: str
    """The route of orders."""
    id_key: str
    """What our id is called in its body."""
    quantity: Callable[[Mapping[str, Any]], Any]
    """The quantity in an order's body."""
    accepted: Callable[[str], Any]
    """The answer to an order, by our id."""
    look_up: Callable[[str], Mapping[str, Answering]]
    """The routes of a look-up that finds it, filled."""
    missing: Mapping[str, Answering]
    """The routes of a look-up that finds nothing."""
    duplicate: Answer
    """The answer to a repeated id."""
    refused: Answer
    """The answer to an order without the money for it."""
    refused_code: str
    buys_at_market: bool = True
    expiry: Callable[[Asked], int] | None = None
    """The absolute time, ms, after which the exchange must refuse the request."""
    more: dict[str, Any] = field(default_factory=dict)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _okx(code: str, message: str) -> Reply:
    return Reply(
        {
            "code": "1",
            "msg": "All operations failed",
            "data": [{"clOrdId": "", "ordId": "", "sCode": code, "sMsg": message}],
        }
    )


def _window(asked: Asked) -> int:
    values = asked.values()
    return int(values["timestamp"]) + int(values["recvWindow"])


def _bybit_window(asked: Asked) -> int:
    return int(asked.headers["x-bapi-timestamp"]) + int(asked.headers["x-bapi-recv-window"])


def _deadline(asked: Asked) -> int:
    from datetime import datetime

    return int(datetime.fromisoformat(asked.values()["deadline"]).timestamp() * 1_000)


def _binance_order(client_order_id: str, key: str = "clientOrderId") -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "orderId": int(ORDER_ID), key: client_order_id, "transactTime": 1_780_000_000_000,
        "price": "0", "origQty": "1.5", "executedQty": "1.5", "cummulativeQuoteQty": "150", "cumQuote": "150",
        "avgPrice": "100", "status": "FILLED", "timeInForce": "GTC", "type": "MARKET", "side": "BUY",
    }  # fmt: skip


def _binance(market_type: MarketType) -> ExchangeAnswers:
    base = "/api/v3" if market_type is MarketType.SPOT else "/fapi/v1"
    symbol = {
        "symbol": "BTCUSDT", "status": "TRADING", "baseAsset": "BTC", "quoteAsset": "USDT", "marginAsset": "USDT",
        "isSpotTradingAllowed": True, "permissions": ["SPOT"],
        "orderTypes": ["LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT"],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "9000000", "tickSize": "0.01"},
            {"filterType": "LOT_SIZE", "minQty": FINEST, "maxQty": "9000", "stepSize": FINEST},
            {"filterType": "NOTIONAL", "minNotional": "5"},
        ],
    }  # fmt: skip
    if market_type is MarketType.SWAP:
        symbol["contractType"] = "PERPETUAL"
    return ExchangeAnswers(
        name="binance",
        market_type=market_type,
        symbol="BTC/USDT" if market_type is MarketType.SPOT else "BTC/USDT:USDT",
        start={
            f"GET {base}/time": lambda _: Reply({"serverTime": _now_ms()}),
            f"GET {base}/exchangeInfo": Reply({"symbols": [symbol]}),
        },
        order=f"POST {base}/order",
        id_key="newClientOrderId",
        quantity=lambda body: body["quantity"],
        accepted=_binance_order,
        look_up=lambda client_order_id: {f"GET {base}/order": Reply(_binance_order(client_order_id))},
        missing={f"GET {base}/order": Reply({"code": -2013, "msg": "Order does not exist."}, 400)},
        duplicate=Reply({"code": -2010, "msg": "Duplicate order sent."}, 400)
        if market_type is MarketType.SPOT
        else Reply({"code": -4116, "msg": "ClientOrderId is duplicated."}, 400),
        refused=Reply({"code": -2010, "msg": "Account has insufficient balance for requested action."}, 400)
        if market_type is MarketType.SPOT
        else Reply({"code": -2019, "msg": "Margin is insufficient."}, 400),
        refused_code="-2010" if market_type is MarketType.SPOT else "-2019",
        expiry=_window,
    )


def _bybit_row(client_order_id: str) -> dict[str, Any]:
    return {
        "orderId": ORDER_ID, "orderLinkId": client_order_id, "symbol": "BTCUSDT", "orderType": "Market",
        "side": "Buy", "qty": "1.5", "cumExecQty": "1.5", "cumExecValue": "150", "avgPrice": "100", "price": "0",
        "orderStatus": "Filled", "createdTime": "1780000000000",
    }  # fmt: skip


def _bybit_list(*rows: Any, category: str = "spot") -> Reply:
    return Reply(
        {"retCode": 0, "retMsg": "OK", "result": {"category": category, "list": list(rows)}, "time": 1}
    )


def _bybit(market_type: MarketType) -> ExchangeAnswers:
    symbol: dict[str, Any] = {
        "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "settleCoin": "USDT", "status": "Trading",
        "contractType": "LinearPerpetual", "launchTime": "1", "deliveryTime": "0",
        "lotSizeFilter": {
            "basePrecision": FINEST, "quotePrecision": "0.0000001", "minOrderQty": FINEST, "maxOrderQty": "9000",
            "minOrderAmt": "5", "qtyStep": FINEST,
        },
        "priceFilter": {"tickSize": "0.01", "minPrice": "0.01", "maxPrice": "9000000"},
        "leverageFilter": {"maxLeverage": "100"},
    }  # fmt: skip
    return ExchangeAnswers(
        name="bybit",
        market_type=market_type,
        symbol="BTC/USDT" if market_type is MarketType.SPOT else "BTC/USDT:USDT",
        start={
            "GET /v5/market/time": lambda _: Reply(
                {"retCode": 0, "retMsg": "OK", "result": {"timeSecond": "1", "timeNano": "1"}, "time": _now_ms()}
            ),
            "GET /v5/market/instruments-info": lambda asked: _bybit_list(
                *([] if "PreLaunch" in asked.query else [symbol]), category=asked.values()["category"]
            ),
            "GET /v5/user/query-api": Reply({"retCode": 0, "retMsg": "", "result": {"uta": 1, "unified": 0}, "time": 1}),
            "GET /v5/account/info": Reply({"retCode": 0, "retMsg": "", "result": {"unifiedMarginStatus": 6}, "time": 1}),
        },
        order="POST /v5/order/create",
        id_key="orderLinkId",
        quantity=lambda body: body["qty"],
        accepted=lambda client_order_id: {
            "retCode": 0, "retMsg": "OK", "result": {"orderId": ORDER_ID, "orderLinkId": client_order_id}, "time": 1,
        },
        look_up=lambda client_order_id: {"GET /v5/order/realtime": _bybit_list(_bybit_row(client_order_id))},
        missing={"GET /v5/order/realtime": _bybit_list(), "GET /v5/order/history": _bybit_list()},
        duplicate=Reply(
            {"retCode": 170141, "retMsg": "Duplicate clientOrderId.", "result": {}, "time": 1}
            if market_type is MarketType.SPOT
            else {"retCode": 110072, "retMsg": "OrderLinkedID is duplicate", "result": {}, "time": 1}
        ),
        refused=Reply(
            {"retCode": 170131, "retMsg": "Balance insufficient.", "result": {}, "time": 1}
            if market_type is MarketType.SPOT
            else {"retCode": 110007, "retMsg": "ab not enough for new order", "result": {}, "time": 1}
        ),
        refused_code="170131" if market_type is MarketType.SPOT else "110007",
        expiry=_bybit_window,
    )  # fmt: skip


def _okx_row(client_order_id: str) -> dict[str, Any]:
    return {
        "instId": "BTC-USDT", "instType": "SPOT", "ordId": ORDER_ID, "clOrdId": client_order_id, "ordType": "market",
        "side": "buy", "sz": "1.5", "accFillSz": "1.5", "avgPx": "100", "px": "", "state": "filled",
        "cTime": "1780000000000", "fee": "-0.0015", "feeCcy": "BTC",
    }  # fmt: skip


def _okx_spot() -> ExchangeAnswers:
    symbol = {
        "instId": "BTC-USDT", "instType": "SPOT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.01",
        "lotSz": FINEST, "minSz": FINEST, "maxMktSz": "9000", "state": "live", "settleCcy": "", "uly": "",
        "ctVal": "", "listTime": "1", "expTime": "",
    }  # fmt: skip
    return ExchangeAnswers(
        name="okx",
        market_type=MarketType.SPOT,
        symbol="BTC/USDT",
        start={
            "GET /api/v5/public/time": lambda _: Reply({"code": "0", "msg": "", "data": [{"ts": str(_now_ms())}]}),
            "GET /api/v5/public/instruments": Reply({"code": "0", "msg": "", "data": [symbol]}),
        },
        order="POST /api/v5/trade/order",
        id_key="clOrdId",
        quantity=lambda body: body["sz"],
        accepted=lambda client_order_id: {
            "code": "0", "msg": "",
            "data": [{"ordId": ORDER_ID, "clOrdId": client_order_id, "sCode": "0", "sMsg": "", "tag": ""}],
        },
        look_up=lambda client_order_id: {
            "GET /api/v5/trade/order": Reply({"code": "0", "msg": "", "data": [_okx_row(client_order_id)]})
        },
        missing={"GET /api/v5/trade/order": Reply({"code": "51603", "msg": "Order does not exist", "data": []})},
        duplicate=_okx("51016", "Duplicated client order ID"),
        refused=_okx("51008", "Order failed. Insufficient USDT balance in account"),
        refused_code="51008",
        expiry=lambda asked: int(asked.headers["exptime"]),
    )  # fmt: skip


def _bitget_row(client_order_id: str) -> dict[str, Any]:
    return {
        "userId": "1", "symbol": "BTCUSDT", "orderId": ORDER_ID, "clientOid": client_order_id, "price": "100",
        "size": "1.5", "orderType": "limit", "side": "buy", "status": "filled", "priceAvg": "100",
        "baseVolume": "1.5", "quoteVolume": "150", "cTime": "1780000000000", "uTime": "1780000000000",
        "feeDetail": "", "orderSource": "normal",
    }  # fmt: skip


def _bitget_spot() -> ExchangeAnswers:
    symbol = {
        "symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "minTradeAmount": "0", "maxTradeAmount": "9000",
        "pricePrecision": "2", "quantityPrecision": "18", "quotePrecision": "8", "status": "online",
        "minTradeUSDT": "5", "takerFeeRate": "0.001", "makerFeeRate": "0.001",
    }  # fmt: skip

    def ok(data: Any) -> Reply:
        return Reply({"code": "00000", "msg": "success", "requestTime": 1, "data": data})

    return ExchangeAnswers(
        name="bitget",
        market_type=MarketType.SPOT,
        symbol="BTC/USDT",
        start={
            "GET /api/v2/public/time": lambda _: ok({"serverTime": str(_now_ms())}),
            "GET /api/v3/account/settings": Reply({"code": "40084", "msg": "Only unified accounts", "data": None}, 400),
            "GET /api/v2/spot/public/symbols": ok([symbol]),
            "GET /api/v2/margin/currencies": ok([]),
        },
        order="POST /api/v2/spot/trade/place-order",
        id_key="clientOid",
        quantity=lambda body: body["size"],
        accepted=lambda client_order_id: {
            "code": "00000", "msg": "success", "data": {"orderId": ORDER_ID, "clientOid": client_order_id},
        },
        look_up=lambda client_order_id: {"GET /api/v2/spot/trade/orderInfo": ok([_bitget_row(client_order_id)])},
        missing={"GET /api/v2/spot/trade/orderInfo": ok([])},
        duplicate=Reply({"code": "40786", "msg": "Duplicate clientOid", "data": None}, 400),
        refused=Reply({"code": "43012", "msg": "Insufficient balance", "data": None}, 400),
        refused_code="43012",
        buys_at_market=False,
    )  # fmt: skip


def _kraken_row(client_order_id: str) -> dict[str, Any]:
    return {
        "refid": None, "userref": None, "cl_ord_id": client_order_id, "status": "closed", "opentm": 1780000000.1,
        "descr": {
            "pair": "XBTUSDT", "type": "buy", "ordertype": "market", "price": "0", "price2": "0", "leverage": "none",
            "order": "buy 1.5 XBTUSDT @ market", "close": "",
        },
        "vol": "1.5", "vol_exec": "1.5", "cost": "150", "fee": "0.3", "price": "100", "misc": "", "oflags": "fciq",
    }  # fmt: skip


def _kraken_spot() -> ExchangeAnswers:
    symbol = {
        "altname": "XBTUSDT", "wsname": "XBT/USDT", "base": "XXBT", "quote": "USDT", "pair_decimals": 2,
        "lot_decimals": 18, "ordermin": "0.00000001", "costmin": "0.5", "tick_size": "0.01", "status": "online",
        "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
    }  # fmt: skip

    def orders(key: str, *rows: Any) -> Reply:
        found = dict(zip([ORDER_ID], rows, strict=False))
        return Reply({"error": [], "result": {key: found, "count": len(found)}})

    return ExchangeAnswers(
        name="kraken",
        market_type=MarketType.SPOT,
        symbol="BTC/USDT",
        start={
            "GET /0/public/Time": lambda _: Reply({"error": [], "result": {"unixtime": _now_ms() // 1_000}}),
            "GET /0/public/AssetPairs": Reply({"error": [], "result": {"XBTUSDT": symbol}}),
        },
        order="POST /0/private/AddOrder",
        id_key="cl_ord_id",
        quantity=lambda body: body["volume"],
        accepted=lambda client_order_id: {
            "error": [],
            "result": {
                "descr": {"order": "buy 1.5 XBTUSDT @ market"},
                "txid": [ORDER_ID],
                "cl_ord_id": client_order_id,
            },
        },
        look_up=lambda client_order_id: {
            "POST /0/private/OpenOrders": orders("open"),
            "POST /0/private/ClosedOrders": orders("closed", _kraken_row(client_order_id)),
        },
        missing={
            "POST /0/private/OpenOrders": orders("open"),
            "POST /0/private/ClosedOrders": orders("closed"),
        },
        duplicate=Reply({"error": ["EOrder:Duplicate cl_ord_id"]}),
        refused=Reply({"error": ["EOrder:Insufficient funds"]}),
        refused_code="EOrder:Insufficient funds",
        expiry=_deadline,
    )


def _coinbase_row(client_order_id: str) -> dict[str, Any]:
    return {
        "order_id": ORDER_ID, "client_order_id": client_order_id, "product_id": "BTC-USDT", "side": "BUY",
        "status": "FILLED", "order_type": "LIMIT", "average_filled_price": "100", "filled_size": "1.5",
        "filled_value": "150", "total_fees": "0.3", "created_time": "2026-05-28T00:00:00Z",
        "order_configuration": {"limit_limit_gtc": {"base_size": "1.5", "limit_price": "100"}},
    }  # fmt: skip


def _coinbase_spot() -> ExchangeAnswers:
    product = {
        "product_id": "BTC-USDT", "base_increment": FINEST, "quote_increment": "0.01", "price_increment": "0.01",
        "quote_min_size": "1", "quote_max_size": "9000000", "base_min_size": FINEST, "base_max_size": "9000",
        "base_currency_id": "BTC", "quote_currency_id": "USDT", "status": "online", "trading_disabled": False,
        "product_type": "SPOT", "price": "100",
    }  # fmt: skip

    def products(asked: Asked) -> Reply:
        found = [] if "FUTURE" in asked.query else [product]
        return Reply({"products": found, "num_products": len(found)})

    return ExchangeAnswers(
        name="coinbase",
        market_type=MarketType.SPOT,
        symbol="BTC/USDT",
        start={
            "GET /v2/time": lambda _: Reply({"data": {"epoch": _now_ms() // 1_000, "iso": "x"}}),
            "GET /api/v3/brokerage/market/products": products,
            "GET /api/v3/brokerage/products": products,
            "GET /api/v3/brokerage/transaction_summary": Reply(
                {"fee_tier": {"maker_fee_rate": "0.001", "taker_fee_rate": "0.002"}}
            ),
        },
        order="POST /api/v3/brokerage/orders",
        id_key="client_order_id",
        quantity=lambda body: body["order_configuration"]["limit_limit_gtc"]["base_size"],
        accepted=lambda client_order_id: {
            "success": True, "order_id": ORDER_ID,
            "success_response": {
                "order_id": ORDER_ID, "product_id": "BTC-USDT", "side": "BUY", "client_order_id": client_order_id,
            },
        },
        look_up=lambda client_order_id: {
            "GET /api/v3/brokerage/orders/historical/batch": Reply(
                {"orders": [_coinbase_row("another"), _coinbase_row(client_order_id)], "has_next": False}
            )
        },
        missing={
            "GET /api/v3/brokerage/orders/historical/batch": Reply(
                {"orders": [_coinbase_row("another")], "has_next": False}
            )
        },
        duplicate=Reply(
            {"error": "INVALID_ARGUMENT", "message": "duplicate client_order_id", "error_details": ""}, 400
        ),
        refused=Reply(
            {
                "success": False, "order_id": "",
                "error_response": {"error": "INSUFFICIENT_FUND", "message": "Insufficient balance in source account"},
            }
        ),
        refused_code="INSUFFICIENT_FUND",
        buys_at_market=False,
    )  # fmt: skip


def _alpaca_row(client_order_id: str) -> dict[str, Any]:
    return {
        "id": ORDER_ID, "client_order_id": client_order_id, "created_at": "2026-05-28T00:00:00Z",
        "submitted_at": "2026-05-28T00:00:00Z", "symbol": "BTC/USDT", "asset_class": "crypto", "qty": "1.5",
        "filled_qty": "1.5", "filled_avg_price": "100", "order_type": "market", "type": "market", "side": "buy",
        "time_in_force": "gtc", "limit_price": None, "stop_price": None, "status": "filled",
    }  # fmt: skip


def _alpaca_spot() -> ExchangeAnswers:
    asset = {
        "id": "1", "class": "crypto", "exchange": "CRYPTO", "symbol": "BTC/USDT", "name": "Bitcoin", "status": "active",
        "tradable": True, "min_order_size": FINEST, "min_trade_increment": FINEST, "price_increment": "0.01",
    }  # fmt: skip
    return ExchangeAnswers(
        name="alpaca",
        market_type=MarketType.SPOT,
        symbol="BTC/USDT",
        start={
            "GET /v2/clock": lambda _: Reply(
                {"timestamp": "2026-05-28T00:00:00.000000000-04:00", "is_open": True}
            ),
            "GET /v2/assets": Reply([asset]),
        },
        order="POST /v2/orders",
        id_key="client_order_id",
        quantity=lambda body: body["qty"],
        accepted=_alpaca_row,
        look_up=lambda client_order_id: {
            "GET /v2/orders:by_client_order_id": Reply(_alpaca_row(client_order_id))
        },
        missing={
            "GET /v2/orders:by_client_order_id": Reply({"code": 40410000, "message": "order not found"}, 404)
        },
        duplicate=Reply({"code": 40010001, "message": "client_order_id must be unique"}, 422),
        refused=Reply({"code": 40310000, "message": "insufficient balance for USDT"}, 403),
        refused_code="40310000",
    )


SPOT, SWAP = MarketType.SPOT, MarketType.SWAP

EXCHANGES = (
    _binance(SPOT),
    _binance(SWAP),
    _bybit(SPOT),
    _bybit(SWAP),
    _okx_spot(),
    _bitget_spot(),
    _kraken_spot(),
    _coinbase_spot(),
    _alpaca_spot(),
)
