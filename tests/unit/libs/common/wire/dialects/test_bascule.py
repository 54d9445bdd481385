from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import (
    Action,
    AlertContent,
    ExitLevel,
    ExitUnit,
    MarketPosition,
    QuantityUnit,
    TimeInForce,
)
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "bascule"

SMALLEST: dict[str, Any] = {"bascule": 1, "secret": "demo", "action": "buy", "symbol": "BTCUSDT"}

WHOLE = {
    **SMALLEST,
    "id": "BTCUSDT-L1",
    "exchange": "BINANCE",
    "quantity": "1.5",
    "unit": "risk_percent",
    "order_type": "stop_limit",
    "limit_price": 68_210,
    "stop_price": "68200.5",
    "take_profit": {"value": "3", "unit": "percent"},
    "stop_loss": 67_000,
    "time_in_force": "gtc",
    "reduce_only": False,
    "price": "68120.5",
    "strategy": "trend",
    "bar_time": "2026-11-03T09:15:00Z",
    "interval": "15",
    "fired_at": "2026-11-03T09:15:01Z",
    "max_age": "60s",
    "position": "long",
    "position_size": "0.7",
    "previous_position": "flat",
    "previous_position_size": 0,
}


def test_everything_that_an_alert_can_say_is_read() -> None:
    document = document_of(WHOLE, NAME)
    assert document.credential == "demo"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.BUY,
        symbol="BTCUSDT",
        sender_id="BTCUSDT-L1",
        exchange="BINANCE",
        quantity=Decimal("1.5"),
        unit=QuantityUnit.RISK_PERCENT,
        order_type=OrderType.STOP_LIMIT,
        limit_price=Decimal(68_210),
        stop_price=Decimal("68200.5"),
        take_profit=ExitLevel(Decimal(3), ExitUnit.PERCENT),
        stop_loss=ExitLevel(Decimal(67_000)),
        time_in_force=TimeInForce.GTC,
        price=Decimal("68120.5"),
        strategy="trend",
        bar_at_ms=1_793_697_300_000,
        interval="15",
        fired_at_ms=1_793_697_301_000,
        max_age_ms=60_000,
        position=MarketPosition.LONG,
        position_size=Decimal("0.7"),
        previous_position=MarketPosition.FLAT,
        previous_position_size=Decimal(0),
    )


