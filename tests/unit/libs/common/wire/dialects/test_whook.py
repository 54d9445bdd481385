from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, MarketPosition, QuantityUnit
from libs.common.domain.errors import AdmissionError
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.recognition import recognise
from tests.support.dialect_bodies import document_of, filled, read, refusal

NAME = "whook"

FIRST = "acctA ETHUSDT.P pos -1.5 x3"
SECOND = "acctB ETH/USDT buy 250$ x2 limit:e17:2380.5"
EXAMPLE = f"// trend v3, account A\n{FIRST}\n{SECOND}"


def test_the_catalogues_example_is_two_orders_and_one_alert_is_one() -> None:
    error = refusal(EXAMPLE, NAME)
    assert (error.code, error.field) == ("several_orders", "line 2")
    assert "one alert per order" in error.detail


def test_each_line_of_the_catalogues_example_is_read() -> None:
    document = document_of(f"// trend v3, account A\n{FIRST}", NAME)
    assert (document.credential, document.has_place) == ("", False)
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.TARGET,
        position=MarketPosition.SHORT,
        symbol="ETHUSDT.P",
        quantity=Decimal("1.5"),
    )
    assert read(SECOND, NAME) == AlertContent(
        dialect=NAME,
        action=Action.BUY,
        symbol="ETH/USDT",
        quantity=Decimal(500),
        unit=QuantityUnit.QUOTE,
        order_type=OrderType.LIMIT,
        limit_price=Decimal("2380.5"),
    )


@pytest.mark.parametrize("words", list(permutations(["acctA", "ETHUSDT", "buy", "2", "x3"])))
def test_its_words_may_stand_in_any_order(words: tuple[str, ...]) -> None:
    content = read(" ".join(words), NAME)
    assert (content.action, content.symbol, content.quantity) == (Action.BUY, "ETHUSDT", Decimal(2))


