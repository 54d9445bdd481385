from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, ExitLevel, QuantityUnit, TimeInForce
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "algo_trade_analytics"

EXAMPLE = b"""{"auth_key":"ata-demo-77","ticker":"MSFT","positionDirection":"entryLong","orderType":"stop_limit","qty":15,"marketPrice":417.2,"stopPrice":418.0,"limitPrice":418.6,
 "metadata":{"timestamp":"2026-11-03T14:30:05Z","strategy":"Range Break","signal":"Upper band"}}"""

SMALLEST = {"auth_key": "ata-demo-77", "ticker": "MSFT", "positionDirection": "entryLong"}


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "ata-demo-77"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.BUY,
        symbol="MSFT",
        quantity=Decimal(15),
        order_type=OrderType.STOP_LIMIT,
        stop_price=Decimal("418.0"),
        limit_price=Decimal("418.6"),
        price=Decimal("417.2"),
        strategy="Range Break",
        fired_at_ms=1_793_716_205_000,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "quantity": Decimal(1), "order_type": OrderType.MARKET}),
        ({"positionDirection": "entryShort"}, {"action": Action.SELL}),
        ({"positionDirection": "exitLong", "qty": 3}, {"action": Action.CLOSE_LONG, "quantity": Decimal(3)}),
        ({"positionDirection": "EXITSHORT"}, {"action": Action.CLOSE_SHORT}),
        ({"positionDirection": ..., "direction": "long"}, {"action": Action.BUY}),
        ({"positionDirection": ..., "direction": "Short"}, {"action": Action.SELL}),
        ({"direction": "long"}, {"action": Action.BUY}),
        ({"positionDirection": "exitShort", "direction": "short"}, {"action": Action.CLOSE_SHORT}),
        ({"qty": "2.5"}, {"quantity": Decimal("2.5"), "unit": QuantityUnit.UNITS}),
        ({"notional": 1500}, {"quantity": Decimal(1500), "unit": QuantityUnit.QUOTE}),
        (
            {"orderType": "LIMIT", "limitPrice": "416"},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal(416)},
        ),
        ({"orderType": "stop", "stopPrice": 418}, {"order_type": OrderType.STOP, "stop_price": Decimal(418)}),
        ({"marketPrice": "417.2"}, {"price": Decimal("417.2")}),
        (
            {"profitTarget": 430, "stopLossTarget": "410.5"},
            {"take_profit": ExitLevel(Decimal(430)), "stop_loss": ExitLevel(Decimal("410.5"))},
        ),
        ({"timeInForce": "GTC"}, {"time_in_force": TimeInForce.GTC}),
        ({"extendedHours": True}, {"time_in_force": None}),
        ({"metadata": {"signal": "Upper band"}}, {"strategy": None, "fired_at_ms": None}),
        ({"metadata": None}, {"strategy": None}),
        ({"trailPrice": None, "trailPercent": ""}, {"action": Action.BUY}),
    ],
)
def test_what_the_vendor_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(SMALLEST | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"ticker": ...}, "missing_field", "ticker"),
        ({"positionDirection": "hold"}, "invalid_action", "positionDirection"),
        ({"positionDirection": ""}, "missing_field", "direction"),
        ({"positionDirection": ..., "direction": "flat"}, "invalid_action", "direction"),
        ({"direction": "short"}, "contradiction", "direction"),
        ({"positionDirection": "exitLong", "direction": "short"}, "contradiction", "direction"),
        ({"qty": 0}, "invalid_number", "qty"),
        ({"qty": ""}, "invalid_number", "qty"),
        ({"qty": 1, "notional": 1500}, "contradiction", "notional"),
        ({"orderType": "limit"}, "missing_field", "limitPrice"),
        ({"orderType": "stop_limit", "limitPrice": 418.6}, "missing_field", "stopPrice"),
        ({"orderType": "stop"}, "missing_field", "stopPrice"),
        ({"orderType": "limit", "limitPrice": 416, "stopPrice": 418}, "contradiction", "stopPrice"),
        ({"limitPrice": 416}, "contradiction", "limitPrice"),
        ({"orderType": "trailing_stop", "trailPercent": ...}, "not_supported", "orderType"),
        ({"orderType": "iceberg"}, "invalid_value", "orderType"),
        ({"trailPrice": 2}, "not_supported", "trailPrice"),
        ({"trailPercent": "1"}, "not_supported", "trailPercent"),
        ({"positionDirection": "exitLong", "profitTarget": 430}, "contradiction", "profitTarget"),
        ({"positionDirection": "exitShort", "stopLossTarget": 430}, "contradiction", "stopLossTarget"),
        ({"profitTarget": -1}, "invalid_number", "profitTarget"),
        ({"timeInForce": "soon"}, "invalid_value", "timeInForce"),
        ({"metadata": "Range Break"}, "wrong_type", "metadata"),
        ({"metadata": {"timestamp": "now"}}, "invalid_time", "metadata.timestamp"),
        ({"metadata": {"strategy": "{{strategy.name}}"}}, "unfilled_placeholder", "metadata.strategy"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(SMALLEST | changes, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("auth_key", [..., None, "", 77, "a,b=c;{}"])
def test_it_is_recognised_whatever_its_credential_is(auth_key: Any) -> None:
    assert read(SMALLEST | {"auth_key": auth_key}, NAME).symbol == "MSFT"


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("entryLong", Action.BUY),
        ("entryShort", Action.SELL),
        ("exitLong", Action.CLOSE_LONG),
        ("exitShort", Action.CLOSE_SHORT),
    ],
)
def test_its_template_is_read_as_its_own(message: str, action: Action) -> None:
    document = document_of(filled(NAME, strategy__order__alert_message=message), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.symbol, content.quantity) == (action, "BTCUSDT.P", Decimal("0.25"))
    assert content.fired_at_ms == 1_793_697_301_000