def test_it_can_say_all_that_the_model_has() -> None:
    names = set(AlertContent.__struct_fields__) - {"dialect"}
    content = read(WHOLE | {"reduce_only": True}, NAME)
    unsaid = {name for name in names if getattr(content, name) is None}
    assert not unsaid


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"quantity": None, "unit": QuantityUnit.UNITS, "order_type": OrderType.MARKET}),
        ({"bascule": "1"}, {"action": Action.BUY}),
        ({"action": " SELL "}, {"action": Action.SELL}),
        *(
            ({"action": str(one)}, {"action": one})
            for one in (Action.CLOSE_LONG, Action.CLOSE_ALL, Action.CANCEL)
        ),
        ({"action": "target", "position": "short", "quantity": 2}, {"position": MarketPosition.SHORT}),
        ({"action": "target", "position": "flat", "quantity": "0", "unit": "units"}, {"quantity": None}),
        ({"action": "target", "position": "flat", "position_size": "0"}, {"quantity": None}),
        ({"action": "flip", "position": "long"}, {"quantity": None, "position": MarketPosition.LONG}),
        *(
            ({"quantity": 5, "unit": str(one), "stop_loss": 1}, {"quantity": Decimal(5), "unit": one})
            for one in QuantityUnit
        ),
        ({"action": "close_long", "quantity": 50, "unit": "percent_of_position"}, {"quantity": Decimal(50)}),
        ({"action": "close_long", "quantity": 5, "position": "long"}, {"position": MarketPosition.LONG}),
        ({"action": "close_all", "position": "flat"}, {"position": MarketPosition.FLAT}),
        ({"order_type": "limit", "limit_price": 5}, {"limit_price": Decimal(5)}),
        ({"order_type": "stop", "stop_price": 5}, {"stop_price": Decimal(5)}),
        *(
            ({"stop_loss": {"value": 5, "unit": str(one)}}, {"stop_loss": ExitLevel(Decimal(5), one)})
            for one in ExitUnit
        ),
        ({"stop_loss": {"value": "5"}}, {"stop_loss": ExitLevel(Decimal(5))}),
        *(({"time_in_force": one.upper()}, {"time_in_force": one}) for one in TimeInForce),
        ({"reduce_only": "true"}, {"reduce_only": True}),
        ({"max_age": 90}, {"max_age_ms": 90_000}),
        ({"max_age": "1.5"}, {"max_age_ms": 1_500}),
        ({"max_age": "500ms"}, {"max_age_ms": 500}),
        ({"max_age": "2 min"}, {"max_age_ms": 120_000}),
        ({"max_age": "7D"}, {"max_age_ms": 604_800_000}),
        ({"comment": "{{anything}}", "nested": {"a": []}}, {"action": Action.BUY}),
    ],
)
def test_every_word_of_it_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(SMALLEST | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


GOAL = {"action": "target", "position": "long"}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"bascule": 2}, "unknown_version", "bascule"),
        ({"bascule": None}, "unknown_version", "bascule"),
        ({"bascule": "one"}, "invalid_number", "bascule"),
        ({"bascule": True}, "wrong_type", "bascule"),
        ({"action": ...}, "missing_field", "action"),
        ({"action": "hold"}, "invalid_action", "action"),
        ({"action": "{{strategy.order.action}}"}, "unfilled_placeholder", "action"),
        ({"symbol": ...}, "missing_field", "symbol"),
        ({"quantity": 0}, "invalid_number", "quantity"),
        ({"quantity": "NaN"}, "invalid_number", "quantity"),
        ({"quantity": ""}, "invalid_number", "quantity"),
        ({"quantity": 1, "unit": "lots"}, "invalid_value", "unit"),
        ({"unit": "quote"}, "missing_field", "quantity"),
        ({"quantity": 1, "unit": "risk_quote"}, "missing_field", "stop_loss"),
        ({"quantity": 1, "unit": "risk_percent", "take_profit": 5}, "missing_field", "stop_loss"),
        ({"order_type": "trailing_stop"}, "invalid_value", "order_type"),
        ({"order_type": "limit"}, "missing_field", "limit_price"),
        ({"order_type": "stop"}, "missing_field", "stop_price"),
        ({"order_type": "stop_limit", "stop_price": 5}, "missing_field", "limit_price"),
        ({"limit_price": 5}, "contradiction", "limit_price"),
        ({"order_type": "limit", "limit_price": 5, "stop_price": 5}, "contradiction", "stop_price"),
        ({"stop_loss": {}}, "missing_field", "stop_loss.value"),
        ({"stop_loss": {"value": 5, "unit": "pips"}}, "invalid_value", "stop_loss.unit"),
        ({"stop_loss": {"value": "{{plot_0}}"}}, "unfilled_placeholder", "stop_loss.value"),
        ({"stop_loss": [5]}, "wrong_type", "stop_loss"),
        ({"take_profit": 0}, "invalid_number", "take_profit"),
        ({"time_in_force": "gtd"}, "invalid_value", "time_in_force"),
        ({"reduce_only": "maybe"}, "invalid_value", "reduce_only"),
        ({"bar_time": "yesterday"}, "invalid_time", "bar_time"),
        ({"fired_at": "now"}, "invalid_time", "fired_at"),
        ({"max_age": "soon"}, "invalid_duration", "max_age"),
        ({"max_age": "s"}, "invalid_number", "max_age"),
        ({"max_age": "0s"}, "invalid_number", "max_age"),
        ({"max_age": "0.5ms"}, "invalid_duration", "max_age"),
        ({"max_age": "4000d"}, "invalid_duration", "max_age"),
        ({"max_age": "{{timenow}}"}, "unfilled_placeholder", "max_age"),
        ({"action": "target"}, "missing_field", "position"),
        ({"action": "flip", "quantity": 1}, "missing_field", "position"),
        ({"action": "flip", "position": "flat"}, "contradiction", "position"),
        ({"action": "flip", "position": "long", "reduce_only": True}, "contradiction", "reduce_only"),
        (GOAL | {"position": "flat", "quantity": 1}, "contradiction", "quantity"),
        (GOAL | {"position": "flat", "stop_loss": 1}, "contradiction", "stop_loss"),
        (GOAL | {"quantity": 0}, "invalid_number", "quantity"),
        (GOAL | {"position_size": 1}, "contradiction", "position_size"),
        (GOAL | {"quantity": 50, "unit": "percent_of_position"}, "contradiction", "unit"),
        ({"action": "close_all", "position": "long"}, "contradiction", "position"),
        ({"action": "close_long", "position": "short", "quantity": 1}, "contradiction", "position"),
        ({"action": "close_long", "quantity": 1, "unit": "percent_of_equity"}, "contradiction", "unit"),
        ({"action": "close_short", "take_profit": 5}, "contradiction", "take_profit"),
        ({"action": "cancel", "quantity": 1}, "contradiction", "quantity"),
        ({"action": "cancel", "order_type": "limit", "limit_price": 5}, "contradiction", "order_type"),
        ({"position": "flat", "position_size": 1}, "contradiction", "position_size"),
        ({"position": "long", "position_size": 0}, "contradiction", "position_size"),
        (
            {"previous_position": "short", "previous_position_size": "0"},
            "contradiction",
            "previous_position_size",
        ),
        ({"position_size": -1}, "invalid_number", "position_size"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(SMALLEST | changes, NAME)
    assert (error.code, error.field) == (code, field)


def test_another_version_is_named() -> None:
    assert '"bascule" is 2,' in refusal(SMALLEST | {"bascule": 2}, NAME).detail


def test_its_template_is_read() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.quantity, content.position) == (
        Action.BUY,
        Decimal("0.25"),
        MarketPosition.LONG,
    )