@pytest.mark.parametrize("place", ["secret=x1", "password=x1"])
def test_a_credential_may_stand_among_its_words(place: str) -> None:
    assert document_of(f"{place} {FIRST}", NAME).credential == "x1"
    assert document_of(f"{FIRST} {place}", NAME).read().symbol == "ETHUSDT.P"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("ETHUSDT sell 2", {"action": Action.SELL, "quantity": Decimal(2), "unit": QuantityUnit.UNITS}),
        ("AAPL BUY 3@", {"symbol": "AAPL", "quantity": Decimal(3), "unit": QuantityUnit.UNITS}),
        ("ethusdt buy 3", {"symbol": "ethusdt"}),
        ("MAIN ETH/USDT:USDT buy 1", {"symbol": "ETH/USDT:USDT"}),
        ("main MNQ1! buy 1", {"symbol": "MNQ1!"}),
        ("ETHUSDT buy 5%", {"quantity": Decimal(5), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        ("ETHUSDT buy 5% x3 nominal", {"quantity": Decimal(5), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        ("ETHUSDT buy 5% x3 collateral", {"quantity": Decimal(15), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        ("ETHUSDT buy 250$ nominal", {"quantity": Decimal(250), "unit": QuantityUnit.QUOTE}),
        ("ETHUSDT buy 250$ 2.5x", {"quantity": Decimal(625), "unit": QuantityUnit.QUOTE}),
        (
            "ETHUSDT buy 1.0000000000000001$ x1.1000000000001",
            {"quantity": Decimal("1.10000000000010011000000000001")},
        ),
        ("ETHUSDT buy 250$ x2 nominal", {"quantity": Decimal(250), "unit": QuantityUnit.QUOTE}),
        ("ETH/USDT buy 250$", {"quantity": Decimal(250), "unit": QuantityUnit.QUOTE}),
        ("ETHUSDT pos 2", {"position": MarketPosition.LONG, "quantity": Decimal(2)}),
        ("ETHUSDT position -2", {"position": MarketPosition.SHORT, "quantity": Decimal(2)}),
        (
            "ETHUSDT pos -1.000000000000000000000000000001",
            {"quantity": Decimal("1.000000000000000000000000000001")},
        ),
        ("ETHUSDT pos 0", {"action": Action.TARGET, "position": MarketPosition.FLAT, "quantity": None}),
        ("ETHUSDT pos -10%", {"quantity": Decimal(10), "unit": QuantityUnit.PERCENT_OF_EQUITY}),
        ("acctA ETHUSDT close", {"action": Action.CLOSE_ALL, "quantity": None}),
        ("ETHUSDT close 33.3%", {"quantity": Decimal("33.3"), "unit": QuantityUnit.PERCENT_OF_POSITION}),
        ("ETHUSDT close 2", {"quantity": Decimal(2), "unit": QuantityUnit.UNITS}),
        ("ETHUSDT sell 1 reduce", {"reduce_only": True}),
        ("ETHUSDT sell 1 reduceonly limit:e1:2500", {"reduce_only": True, "limit_price": Decimal(2500)}),
        ("ETHUSDT sell 1 limit:e17:2500", {"sender_id": None}),
        ("acctA ETHUSDT cancel:all", {"action": Action.CANCEL}),
    ],
)
def test_what_it_documents_is_read(body: str, expected: dict[str, Any]) -> None:
    content = read(body, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("ETHUSDT buy 250$", "not_supported", "value"),
        ("ETH/USDT:USDT buy 250$", "not_supported", "value"),
        ("ETHUSDT buy 5% x3", "not_supported", "value"),
        ("ETHUSDT buy 250$ collateral", "missing_field", "leverage"),
        ("ETHUSDT buy 250$ x2 nominal collateral", "contradiction", "collateral"),
        ("ETHUSDT buy 1." + "1" * 25 + "$ x1." + "1" * 25, "invalid_number", "value"),
        ("ETHUSDT buy 250$ x0", "invalid_number", "leverage"),
        ("ETHUSDT buy", "missing_field", "value"),
        ("ETHUSDT pos", "missing_field", "value"),
        ("ETHUSDT buy -1", "invalid_number", "value"),
        ("ETHUSDT close -1", "invalid_number", "value"),
        ("ETHUSDT buy 0", "invalid_number", "value"),
        ("ETHUSDT buy 1 2", "repeated_field", "value"),
        ("ETHUSDT buy sell 1", "repeated_field", "command"),
        ("ETHUSDT buy 1 limit:e17:", "invalid_number", "limit"),
        ("ETHUSDT buy 1 limit:e17:0", "invalid_number", "limit"),
        ("ETHUSDT buy 1 limit:e17:{{close}}", "unfilled_placeholder", "limit"),
        ("{{ticker}} buy 1", "unfilled_placeholder", "symbol"),
        ("acctA ETHUSDT {{strategy.order.action}} 1", "unfilled_placeholder", "command"),
        ('ETHUSDT buy {{plot("my size")}}$', "unfilled_placeholder", "value"),
        ("ETHUSDT cancel:e17", "not_supported", "cancel"),
        ("ETHUSDT cancel:all buy 1", "several_orders", "cancel"),
        ("ETHUSDT changeleverage x3", "not_supported", "command"),
        ("MAIN AAPL buy 1", "ambiguous_symbol", "symbol"),
        ("ETHUSDT BTCUSDT buy 1", "ambiguous_symbol", "symbol"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_field(body: str, code: str, field: str) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize(
    "prose",
    [
        "BTCUSDT Crossing 65000",
        "BTCUSDT close to its high",
        "BTCUSDT close today",
        "close BTCUSDT",
        "Please close the window",
        "close 5 windows please",
        "// buy BTCUSDT 1",
        "buy",
        "1",
    ],
)
def test_a_sentence_is_none(prose: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        recognise(prose.encode())
    assert caught.value.status == 400


def test_its_template_is_read() -> None:
    content = read(filled(NAME), NAME)
    assert (content.action, content.quantity) == (Action.BUY, Decimal("0.25"))
