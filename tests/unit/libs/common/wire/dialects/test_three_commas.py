from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, AlertContent, MarketPosition, QuantityUnit
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "three_commas"

EXAMPLE = b"""{"secret":"3c-demo","max_lag":"120","timestamp":"2026-11-03T09:15:01Z","trigger_price":"68120.5","tv_exchange":"BINANCE","tv_instrument":"BTCUSDT.P","action":"sell","bot_uuid":"8c1f0f3e-0000-4a1b-9c55-1d2e3f405162",
 "strategy_info":{"market_position":"short","market_position_size":"0.4","prev_market_position":"long","prev_market_position_size":"0.3"},"order":{"amount":"0.7","currency_type":"base"}}"""

CUSTOM = {
    "secret": "3c-demo",
    "tv_instrument": "BTCUSDT",
    "action": "enter_long",
    "bot_uuid": "8c1f0f3e",
    "order": {"amount": "0.7", "currency_type": "base"},
}

LONG, SHORT, FLAT = MarketPosition.LONG, MarketPosition.SHORT, MarketPosition.FLAT


def strategy(
    action: str, previous: Any, now: Any, *, amount: Any = "0.7", currency: str = "base", size: Any = ...
) -> dict[str, Any]:
    info = {"market_position": now, "prev_market_position": previous, "market_position_size": size}
    order = {"amount": amount, "currency_type": currency}
    return CUSTOM | {
        "action": action,
        "strategy_info": {key: value for key, value in info.items() if value is not ...},
        "order": ... if amount is ... else order,
    }


def test_the_catalogues_example_is_read() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "3c-demo"
    assert document.read() == AlertContent(
        dialect=NAME,
        action=Action.FLIP,
        symbol="BTCUSDT.P",
        exchange="BINANCE",
        quantity=Decimal("0.4"),
        price=Decimal("68120.5"),
        strategy="8c1f0f3e-0000-4a1b-9c55-1d2e3f405162",
        fired_at_ms=1_793_697_301_000,
        max_age_ms=120_000,
        position=SHORT,
        position_size=Decimal("0.4"),
        previous_position=LONG,
        previous_position_size=Decimal("0.3"),
    )


@pytest.mark.parametrize(
    ("action", "previous", "now", "expected"),
    [
        ("buy", "flat", "long", (Action.BUY, Decimal("0.7"))),
        ("buy", "long", "long", (Action.BUY, Decimal("0.7"))),
        ("buy", ..., "long", (Action.BUY, Decimal("0.7"))),
        ("buy", "short", "flat", (Action.TARGET, None)),
        ("buy", ..., "flat", (Action.TARGET, None)),
        ("buy", "short", "short", (Action.CLOSE_SHORT, Decimal("0.7"))),
        ("SELL", "Flat", "SHORT", (Action.SELL, Decimal("0.7"))),
        ("sell", "short", "short", (Action.SELL, Decimal("0.7"))),
        ("sell", "long", "flat", (Action.TARGET, None)),
        ("sell", "long", "long", (Action.CLOSE_LONG, Decimal("0.7"))),
        ("sell", ..., "long", (Action.CLOSE_LONG, Decimal("0.7"))),
        ("sell", "long", ..., (Action.SELL, Decimal("0.7"))),
    ],
)
def test_the_positions_before_and_after_say_what_an_order_is_for(
    action: str, previous: Any, now: Any, expected: tuple[Action, Decimal | None]
) -> None:
    content = read(strategy(action, previous, now), NAME)
    assert (content.action, content.quantity) == expected
    assert content.position == (None if now is ... else now.lower())
    assert content.previous_position == (None if previous is ... else previous.lower())


