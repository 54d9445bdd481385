from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, MarketPosition
from libs.common.domain.order import OrderType
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "openalgo"
SIGNAL = "openalgo_signal"

SMART_EXAMPLE = b'{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40","pricetype":"LIMIT","product":"MIS","price":"148.35","trigger_price":"0","disclosed_quantity":"0","position_size":"-40"}'
SIGNAL_EXAMPLE = b'{"action":"long_entry","symbol":"TATASTEEL","exchange":"NSE"}'

ORDER = {
    "apikey": "oa-demo-9",
    "strategy": "ema_pair",
    "exchange": "NSE",
    "symbol": "TATASTEEL",
    "action": "SELL",
    "quantity": "40",
    "pricetype": "MARKET",
    "product": "MIS",
}
SIGNALLED = {"action": "long_entry", "symbol": "TATASTEEL", "exchange": "NSE"}

LONG, SHORT, FLAT = MarketPosition.LONG, MarketPosition.SHORT, MarketPosition.FLAT


def test_the_catalogues_smart_order_is_read() -> None:
    document = document_of(SMART_EXAMPLE, NAME)
    assert document.credential == "oa-demo-9"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.TARGET,
        symbol="TATASTEEL",
        exchange="NSE",
        quantity=Decimal(40),
        order_type=OrderType.LIMIT,
        limit_price=Decimal("148.35"),
        strategy="ema_pair",
        position=SHORT,
        position_size=Decimal(40),
    )


def test_without_a_position_size_it_is_an_order() -> None:
    body = SMART_EXAMPLE.replace(b',"position_size":"-40"', b"")
    assert read(body, NAME) == AlertContent(
        dialect=NAME,
        action=Action.SELL,
        symbol="TATASTEEL",
        exchange="NSE",
        quantity=Decimal(40),
        order_type=OrderType.LIMIT,
        limit_price=Decimal("148.35"),
        strategy="ema_pair",
    )


