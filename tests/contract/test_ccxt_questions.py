"""What an exchange says about an account: money, positions, prices, what rests; and taking back what rests."""

from decimal import Decimal

import pytest

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import Market
from libs.common.domain.order import OrderType, Side
from libs.common.domain.venue import Balance
from libs.common.runtime.account_settings import MarketType
from tests.contract.ccxt_answers import EXCHANGES, SWAP
from tests.contract.ccxt_server import Answering, Asked, Drop, Reply
from tests.contract.test_ccxt_exchanges import ID, connected, request, taking

BINANCE, BINANCE_SWAP, BYBIT, BYBIT_SWAP = EXCHANGES[:4]

TICKER = {"symbol": "BTCUSDT", "lastPrice": "99.5", "closeTime": 1_780_000_000_000}

BALANCES: dict[str, Answering] = {
    "GET /api/v3/account": Reply(
        {
            "balances": [
                {"asset": "USDT", "free": "1000.10", "locked": "0.000000000000000001"},
                {"asset": "BTC", "free": "1.5", "locked": "0.5"},
                {"asset": "DUST", "free": "7", "locked": "0"},
                {"asset": "ETH", "free": "0", "locked": "0"},
            ]
        }
    ),
    "GET /api/v3/ticker/24hr": Reply([TICKER]),
}

RESTING = {
    "symbol": "BTCUSDT", "orderId": 11, "clientOrderId": ID, "price": "90.00", "origQty": "2", "executedQty": "0.5",
    "cummulativeQuoteQty": "45", "status": "PARTIALLY_FILLED", "timeInForce": "GTC", "type": "LIMIT", "side": "SELL",
    "time": 1_780_000_000_000,
}  # fmt: skip
STOP = {
    **RESTING, "orderId": 12, "clientOrderId": "", "type": "STOP_LOSS", "stopPrice": "80", "price": "0", "executedQty": "0",
    "status": "NEW", "side": "BUY",
}  # fmt: skip


async def test_a_spot_account_is_worth_its_coins_at_their_last_prices() -> None:
    async with connected(BINANCE, BALANCES) as (broker, _):
        assert await broker.account() == Balance(equity=Decimal("1199.100000000000000001"), currency="USDT")


async def test_a_spot_position_is_the_coins_that_are_owned() -> None:
    async with connected(BINANCE, BALANCES) as (broker, _):
        assert await broker.position(Market("BTC/USDT")) == 2


@pytest.mark.parametrize("junk", ["<html>", "", {}, "junk"])
async def test_junk_is_no_balance(junk: object) -> None:
    async with connected(BINANCE, {"GET /api/v3/account": Reply(junk)}) as (broker, _):
        with pytest.raises(LookUpUnavailable):
            await broker.account()
        with pytest.raises(LookUpUnavailable):
            await broker.position(Market("BTC/USDT"))


@pytest.mark.parametrize(
    ("size", "expected"), [("-1.25", "-1.25"), ("0.000000000000000001", "1e-18"), ("0", "0")]
)
async def test_a_swap_position_is_signed_and_exact(size: str, expected: str) -> None:
    row = {
        "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": size, "entryPrice": "100", "markPrice": "100",
        "unRealizedProfit": "0", "liquidationPrice": "0", "isolatedMargin": "0", "notional": size, "marginAsset": "USDT",
        "isolatedWallet": "0", "initialMargin": "1", "maintMargin": "1", "updateTime": 1_780_000_000_000,
        "leverage": "10", "marginType": "cross",
    }  # fmt: skip
    routes: dict[str, Answering] = {
        "GET /fapi/v3/positionRisk": Reply([row]),
        "GET /fapi/v2/positionRisk": Reply([row]),
        "GET /fapi/v1/leverageBracket": Reply([{"symbol": "BTCUSDT", "brackets": []}]),
    }
    async with connected(BINANCE_SWAP, routes) as (broker, _):
        assert await broker.position(Market("BTC/USDT:USDT")) == Decimal(expected)


