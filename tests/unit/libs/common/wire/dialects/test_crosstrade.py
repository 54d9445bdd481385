from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import (
    Action,
    AlertContent,
    ExitLevel,
    MarketPosition,
    QuantityUnit,
    TimeInForce,
)
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "crosstrade"

EXAMPLE = "key=xt-demo; command=PLACE; account=Sim101; instrument=MNQ 12-26; action=SELL; qty=2; order_type=MARKET; tif=DAY; flatten_first=true; take_profit=20780; stop_loss=20895; rate_limit=1/60; id=mnq-a;"

SMALLEST = {"key": "xt-demo", "command": "PLACE", "instrument": "MNQ 12-26", "action": "BUY", "qty": "2"}


def body(**changes: Any) -> str:
    values = {**SMALLEST, **changes}
    return ";\n".join(f"{name}={value}" for name, value in values.items() if value is not ...) + ";"


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "xt-demo"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.TARGET,
        position=MarketPosition.SHORT,
        symbol="MNQ 12-26",
        quantity=Decimal(2),
        take_profit=ExitLevel(Decimal(20780)),
        stop_loss=ExitLevel(Decimal(20895)),
        time_in_force=TimeInForce.DAY,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "quantity": Decimal(2), "unit": QuantityUnit.UNITS, "position": None}),
        ({"action": "sell"}, {"action": Action.SELL}),
        ({"command": "place", "flatten_first": "false"}, {"action": Action.BUY}),
        ({"command": "FLATPLACE"}, {"action": Action.TARGET, "position": MarketPosition.LONG}),
        (
            {"order_type": "LIMIT", "limit_price": "20800.25"},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("20800.25")},
        ),
        (
            {"order_type": "STOPMARKET", "stop_price": "20900"},
            {"order_type": OrderType.STOP, "stop_price": Decimal(20900)},
        ),
        (
            {"order_type": "STOPLIMIT", "stop_price": "20900", "limit_price": "20901"},
            {"order_type": OrderType.STOP_LIMIT, "stop_price": Decimal(20900), "limit_price": Decimal(20901)},
        ),
        ({"tif": "GTC"}, {"time_in_force": TimeInForce.GTC}),
        ({"command": "CLOSEPOSITION", "qty": ...}, {"action": Action.CLOSE_ALL, "quantity": None}),
        ({"command": "CLOSEPOSITION", "qty": "1"}, {"action": Action.CLOSE_ALL, "quantity": Decimal(1)}),
        ({"command": "flatten"}, {"action": Action.CLOSE_ALL, "quantity": None}),
        ({"command": "CANCELORDERS"}, {"action": Action.CANCEL, "quantity": None}),
        ({"command": "CANCEL"}, {"action": Action.CANCEL}),
    ],
)
def test_what_it_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(body(**changes), NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"command": ""}, "missing_field", "command"),
        ({"command": "BUY"}, "invalid_action", "command"),
        ({"command": "{{strategy.order.comment}}"}, "unfilled_placeholder", "command"),
        ({"command": "REVERSE"}, "not_supported", "command"),
        ({"command": "REVERSEPOSITION"}, "not_supported", "command"),
        ({"command": "FLATTENEVERYTHING"}, "not_supported", "command"),
        ({"command": "CANCELALLORDERS"}, "not_supported", "command"),
        ({"command": "cancel_replace"}, "not_supported", "command"),
        ({"command": "CANCELANDBRACKET"}, "not_supported", "command"),
        ({"command": "CHANGE"}, "not_supported", "command"),
        ({"command": "CANCELORDERS", "instrument": ...}, "missing_field", "instrument"),
        ({"command": "FLATTEN", "instrument": ...}, "missing_field", "instrument"),
        ({"command": "CANCEL", "order_id": "a1"}, "not_supported", "order_id"),
        ({"action": "close"}, "invalid_action", "action"),
        ({"action": ...}, "missing_field", "action"),
        ({"qty": ...}, "missing_field", "qty"),
        ({"qty": "0"}, "invalid_number", "qty"),
        ({"qty": ""}, "invalid_number", "qty"),
        ({"qty": "{{strategy.order.contracts}}"}, "unfilled_placeholder", "qty"),
        ({"order_type": "LIMIT"}, "missing_field", "limit_price"),
        ({"order_type": "STOPLIMIT", "limit_price": "1"}, "missing_field", "stop_price"),
        ({"order_type": "TRAIL"}, "invalid_value", "order_type"),
        ({"tif": "IOC"}, "invalid_value", "tif"),
        ({"take_profit": "2%"}, "not_supported", "take_profit"),
        ({"stop_loss": "40 ticks"}, "not_supported", "stop_loss"),
        ({"stop_loss": "{{plot_0}}"}, "unfilled_placeholder", "stop_loss"),
        ({"stop_loss_stop": "20700"}, "not_supported", "stop_loss_stop"),
        ({"flatten_first": "maybe"}, "invalid_value", "flatten_first"),
        ({"require_market_position": "flat"}, "not_supported", "require_market_position"),
        ({"max_positions": "1"}, "not_supported", "max_positions"),
        ({"delay": "5"}, "not_supported", "delay"),
        ({"kill_switch": "on"}, "not_supported", "kill_switch"),
        ({"strategy": "ATM 1"}, "not_supported", "strategy"),
        ({"append_atm": "true"}, "not_supported", "append_atm"),
        ({"QTY": "3"}, "repeated_field", "qty"),
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