def test_the_catalogues_signal_is_read() -> None:
    document = document_of(SIGNAL_EXAMPLE, SIGNAL)
    assert not document.has_place
    assert document.read() == AlertContent(
        dialect=SIGNAL, action=Action.TARGET, symbol="TATASTEEL", exchange="NSE", position=LONG
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.SELL, "quantity": Decimal(40), "order_type": OrderType.MARKET}),
        ({"action": "buy"}, {"action": Action.BUY}),
        ({"pricetype": ...}, {"order_type": OrderType.MARKET}),
        (
            {"pricetype": "limit", "price": 148.35},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("148.35")},
        ),
        (
            {"pricetype": "SL", "price": "148", "trigger_price": "148.5"},
            {"order_type": OrderType.STOP_LIMIT, "limit_price": Decimal(148), "stop_price": Decimal("148.5")},
        ),
        (
            {"pricetype": "SL-M", "price": "0", "trigger_price": "148.5"},
            {"order_type": OrderType.STOP, "limit_price": None, "stop_price": Decimal("148.5")},
        ),
        ({"price": "148.35", "trigger_price": "0"}, {"limit_price": None, "price": Decimal("148.35")}),
        ({"product": "CNC"}, {"action": Action.SELL}),
        ({"product": "NRML", "disclosed_quantity": "10"}, {"action": Action.SELL}),
        (
            {"position_size": "40"},
            {
                "action": Action.TARGET,
                "position": LONG,
                "quantity": Decimal(40),
                "position_size": Decimal(40),
            },
        ),
        (
            {"position_size": 0, "quantity": "0"},
            {"action": Action.TARGET, "position": FLAT, "quantity": None, "position_size": Decimal(0)},
        ),
        ({"position_size": "-20", "action": "BUY"}, {"position": SHORT, "quantity": Decimal(20)}),
        (
            {"position_size": "-123456789012345678901234567890.123456789"},
            {"quantity": Decimal("123456789012345678901234567890.123456789")},
        ),
        ({"position_size": None}, {"action": Action.SELL, "position": None}),
    ],
)
def test_what_the_project_documents_of_orders_is_read(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    content = read(ORDER | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"symbol": ""}, "missing_field", "symbol"),
        ({"action": "hold"}, "invalid_action", "action"),
        ({"action": "long_entry"}, "invalid_action", "action"),
        ({"quantity": "0"}, "invalid_number", "quantity"),
        ({"quantity": "-1", "position_size": "1"}, "invalid_number", "quantity"),
        ({"pricetype": "ICEBERG"}, "invalid_value", "pricetype"),
        ({"pricetype": "LIMIT"}, "missing_field", "price"),
        ({"pricetype": "LIMIT", "price": "0"}, "missing_field", "price"),
        ({"pricetype": "SL", "price": "1", "trigger_price": "0"}, "missing_field", "trigger_price"),
        ({"pricetype": "SL", "trigger_price": "1"}, "missing_field", "price"),
        ({"pricetype": "SL-M"}, "missing_field", "trigger_price"),
        ({"trigger_price": "148.5"}, "contradiction", "trigger_price"),
        ({"pricetype": "LIMIT", "price": "1", "trigger_price": "2"}, "contradiction", "trigger_price"),
        ({"position_size": ""}, "invalid_number", "position_size"),
        ({"position_size": "{{strategy.size}}"}, "unfilled_placeholder", "position_size"),
    ],
)
def test_what_does_not_fit_an_order_is_refused_with_its_field(
    changes: dict[str, Any], code: str, field: str
) -> None:
    error = refusal(ORDER | changes, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("apikey", [..., None, "", 9, "a,b=c;{}"])
def test_an_order_is_recognised_whatever_its_credential_is(apikey: Any) -> None:
    assert read(ORDER | {"apikey": apikey}, NAME).symbol == "TATASTEEL"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (Action.TARGET, LONG)),
        ({"action": "SHORT_ENTRY"}, (Action.TARGET, SHORT)),
        ({"action": "long_exit"}, (Action.CLOSE_LONG, None)),
        ({"action": "short_exit"}, (Action.CLOSE_SHORT, None)),
        ({"exchange": ...}, (Action.TARGET, LONG)),
        ({"action": "BUY", "position_size": "40"}, (Action.TARGET, LONG)),
        ({"action": "SELL", "position_size": -40}, (Action.TARGET, SHORT)),
        ({"action": "SELL", "position_size": 0}, (Action.TARGET, FLAT)),
        ({"action": "buy", "position_size": "0"}, (Action.TARGET, FLAT)),
    ],
)
def test_what_the_project_documents_of_signals_is_read_without_a_size(
    changes: dict[str, Any], expected: tuple[Action, MarketPosition | None]
) -> None:
    content = read(SIGNALLED | changes, SIGNAL)
    assert (content.action, content.position) == expected
    assert content.quantity is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"action": "start", "mode": "live"}, "not_supported", "action"),
        ({"action": "STOP"}, "not_supported", "action"),
        ({"action": "long_entry", "leg_id": "leg-1"}, "not_supported", "leg_id"),
        (SIGNALLED | {"leg_id": "leg-1"}, "not_supported", "leg_id"),
        (SIGNALLED | {"action": "{{strategy.order.alert}}"}, "unfilled_placeholder", "action"),
        (SIGNALLED | {"symbol": ""}, "missing_field", "symbol"),
        (SIGNALLED | {"action": "hold", "position_size": 1}, "invalid_action", "action"),
        (SIGNALLED | {"action": "SELL", "position_size": 40}, "contradiction", "position_size"),
        (SIGNALLED | {"action": "BUY", "position_size": -40}, "contradiction", "position_size"),
        (SIGNALLED | {"action": "BUY", "position_size": None}, "missing_field", "position_size"),
    ],
)
def test_what_does_not_fit_a_signal_is_refused_with_its_field(
    body: dict[str, Any], code: str, field: str
) -> None:
    error = refusal(body, SIGNAL)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("place", ["secret", "password"])
def test_a_signal_may_carry_a_credential_in_a_place_of_ours(place: str) -> None:
    assert document_of(SIGNALLED | {place: "demo"}, SIGNAL).credential == "demo"


def test_its_template_is_read_as_its_own() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.position, content.quantity) == (Action.TARGET, LONG, Decimal("0.25"))


@pytest.mark.parametrize("message", ["long_entry", "long_exit", "short_entry", "short_exit"])
def test_the_template_of_signals_is_read_as_its_own(message: str) -> None:
    assert read(filled(SIGNAL, strategy__order__alert_message=message), SIGNAL).symbol == "BTCUSDT.P"
