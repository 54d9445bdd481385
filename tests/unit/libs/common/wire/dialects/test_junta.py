from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, MarketPosition, QuantityUnit
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "junta"

EXAMPLE = b'{"exchange":"hyperliquid","strategy":"donchian-4h","market":"ETH_USD","sizeUsd":1500,"order":"sell","position":"short","price":2405.1,"reverse":true,"passphrase":"junta-demo"}'

SMALLEST = {"strategy": "donchian-4h", "market": "ETH-USD", "order": "buy", "reverse": False}

LONG, SHORT, FLAT = MarketPosition.LONG, MarketPosition.SHORT, MarketPosition.FLAT


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "junta-demo"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.TARGET,
        symbol="ETH_USD",
        exchange="hyperliquid",
        quantity=Decimal(1500),
        unit=QuantityUnit.QUOTE,
        price=Decimal("2405.1"),
        strategy="donchian-4h",
        position=SHORT,
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "quantity": None, "position": None}),
        ({"order": "SELL", "size": "0.01"}, {"action": Action.SELL, "quantity": Decimal("0.01")}),
        (
            {"position": "long", "size": 0.01},
            {"action": Action.TARGET, "position": LONG, "quantity": Decimal("0.01")},
        ),
        ({"direction": "long"}, {"action": Action.TARGET, "position": LONG}),
        ({"position": "LONG", "direction": "long"}, {"position": LONG}),
        (
            {"order": "sell", "direction": "short", "reverse": "true"},
            {"action": Action.TARGET, "position": SHORT},
        ),
        (
            {"position": "flat", "sizeUsd": 1500},
            {"action": Action.TARGET, "position": FLAT, "quantity": None, "unit": QuantityUnit.UNITS},
        ),
        ({"order": "sell", "position": "flat", "size": 0}, {"position": FLAT, "quantity": None}),
        ({"sizeUsd": "1500.5"}, {"quantity": Decimal("1500.5"), "unit": QuantityUnit.QUOTE}),
        ({"sizeByLeverage": 2}, {"quantity": Decimal(200), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        ({"sizeByLeverage": "0.125"}, {"quantity": Decimal("12.5"), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        (
            {"sizeByLeverage": "1.234567890123456789012345678901"},
            {"quantity": Decimal("123.4567890123456789012345678901")},
        ),
        ({"price": 2405.1}, {"price": Decimal("2405.1")}),
        ({"exchange": "dydxv4"}, {"exchange": "dydxv4"}),
        ({"collateral": "USDC", "slippagePercentage": "0.5"}, {"action": Action.BUY}),
        ({"orderMode": "", "reverse": ...}, {"action": Action.BUY}),
    ],
)
def test_what_the_project_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(SMALLEST | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"order": "hold"}, "invalid_action", "order"),
        ({"order": None}, "missing_field", "order"),
        ({"market": ""}, "missing_field", "market"),
        ({"strategy": None}, "missing_field", "strategy"),
        ({"position": "up"}, "invalid_value", "position"),
        ({"position": "short"}, "contradiction", "position"),
        ({"direction": "short"}, "contradiction", "direction"),
        ({"order": "sell", "position": "long"}, "contradiction", "position"),
        ({"position": "long", "direction": "flat"}, "contradiction", "direction"),
        ({"size": 1, "sizeUsd": 1500}, "contradiction", "sizeUsd"),
        ({"sizeUsd": 1500, "sizeByLeverage": 1}, "contradiction", "sizeByLeverage"),
        ({"size": 0}, "invalid_number", "size"),
        ({"sizeUsd": "-1"}, "invalid_number", "sizeUsd"),
        ({"sizeByLeverage": ""}, "invalid_number", "sizeByLeverage"),
        ({"position": "flat", "size": "x"}, "invalid_number", "size"),
        ({"reverse": "perhaps"}, "invalid_value", "reverse"),
        ({"orderMode": "full"}, "not_supported", "orderMode"),
        ({"minProfit": 2}, "not_supported", "minProfit"),
        ({"price": "{{close}}"}, "unfilled_placeholder", "price"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(SMALLEST | changes, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("passphrase", [..., None, "", 4, "a,b=c;{}"])
def test_it_is_recognised_whatever_its_credential_is(passphrase: Any) -> None:
    assert read(SMALLEST | {"passphrase": passphrase}, NAME).symbol == "ETH-USD"


@pytest.mark.parametrize(
    ("side", "position", "size", "quantity"),
    [("buy", "long", "0.25", Decimal("0.25")), ("sell", "flat", "0", None)],
)
def test_its_template_is_read_as_its_own(
    side: str, position: str, size: str, quantity: Decimal | None
) -> None:
    values = {"order__action": side, "market_position": position, "market_position_size": size}
    document = document_of(filled(NAME, **{f"strategy__{name}": one for name, one in values.items()}), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.position, content.quantity) == (Action.TARGET, position, quantity)