async def test_a_bybit_swap_position_is_signed() -> None:
    row = {
        "symbol": "BTCUSDT",
        "side": "Sell",
        "size": "2.5",
        "avgPrice": "100",
        "positionIdx": 0,
        "leverage": "10",
    }
    answer = Reply({"retCode": 0, "retMsg": "OK", "result": {"category": "linear", "list": [row]}, "time": 1})
    async with connected(BYBIT_SWAP, {"GET /v5/position/list": answer}) as (broker, _):
        assert await broker.position(Market("BTC/USDT:USDT")) == Decimal("-2.5")


async def test_the_equity_of_bybit_s_swaps_counts_what_is_open() -> None:
    coin = {"coin": "USDT", "equity": "90.000000000000000001", "walletBalance": "100", "locked": "0"}
    account = {"accountType": "UNIFIED", "totalEquity": "90", "coin": [coin]}
    answer = Reply({"retCode": 0, "retMsg": "OK", "result": {"list": [account]}, "time": 1})
    async with connected(BYBIT_SWAP, {"GET /v5/account/wallet-balance": answer}) as (broker, _):
        assert await broker.account() == Balance(equity=Decimal("90.000000000000000001"), currency="USDT")


async def test_the_last_price() -> None:
    async with connected(BINANCE, {"GET /api/v3/ticker/24hr": Reply(TICKER)}) as (broker, _):
        assert await broker.price(Market("BTC/USDT")) == Decimal("99.5")
        assert await broker.price(Market("NONE/USDT")) is None


@pytest.mark.parametrize("symbol", [None, Market("BTC/USDT")])
async def test_what_rests(symbol: Market | None) -> None:
    async with connected(BINANCE, {"GET /api/v3/openOrders": Reply([RESTING, STOP])}) as (broker, _):
        found = await broker.open_orders(symbol)
        assert found is not None
        ours, stop = found
        assert (ours.order_id, ours.client_order_id, ours.side, ours.type) == (
            "11",
            ID,
            Side.SELL,
            OrderType.LIMIT,
        )
        assert (ours.quantity, ours.filled_quantity, ours.limit_price) == (2, Decimal("0.5"), 90)
        assert (stop.client_order_id, stop.type, stop.stop_price, stop.limit_price) == (
            None,
            OrderType.STOP,
            80,
            None,
        )


async def test_orders_are_cancelled_by_the_exchange_s_ids_and_nothing_else_is() -> None:
    def cancel(asked: Asked) -> Reply:
        if asked.values()["orderId"] == "12":
            return Reply({"code": -2011, "msg": "Unknown order sent."}, 400)
        return Reply({**RESTING, "status": "CANCELED"})

    async with connected(BINANCE, {"DELETE /api/v3/order": cancel}) as (broker, server):
        await broker.cancel_open(Market("BTC/USDT"), ["11", "12", "13"], lambda: True)
        assert [one.values()["orderId"] for one in server.of("DELETE /api/v3/order")] == ["11", "12", "13"]
        await broker.cancel_open(Market("BTC/USDT"), [], lambda: True)
        assert len(server.of("DELETE /api/v3/order")) == 3


async def test_a_cancel_of_a_lane_that_is_no_longer_ours_is_not_sent() -> None:
    async with connected(BINANCE, {}) as (broker, server):
        with pytest.raises(BrokerUnavailable, match="no longer ours"):
            await broker.cancel_open(Market("BTC/USDT"), ["11"], lambda: False)
        assert server.of("DELETE /api/v3/order") == []


async def test_a_cancel_without_an_answer_is_unknown() -> None:
    async with connected(BINANCE, {"DELETE /api/v3/order": Drop()}) as (broker, _):
        with pytest.raises(OrderOutcomeUnknown):
            await broker.cancel_open(Market("BTC/USDT"), ["11"], lambda: True)


async def test_a_market_of_the_other_kind_is_none_of_the_account_s() -> None:
    async with connected(BINANCE, taking(BINANCE)) as (broker, server):
        sent = request(BINANCE)
        for symbol in ("BTC/USDT:USDT", "BTCUSDT", "NONE/USDT"):
            other = type(sent)(
                **{**{f: getattr(sent, f) for f in sent.__struct_fields__}, "symbol": Market(symbol)}
            )
            with pytest.raises(OrderRejected, match="no spot market"):
                await broker.place(other, lambda: True)
        assert server.of(BINANCE.order) == []


