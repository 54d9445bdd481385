from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "nova"

EXAMPLE = b'{"passphrase":"demo-pass-04","action":"close_long","ticker":"SOLUSDT","exchange":"BYBIT","price":151.4,"volume":12.5,"strategy_id":"trend_v3","timeframe":"15","bar_time":"2026-11-03T09:15:01Z"}'

SMALLEST = {
    "passphrase": "demo-pass-04",
    "action": "buy",
    "ticker": "SOLUSDT",
    "exchange": "BYBIT",
    "strategy_id": "trend_v3",
}


def test_the_guides_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "demo-pass-04"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.CLOSE_LONG,
        symbol="SOLUSDT",
        exchange="BYBIT",
        quantity=Decimal("12.5"),
        price=Decimal("151.4"),
        strategy="trend_v3",
        interval="15",
        bar_at_ms=1_793_697_301_000,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "quantity": None, "price": None, "interval": None, "bar_at_ms": None}),
        ({"action": "SELL"}, {"action": Action.SELL}),
        ({"action": "Close_Short", "volume": 2}, {"action": Action.CLOSE_SHORT, "quantity": Decimal(2)}),
        ({"action": "close_all", "volume": 12.5}, {"action": Action.CLOSE_ALL, "quantity": None}),
        ({"price": "65000", "volume": "0.10"}, {"price": Decimal(65_000), "quantity": Decimal("0.10")}),
        ({"exchange": "okx"}, {"exchange": "okx"}),
        ({"exchange": "Bitget"}, {"exchange": "Bitget"}),
        ({"exchange": "KRAKEN"}, {"exchange": "KRAKEN"}),
        ({"timeframe": 60}, {"interval": "60"}),
        ({"bar_time": 1_793_697_300}, {"bar_at_ms": 1_793_697_300_000}),
        ({"bar_time": ""}, {"bar_at_ms": None}),
    ],
)
def test_what_the_guide_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(SMALLEST | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"action": "hold"}, "invalid_action", "action"),
        ({"action": ...}, "missing_field", "action"),
        ({"ticker": ...}, "missing_field", "ticker"),
        ({"exchange": ...}, "missing_field", "exchange"),
        ({"strategy_id": ""}, "missing_field", "strategy_id"),
        ({"price": 0}, "invalid_number", "price"),
        ({"volume": "-1"}, "invalid_number", "volume"),
        ({"volume": ""}, "invalid_number", "volume"),
        ({"action": "close_all", "volume": "x"}, "invalid_number", "volume"),
        ({"bar_time": "yesterday"}, "invalid_time", "bar_time"),
        ({"bar_time": "{{time}}"}, "unfilled_placeholder", "bar_time"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(SMALLEST | changes, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("passphrase", [..., None, "", 4711, "600123450001", "a b,c=d;{}"])
def test_it_is_recognised_whatever_its_credential_is(passphrase: Any) -> None:
    assert read(SMALLEST | {"passphrase": passphrase}, NAME).symbol == "SOLUSDT"


def test_its_template_is_read_as_its_own() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.symbol, content.quantity) == (Action.BUY, "BTCUSDT.P", Decimal("0.25"))
    assert content.bar_at_ms == 1_793_697_300_000
