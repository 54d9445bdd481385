from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.signing import is_signed
from tests.support.dialect_bodies import document_of, filled, read, refusal

NAME = "lesson5"

EXAMPLE = b'{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}'

SMALLEST = {"symbol": "ETHUSDT", "side": "SELL", "size": 0.25, "client_ref": "r-1"}


def test_the_guides_example_is_read() -> None:
    assert read(EXAMPLE, NAME) == AlertContent(
        dialect=NAME,
        action=Action.BUY,
        symbol="ETHUSDT",
        exchange="binance",
        quantity=Decimal("0.25"),
        price=Decimal("2411.35"),
        strategy="meanrev-2",
        sender_id="tv_2026-11-03T09:15:00Z_L1",
    )


def test_its_credential_is_the_signature_in_the_header() -> None:
    dialect = BY_NAME[NAME]
    document = document_of(EXAMPLE, NAME)
    assert dialect.credential is None
    assert dialect.is_signed
    assert document.is_signed
    assert document.credential == ""


def test_the_guides_signature_is_that_of_its_example() -> None:
    signature = "722966ba10d538cfc3f07be1879f8142247a678b59281423ba27470c26ac4bc6"
    assert is_signed("demo-signing-key", EXAMPLE, signature)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.SELL, "quantity": Decimal("0.25"), "sender_id": "r-1"}),
        ({"side": "buy"}, {"action": Action.BUY}),
        ({"side": "Sell", "signal": "sell"}, {"action": Action.SELL}),
        ({"signal": None}, {"action": Action.SELL}),
        ({"size": "0.250"}, {"quantity": Decimal("0.250")}),
        ({"price": "2411.35"}, {"price": Decimal("2411.35")}),
        ({"exchange": "BINANCE"}, {"exchange": "BINANCE"}),
        ({"strategy": ""}, {"strategy": None}),
        ({"comment": "kept in the raw alert"}, {"action": Action.SELL}),
    ],
)
def test_what_the_guide_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(SMALLEST | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"symbol": ...}, "missing_field", "symbol"),
        ({"side": None}, "missing_field", "side"),
        ({"size": None}, "missing_field", "size"),
        ({"client_ref": ""}, "missing_field", "client_ref"),
        ({"side": "hold"}, "invalid_action", "side"),
        ({"signal": "hold"}, "invalid_action", "signal"),
        ({"signal": "BUY"}, "contradiction", "signal"),
        ({"size": 0}, "invalid_number", "size"),
        ({"size": "-1"}, "invalid_number", "size"),
        ({"price": "NaN"}, "invalid_number", "price"),
        ({"client_ref": "{{strategy.order_id}}"}, "unfilled_placeholder", "client_ref"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(SMALLEST | changes, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_its_template_is_read_as_its_own(side: str) -> None:
    content = read(filled(NAME, strategy__order__action=side), NAME)
    assert content.action == side
    assert (content.symbol, content.quantity) == ("BTCUSDT.P", Decimal("0.25"))
    assert content.sender_id == "BTCUSDT.P-2026-11-03T09:15:01Z-Long"
