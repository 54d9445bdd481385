from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, ExitLevel, ExitUnit, QuantityUnit
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "tv_hub"

EXAMPLE = b'{"token":"5f0d2a11-0000-4000-8000-0a0b0c0d0e0f","apiKey":"main-futures","exchange":"binance-futures","pair":"BTCUSDT","isSell":true,"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,"alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}'

COMMAND = {"token": "5f0d2a11", "apiKey": "main", "exchange": "bybit", "pair": "BTCUSDT"}
BUY = COMMAND | {"isBuy": True, "units": 0.05}
CLOSE = COMMAND | {"isClose": True}


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "5f0d2a11-0000-4000-8000-0a0b0c0d0e0f"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.SELL,
        symbol="BTCUSDT",
        exchange="binance-futures",
        quantity=Decimal("0.05"),
        sender_id="BTCUSDT-2026-11-03T09:15:01Z",
    )


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ({"isBuy": True}, Action.BUY),
        ({"isSell": "true", "isBuy": "false", "isClose": False}, Action.SELL),
        ({"isClose": True}, Action.CLOSE_ALL),
        ({"isClose": True, "isBuy": True}, Action.CLOSE_SHORT),
        ({"isClose": True, "isSell": True}, Action.CLOSE_LONG),
        ({"closeLong": True}, Action.CLOSE_LONG),
        ({"closeShort": True}, Action.CLOSE_SHORT),
        ({"isClose": True, "closeLong": True}, Action.CLOSE_LONG),
        ({"isClose": True, "closeShort": True}, Action.CLOSE_SHORT),
        ({"isClose": True, "isSell": True, "closeLong": True}, Action.CLOSE_LONG),
        ({"closeLong": True, "closeShort": True}, Action.CLOSE_ALL),
        ({"orderType": "buy"}, Action.BUY),
        ({"orderType": "SELL", "isSell": True}, Action.SELL),
        ({"orderType": "close"}, Action.CLOSE_ALL),
        ({"orderType": "sell", "isClose": True}, Action.CLOSE_LONG),
        ({"orderType": "sell", "strategyComment": "Close entry(s) order Long"}, Action.CLOSE_LONG),
        ({"isBuy": True, "strategyComment": "EXIT"}, Action.CLOSE_SHORT),
        ({"isBuy": True, "strategyComment": "breakout"}, Action.BUY),
    ],
)
def test_the_directions_say_together_what_to_do(said: dict[str, Any], action: Action) -> None:
    assert read(COMMAND | said, NAME).action is action


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BUY, {"order_type": OrderType.MARKET, "quantity": Decimal("0.05"), "unit": QuantityUnit.UNITS}),
        (BUY | {"units": "0.050", "unitsType": "Absolute"}, {"quantity": Decimal("0.050")}),
        (BUY | {"units": ...}, {"quantity": None}),
        (
            BUY | {"unitsType": "percent", "unitsPercent": 10, "units": 0},
            {"quantity": Decimal(10), "unit": QuantityUnit.PERCENT_OF_EQUITY},
        ),
        (
            BUY | {"unitsType": "percent", "units": 10, "leverage": 1},
            {"quantity": Decimal(10), "unit": QuantityUnit.PERCENT_OF_EQUITY},
        ),
        (BUY | {"unitsType": "percentBalance", "units": 5}, {"unit": QuantityUnit.PERCENT_OF_EQUITY}),
        (BUY | {"unitsType": "percentWallet", "units": 5}, {"unit": QuantityUnit.PERCENT_OF_EQUITY}),
        (
            CLOSE | {"unitsType": "percentPosition", "units": 50},
            {"quantity": Decimal(50), "unit": QuantityUnit.PERCENT_OF_POSITION},
        ),
        (CLOSE | {"units": 0}, {"quantity": None}),
        (CLOSE | {"units": 0.02}, {"quantity": Decimal("0.02")}),
        (
            BUY | {"useFixedSize": True, "fixedQuoteSize": 100},
            {"quantity": Decimal(100), "unit": QuantityUnit.QUOTE},
        ),
        (
            BUY | {"isLimit": True, "price": "68000.5"},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("68000.5"), "price": None},
        ),
        (
            BUY | {"isMarket": True, "isLimit": False, "price": 68000},
            {"order_type": OrderType.MARKET, "limit_price": None, "price": Decimal(68000)},
        ),
        (
            BUY | {"stopLossType": "percent", "stopLossPercent": "1.5"},
            {"stop_loss": ExitLevel(Decimal("1.5"), ExitUnit.PERCENT)},
        ),
        (BUY | {"stopLossPercent": 2}, {"stop_loss": ExitLevel(Decimal(2), ExitUnit.PERCENT)}),
        (
            BUY | {"targetType": "percent", "targets": [{"takeProfitPercent": 3, "amount": 100}]},
            {"take_profit": ExitLevel(Decimal(3), ExitUnit.PERCENT)},
        ),
        (BUY | {"targets": []}, {"take_profit": None}),
        (BUY | {"targets": None}, {"take_profit": None}),
        (BUY | {"leverage": 5, "marginType": "isolated"}, {"quantity": Decimal("0.05")}),
        (BUY | {"delay": 0, "retries": 3, "postOnly": True}, {"action": Action.BUY}),
        (BUY | {"chaseLimitOrder": False, "useDca": "false", "hedgeMode": False}, {"action": Action.BUY}),
        (CLOSE | {"closeLong": True, "hedgeMode": True}, {"action": Action.CLOSE_LONG}),
        (BUY | {"alertTimestamp": "a-1"}, {"sender_id": "a-1"}),
    ],
)
def test_what_the_vendor_documents_is_read(body: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(body, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


TWO_TARGETS = [{"takeProfitPercent": 3, "amount": 50}, {"takeProfitPercent": 5, "amount": 50}]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (BUY | {"pair": ""}, "missing_field", "pair"),
        (COMMAND | {"isBuy": False}, "missing_field", "isBuy"),
        (COMMAND | {"orderType": "hold"}, "invalid_action", "orderType"),
        (BUY | {"isSell": True}, "contradiction", "isSell"),
        (CLOSE | {"isBuy": True, "isSell": True}, "contradiction", "isSell"),
        (BUY | {"orderType": "sell"}, "contradiction", "orderType"),
        (BUY | {"closeLong": True}, "contradiction", "closeLong"),
        (BUY | {"closeShort": True}, "contradiction", "closeShort"),
        (CLOSE | {"isBuy": True, "closeLong": True}, "contradiction", "closeLong"),
        (BUY | {"isBuy": "maybe"}, "invalid_value", "isBuy"),
        (BUY | {"units": 0}, "invalid_number", "units"),
        (BUY | {"units": ""}, "invalid_number", "units"),
        (BUY | {"unitsType": "risk"}, "not_supported", "unitsType"),
        (BUY | {"unitsType": "lots"}, "invalid_value", "unitsType"),
        (BUY | {"unitsType": "percentPosition"}, "contradiction", "unitsType"),
        (CLOSE | {"unitsType": "percent", "unitsPercent": 50}, "not_supported", "unitsType"),
        (BUY | {"unitsType": "percent", "unitsPercent": 10, "leverage": 5}, "not_supported", "leverage"),
        (BUY | {"useFixedSize": True}, "missing_field", "fixedQuoteSize"),
        (BUY | {"useEntireAccountBalance": True}, "not_supported", "useEntireAccountBalance"),
        (BUY | {"isLimit": True}, "missing_field", "price"),
        (BUY | {"isLimit": True, "isMarket": True, "price": 1}, "contradiction", "isLimit"),
        (BUY | {"stopLossType": "absolute", "stopLoss": 67000}, "not_supported", "stopLossType"),
        (BUY | {"stopLossType": "percent"}, "missing_field", "stopLossPercent"),
        (CLOSE | {"stopLossPercent": 2}, "contradiction", "stopLossPercent"),
        (BUY | {"targets": TWO_TARGETS}, "not_supported", "targets"),
        (BUY | {"targets": [{"takeProfitPercent": 3, "amount": 50}]}, "not_supported", "targets[0].amount"),
        (BUY | {"targets": [{"amount": 100}]}, "missing_field", "targets[0].takeProfitPercent"),
        (BUY | {"targets": {"takeProfitPercent": 3}}, "wrong_type", "targets"),
        (BUY | {"targets": [3]}, "wrong_type", "targets"),
        (
            BUY | {"targetType": "absolute", "targets": [{"takeProfitPercent": 3}]},
            "not_supported",
            "targetType",
        ),
        (CLOSE | {"targets": [{"takeProfitPercent": 3}]}, "contradiction", "targets"),
        (BUY | {"delay": 60}, "not_supported", "delay"),
        (BUY | {"chaseLimitOrder": True}, "not_supported", "chaseLimitOrder"),
        (BUY | {"useDca": True}, "not_supported", "useDca"),
        (BUY | {"hedgeMode": True}, "not_supported", "hedgeMode"),
        (BUY | {"stopLossExpression": "price*0.98"}, "not_supported", "stopLossExpression"),
        (BUY | {"takeProfitExpression": "price*1.02"}, "not_supported", "takeProfitExpression"),
        (BUY | {"alertTimestamp": "{{timestamp}}"}, "unfilled_placeholder", "alertTimestamp"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_field(
    body: dict[str, Any], code: str, field: str
) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("token", [..., None, "", 5, "a,b=c;{}"])
def test_it_is_recognised_whatever_its_credential_is(token: Any) -> None:
    assert read(BUY | {"token": token}, NAME).symbol == "BTCUSDT"


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_its_template_is_read_as_its_own(side: str) -> None:
    document = document_of(filled(NAME, strategy__order__action=side), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.symbol, content.quantity) == (side, "BTCUSDT.P", Decimal("0.25"))
    assert content.sender_id == "BTCUSDT.P-2026-11-03T09:15:01Z-Long"