@pytest.mark.parametrize(
    ("plan", "sent"),
    [
        ({"type": OrderType.LIMIT, "limit_price": Decimal("100.019")}, {"type": "LIMIT", "price": "100.01"}),
        (
            {"type": OrderType.LIMIT, "limit_price": Decimal("100.011"), "side": Side.SELL},
            {"type": "LIMIT", "price": "100.02"},
        ),
        ({"type": OrderType.STOP, "stop_price": Decimal(90)}, {"type": "STOP_LOSS", "stopPrice": "90"}),
        (
            {"type": OrderType.STOP_LIMIT, "stop_price": Decimal(90), "limit_price": Decimal(89)},
            {"type": "STOP_LOSS_LIMIT", "stopPrice": "90", "price": "89"},
        ),
        (
            {"type": OrderType.LIMIT, "limit_price": Decimal(90), "time_in_force": "ioc"},
            {"type": "LIMIT", "timeInForce": "IOC"},
        ),
        ({}, {"type": "MARKET", "quantity": "1.5"}),
    ],
    ids=str,
)
async def test_every_kind_of_order_leaves_as_it_was_meant(
    plan: dict[str, object], sent: dict[str, str]
) -> None:
    async with connected(BINANCE, taking(BINANCE)) as (broker, server):
        await broker.place(request(BINANCE, **plan), lambda: True)  # type: ignore[arg-type]
        (asked,) = server.of(BINANCE.order)
        values = asked.values()
        assert {key: values[key] for key in sent} == sent
        assert "quoteOrderQty" not in values


async def test_a_swap_order_carries_its_exits_and_reduces_only() -> None:
    async with connected(BYBIT_SWAP, taking(BYBIT_SWAP)) as (broker, server):
        await broker.place(
            request(BYBIT_SWAP, take_profit=Decimal(120), stop_loss=Decimal("90.005")), lambda: True
        )
        await broker.place(
            request(
                BYBIT_SWAP, side=Side.SELL, reduce_only=True, type=OrderType.STOP, stop_price=Decimal(80)
            ),
            lambda: True,
        )
        first, second = (asked.values() for asked in server.of(BYBIT_SWAP.order))
        assert (first["takeProfit"], first["stopLoss"]) == ("120", "90")
        assert (second["reduceOnly"], second["triggerPrice"], second["triggerDirection"]) == (True, "80", 2)


@pytest.mark.parametrize(
    ("number", "plan"),
    [
        (0, {"take_profit": Decimal(120)}),
        (0, {"reduce_only": True}),
        (0, {"type": OrderType.LIMIT, "limit_price": Decimal(90), "time_in_force": "day"}),
        (1, {"type": OrderType.STOP, "stop_price": Decimal(90)}),
        (5, {"type": OrderType.MARKET}),
        (7, {"type": OrderType.MARKET}),
        (8, {"type": OrderType.STOP, "stop_price": Decimal(90)}),
        (0, {"quantity": Decimal("1e-19")}),
        (0, {"quantity": Decimal(10_000)}),
        (0, {"quantity": Decimal("0.01"), "reference_price": Decimal(100)}),
        (0, {"type": OrderType.LIMIT, "limit_price": Decimal("0.001")}),
    ],
    ids=str,
)
async def test_what_an_exchange_does_not_take_is_refused_before_it_is_sent(
    number: int, plan: dict[str, object]
) -> None:
    exchange = EXCHANGES[number]
    async with connected(exchange, taking(exchange)) as (broker, server):
        with pytest.raises(OrderRejected):
            await broker.place(request(exchange, **plan), lambda: True)  # type: ignore[arg-type]
        assert server.of(exchange.order) == []


def test_the_table_is_of_both_kinds_of_market() -> None:
    assert SWAP is MarketType.SWAP