def test_a_position_that_turns_is_as_large_as_the_strategy_says() -> None:
    content = read(strategy("buy", "short", "long", size="0.4"), NAME)
    assert (content.action, content.position, content.quantity) == (Action.FLIP, LONG, Decimal("0.4"))
    content = read(strategy("sell", "long", "short", amount=...), NAME)
    assert (content.action, content.position, content.quantity) == (Action.FLIP, SHORT, None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, {"action": Action.BUY, "position": LONG, "quantity": Decimal("0.7")}),
        ({"action": "ENTER_SHORT"}, {"action": Action.SELL, "position": SHORT}),
        ({"action": "exit_long"}, {"action": Action.CLOSE_LONG, "position": None}),
        ({"action": "exit_short", "order": ...}, {"action": Action.CLOSE_SHORT, "quantity": None}),
        ({"action": "buy"}, {"action": Action.BUY, "position": None}),
        ({"strategy_info": {"market_position": "long"}}, {"action": Action.BUY, "position": LONG}),
        (
            {"order": {"amount": 1500, "currency_type": "quote"}},
            {"quantity": Decimal(1500), "unit": QuantityUnit.QUOTE},
        ),
        (
            {"order": {"amount": 1, "currency_type": "base", "order_type": "market"}},
            {"unit": QuantityUnit.UNITS},
        ),
        ({"order": None}, {"quantity": None}),
        ({"max_lag": 0.5}, {"max_age_ms": 500}),
        ({"max_lag": None}, {"max_age_ms": None}),
        ({"timestamp": "2026-11-03T09:15:01Z"}, {"fired_at_ms": 1_793_697_301_000}),
        ({"trigger_price": "68120.5"}, {"price": Decimal("68120.5")}),
        ({"tv_exchange": "BINANCE"}, {"exchange": "BINANCE"}),
        ({"bot_uuid": ""}, {"strategy": None}),
        ({"comment": {"any": ["thing"]}}, {"action": Action.BUY}),
    ],
)
def test_what_the_vendor_documents_is_read(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(CUSTOM | changes, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (CUSTOM | {"action": "hold"}, "invalid_action", "action"),
        (CUSTOM | {"tv_instrument": ...}, "missing_field", "tv_instrument"),
        (CUSTOM | {"order": "0.7"}, "wrong_type", "order"),
        (CUSTOM | {"order": {"amount": "0.7"}}, "missing_field", "order.currency_type"),
        (CUSTOM | {"order": {"amount": "0", "currency_type": "base"}}, "invalid_number", "order.amount"),
        (
            CUSTOM | {"order": {"amount": 5, "currency_type": "margin_percent"}},
            "invalid_value",
            "order.currency_type",
        ),
        (CUSTOM | {"order": {"order_type": "limit"}}, "not_supported", "order.order_type"),
        (CUSTOM | {"max_lag": "0"}, "invalid_number", "max_lag"),
        (CUSTOM | {"max_lag": "1e20"}, "invalid_number", "max_lag"),
        (CUSTOM | {"timestamp": "soon"}, "invalid_time", "timestamp"),
        (
            CUSTOM | {"strategy_info": {"market_position": "short"}},
            "contradiction",
            "strategy_info.market_position",
        ),
        (strategy("buy", "flat", "short"), "contradiction", "strategy_info.market_position"),
        (strategy("buy", "long", "short"), "contradiction", "strategy_info.market_position"),
        (strategy("buy", "long", "flat"), "contradiction", "strategy_info.market_position"),
        (strategy("sell", "short", "flat"), "contradiction", "strategy_info.market_position"),
        (strategy("sell", "short", "long"), "contradiction", "strategy_info.market_position"),
        (strategy("buy", "flat", "up"), "invalid_value", "strategy_info.market_position"),
        (strategy("sell", "long", "flat", size="0.4"), "contradiction", "strategy_info.market_position_size"),
        (strategy("buy", "flat", "long", size="0"), "contradiction", "strategy_info.market_position_size"),
        (strategy("sell", "long", "long", amount=...), "missing_field", "order"),
        (
            strategy("buy", "short", "long", size="0.4", currency="quote"),
            "not_supported",
            "order.currency_type",
        ),
        (strategy("buy", "short", "long"), "missing_field", "strategy_info.market_position_size"),
        (strategy("buy", "flat", "{{position}}"), "unfilled_placeholder", "strategy_info.market_position"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(body: dict[str, Any], code: str, field: str) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("secret", [..., None, "", 3, "a,b=c;{}"])
def test_it_is_recognised_whatever_its_credential_is(secret: Any) -> None:
    assert read(CUSTOM | {"secret": secret}, NAME).symbol == "BTCUSDT"


def test_its_template_is_read_as_its_own() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    content = document.read()
    assert (content.action, content.position, content.quantity) == (Action.BUY, LONG, Decimal("0.25"))


def test_its_template_turns_a_position() -> None:
    turned = {
        "strategy__order__contracts": "0.75",
        "strategy__prev_market_position": "short",
        "strategy__prev_market_position_size": "0.5",
    }
    content = read(filled(NAME, **turned), NAME)
    assert (content.action, content.position, content.quantity) == (Action.FLIP, LONG, Decimal("0.25"))
