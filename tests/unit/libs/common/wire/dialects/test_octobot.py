from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, ExitLevel, QuantityUnit
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "octobot"

EXAMPLE = "EXCHANGE=binance;SYMBOL=SOLUSDT;SIGNAL=SELL;ORDER_TYPE=LIMIT;VOLUME=50a%;PRICE=162.4;STOP_PRICE=149;REDUCE_ONLY=true;TOKEN=octo-demo"

SMALLEST = {"EXCHANGE": "binance", "SYMBOL": "SOLUSDT", "SIGNAL": "BUY"}


def body(**changes: Any) -> str:
    values = {**SMALLEST, **changes}
    return "\n".join(f"{name}={value}" for name, value in values.items() if value is not ...)


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "octo-demo"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.SELL,
        symbol="SOLUSDT",
        exchange="binance",
        quantity=Decimal(50),
        unit=QuantityUnit.PERCENT_OF_POSITION,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("162.4"),
        stop_loss=ExitLevel(Decimal(149)),
        reduce_only=True,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "quantity": None, "order_type": OrderType.MARKET, "reduce_only": False}),
        ({"SIGNAL": "sell"}, {"action": Action.SELL}),
        ({"SYMBOL": "SOLUSDT.P"}, {"symbol": "SOLUSDT.P"}),
        ({"VOLUME": "0.5"}, {"quantity": Decimal("0.5"), "unit": QuantityUnit.UNITS}),
        ({"VOLUME": "2%"}, {"quantity": Decimal(2), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        (
            {"SIGNAL": "sell", "VOLUME": "10s%"},
            {"quantity": Decimal(10), "unit": QuantityUnit.PERCENT_OF_POSITION},
        ),
        (
            {"SIGNAL": "sell", "VOLUME": "12 A%"},
            {"quantity": Decimal(12), "unit": QuantityUnit.PERCENT_OF_POSITION},
        ),
        (
            {"SIGNAL": "sell", "VOLUME": "12a%", "TRADING_TYPE": "future", "REDUCE_ONLY": "true"},
            {"unit": QuantityUnit.PERCENT_OF_POSITION, "reduce_only": True},
        ),
        (
            {"ORDER_TYPE": "limit", "PRICE": "160"},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal(160), "price": None},
        ),
        ({"PRICE": "160"}, {"limit_price": None, "price": Decimal(160)}),
        (
            {"ORDER_TYPE": "stop", "STOP_PRICE": "149"},
            {"order_type": OrderType.STOP, "stop_price": Decimal(149), "stop_loss": None},
        ),
        ({"STOP_PRICE": "149"}, {"stop_price": None, "stop_loss": ExitLevel(Decimal(149))}),
        ({"TAKE_PROFIT_PRICE": "180"}, {"take_profit": ExitLevel(Decimal(180))}),
        ({"LEVERAGE": "5", "TAG": "a", "PARAM_X": "y"}, {"action": Action.BUY}),
        ({"SIGNAL": "cancel"}, {"action": Action.CANCEL, "symbol": "SOLUSDT", "exchange": "binance"}),
        ({"signal": "sell", "SIGNAL": ...}, {"action": Action.SELL}),
    ],
)
def test_what_it_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(body(**changes), NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"SIGNAL": "close"}, "invalid_action", "SIGNAL"),
        ({"SIGNAL": ""}, "missing_field", "SIGNAL"),
        ({"SIGNAL": "{{strategy.order.action}}"}, "unfilled_placeholder", "SIGNAL"),
        ({"SYMBOL": ...}, "missing_field", "SYMBOL"),
        ({"EXCHANGE": ...}, "missing_field", "EXCHANGE"),
        ({"VOLUME": "10a%"}, "not_supported", "VOLUME"),
        ({"VOLUME": "10s%"}, "not_supported", "VOLUME"),
        ({"VOLUME": "10t%"}, "not_supported", "VOLUME"),
        ({"SIGNAL": "sell", "VOLUME": "10t%"}, "not_supported", "VOLUME"),
        ({"SIGNAL": "sell", "VOLUME": "10a%", "TRADING_TYPE": "future"}, "not_supported", "VOLUME"),
        ({"VOLUME": "0"}, "invalid_number", "VOLUME"),
        ({"VOLUME": "-1"}, "invalid_number", "VOLUME"),
        ({"VOLUME": "5x"}, "invalid_number", "VOLUME"),
        ({"VOLUME": ""}, "invalid_number", "VOLUME"),
        ({"VOLUME": "NaN"}, "invalid_number", "VOLUME"),
        ({"VOLUME": "{{strategy.order.contracts}}%"}, "unfilled_placeholder", "VOLUME"),
        ({"ORDER_TYPE": "limit"}, "missing_field", "PRICE"),
        ({"ORDER_TYPE": "stop"}, "missing_field", "STOP_PRICE"),
        ({"ORDER_TYPE": "trailing"}, "invalid_value", "ORDER_TYPE"),
        ({"ORDER_TYPE": "limit", "PRICE": "-5%"}, "not_supported", "PRICE"),
        ({"ORDER_TYPE": "limit", "PRICE": "-5d"}, "not_supported", "PRICE"),
        ({"STOP_PRICE": "-2%"}, "not_supported", "STOP_PRICE"),
        ({"TAKE_PROFIT_PRICE": "10d"}, "not_supported", "TAKE_PROFIT_PRICE"),
        ({"TAKE_PROFIT_PRICE_1": "180"}, "not_supported", "TAKE_PROFIT_PRICE_1"),
        ({"TAKE_PROFIT_VOLUME_RATIO_2": "1"}, "not_supported", "TAKE_PROFIT_VOLUME_RATIO_2"),
        ({"TRAILING_PROFILE": "filled_take_profit"}, "not_supported", "TRAILING_PROFILE"),
        ({"CANCEL_POLICY": "x"}, "not_supported", "CANCEL_POLICY"),
        ({"SIGNAL": "cancel", "EXCHANGE_ORDER_IDS": "a"}, "not_supported", "EXCHANGE_ORDER_IDS"),
        ({"SIGNAL": "cancel", "TAG": "a"}, "not_supported", "TAG"),
        ({"REDUCE_ONLY": "maybe"}, "invalid_value", "REDUCE_ONLY"),
        ({"TRADING_TYPE": "margin"}, "invalid_value", "TRADING_TYPE"),
        ({"symbol": "BTCUSDT"}, "repeated_field", "SYMBOL"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_field(
    changes: dict[str, Any], code: str, field: str
) -> None:
    error = refusal(body(**changes), NAME)
    assert (error.code, error.field) == (code, field)


def test_its_template_is_read() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.quantity) == (Action.BUY, Decimal("0.25"))
