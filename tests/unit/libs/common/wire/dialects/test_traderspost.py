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
from libs.common.wire.dialects.recognition import recognise
from tests.support.dialect_bodies import document_of, encoded, filled, read, refusal

NAME = "traderspost"

EXAMPLE = b'{"ticker":"MNQZ2026","action":"buy","sentiment":"long","quantity":"2","price":"20850.25","takeProfit":{"amount":60},"stopLoss":{"type":"stop","stopPrice":20810},"time":"2026-11-03T14:30:02Z","interval":"5"}'

BUY = {"ticker": "SQ", "action": "buy"}
SELL = {"ticker": "SQ", "action": "sell"}
EXIT = {"ticker": "SQ", "action": "exit"}


def test_the_catalogues_example_is_read() -> None:
    assert read(EXAMPLE, NAME) == AlertContent(
        dialect=NAME,
        action=Action.BUY,
        symbol="MNQZ2026",
        quantity=Decimal(2),
        take_profit=ExitLevel(Decimal(60), ExitUnit.DISTANCE),
        stop_loss=ExitLevel(Decimal(20_810)),
        price=Decimal("20850.25"),
        interval="5",
        position=MarketPosition.LONG,
    )


def test_a_flat_sentiment_wants_no_position() -> None:
    assert read(b'{"ticker":"MNQZ2026","action":"sell","sentiment":"flat"}', NAME) == AlertContent(
        dialect=NAME, action=Action.TARGET, symbol="MNQZ2026", position=MarketPosition.FLAT
    )


def test_an_exit_with_a_sentiment_is_refused_as_the_vendor_does() -> None:
    error = refusal(b'{"ticker":"X","action":"exit","sentiment":"flat"}', NAME)
    assert (error.code, error.field) == ("contradiction", "sentiment")


LONG, SHORT, FLAT = MarketPosition.LONG, MarketPosition.SHORT, MarketPosition.FLAT


@pytest.mark.parametrize(
    ("action", "sentiment", "quantity", "expected"),
    [
        ("buy", None, 2, (Action.BUY, 2, None)),
        ("sell", None, 2, (Action.SELL, 2, None)),
        ("buy", "bullish", 2, (Action.BUY, 2, LONG)),
        ("buy", "long", None, (Action.BUY, None, LONG)),
        ("sell", "bearish", 2, (Action.SELL, 2, SHORT)),
        ("SELL", "Short", 2, (Action.SELL, 2, SHORT)),
        ("sell", "bullish", 2, (Action.CLOSE_LONG, 2, LONG)),
        ("sell", "long", None, (Action.CLOSE_LONG, None, None)),
        ("buy", "bearish", 2, (Action.CLOSE_SHORT, 2, SHORT)),
        ("buy", "short", None, (Action.CLOSE_SHORT, None, None)),
        ("sell", "flat", 2, (Action.TARGET, None, FLAT)),
        ("buy", "flat", None, (Action.TARGET, None, FLAT)),
        ("exit", None, None, (Action.CLOSE_ALL, None, None)),
        ("exit", None, 2, (Action.CLOSE_ALL, 2, None)),
        ("cancel", None, None, (Action.CANCEL, None, None)),
    ],
)
def test_a_position_never_becomes_another_one_than_the_sentiment_says(
    action: str,
    sentiment: str | None,
    quantity: int | None,
    expected: tuple[Action, int | None, MarketPosition | None],
) -> None:
    content = read({"ticker": "SQ", "action": action, "sentiment": sentiment, "quantity": quantity}, NAME)
    assert (content.action, content.quantity, content.position) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BUY | {"signalPrice": 143.12}, {"price": Decimal("143.12")}),
        (BUY | {"signalPrice": 143.12, "price": "143.12"}, {"price": Decimal("143.12")}),
        (BUY | {"quantity": 1, "quantityType": "fixed_quantity"}, {"unit": QuantityUnit.UNITS}),
        (BUY | {"quantity": 1000, "quantityType": "dollar_amount"}, {"unit": QuantityUnit.QUOTE}),
        (
            BUY | {"quantity": 5, "quantityType": "percent_of_equity"},
            {"unit": QuantityUnit.PERCENT_OF_EQUITY},
        ),
        (
            BUY | {"quantity": 5, "quantityType": "percent_of_position"},
            {"unit": QuantityUnit.PERCENT_OF_POSITION},
        ),
        (
            EXIT | {"quantity": 50, "quantityType": "percent_of_position"},
            {"unit": QuantityUnit.PERCENT_OF_POSITION},
        ),
        (
            BUY | {"quantity": 100, "quantityType": "risk_dollar_amount", "stopLoss": {"stopPrice": 90}},
            {"unit": QuantityUnit.RISK_QUOTE, "stop_loss": ExitLevel(Decimal(90))},
        ),
        (
            BUY | {"quantity": 1, "quantityType": "risk_percent", "stopLoss": {"percent": "5"}},
            {"unit": QuantityUnit.RISK_PERCENT, "stop_loss": ExitLevel(Decimal(5), ExitUnit.PERCENT)},
        ),
        (BUY | {"orderType": "market"}, {"order_type": OrderType.MARKET}),
        (
            BUY | {"orderType": "limit", "limitPrice": "50.50"},
            {"order_type": OrderType.LIMIT, "limit_price": Decimal("50.50")},
        ),
        (
            BUY | {"orderType": "stop", "stopPrice": 60},
            {"order_type": OrderType.STOP, "stop_price": Decimal(60)},
        ),
        (
            BUY | {"orderType": "stop_limit", "stopPrice": 60, "limitPrice": 60.5},
            {"order_type": OrderType.STOP_LIMIT, "stop_price": Decimal(60), "limit_price": Decimal("60.5")},
        ),
        (BUY | {"takeProfit": {"limitPrice": 19.99}}, {"take_profit": ExitLevel(Decimal("19.99"))}),
        (BUY | {"takeProfit": {"price": 19.99}}, {"take_profit": ExitLevel(Decimal("19.99"))}),
        (BUY | {"takeProfit": {"percent": 10}}, {"take_profit": ExitLevel(Decimal(10), ExitUnit.PERCENT)}),
        (BUY | {"takeProfit": {"amount": 60}}, {"take_profit": ExitLevel(Decimal(60), ExitUnit.DISTANCE)}),
        (
            BUY | {"stopLoss": {"type": "stop", "amount": 5}},
            {"stop_loss": ExitLevel(Decimal(5), ExitUnit.DISTANCE)},
        ),
        (SELL | {"sentiment": "flat", "takeProfit": {"percent": 10}}, {"take_profit": None}),
        (SELL | {"sentiment": "long", "quantity": 1, "stopLoss": {"amount": 5}}, {"stop_loss": None}),
        (BUY | {"timeInForce": "opg"}, {"time_in_force": TimeInForce.OPG}),
        (BUY | {"timeInForce": "CLS"}, {"time_in_force": TimeInForce.CLS}),
        (BUY | {"extendedHours": True, "ignoreTradingWindows": True}, {"action": Action.BUY}),
        (BUY | {"cancel": False, "cancelOrderType": "limit", "delay": 0}, {"action": Action.BUY}),
        (BUY | {"time": "2026-11-03T14:30:02Z"}, {"fired_at_ms": None, "bar_at_ms": None}),
        (BUY | {"extras": {"note": 1}, "message": "hello"}, {"action": Action.BUY}),
        (BUY | {"interval": "1D"}, {"interval": "1D"}),
        (BUY | {"optionType": None, "strikePrice": None}, {"action": Action.BUY}),
        ({"ticker": "SPY 250624C596", "action": "buy"}, {"symbol": "SPY 250624C596"}),
        ({"ticker": "NQ1!", "action": "cancel", "price": 1}, {"action": Action.CANCEL, "price": Decimal(1)}),
    ],
)
def test_what_the_vendor_documents_is_read(body: dict[str, Any], expected: dict[str, Any]) -> None:
    content = read(body, NAME)
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (BUY | {"ticker": ""}, "missing_field", "ticker"),
        (BUY | {"action": "hold"}, "invalid_action", "action"),
        (BUY | {"action": "add"}, "not_supported", "action"),
        (BUY | {"sentiment": "mixed"}, "invalid_value", "sentiment"),
        (EXIT | {"action": "cancel", "sentiment": "long"}, "contradiction", "sentiment"),
        (BUY | {"ticker": "SPY 250624P596"}, "not_supported", "ticker"),
        (BUY | {"quantity": "0"}, "invalid_number", "quantity"),
        (BUY | {"quantity": "-2"}, "invalid_number", "quantity"),
        (BUY | {"quantityType": "dollar_amount"}, "missing_field", "quantity"),
        (BUY | {"quantity": 1, "quantityType": "lots"}, "invalid_value", "quantityType"),
        (BUY | {"quantity": 1, "quantityType": "risk_dollar_amount"}, "missing_field", "stopLoss"),
        (BUY | {"quantity": 1, "quantityType": "risk_percent"}, "missing_field", "stopLoss"),
        (EXIT | {"quantity": 1, "quantityType": "dollar_amount"}, "not_supported", "quantityType"),
        (EXIT | {"takeProfit": {"percent": 10}}, "contradiction", "takeProfit"),
        (EXIT | {"stopLoss": {"percent": 10}}, "contradiction", "stopLoss"),
        (BUY | {"price": 1, "signalPrice": 2}, "contradiction", "price"),
        (BUY | {"orderType": "limit"}, "missing_field", "limitPrice"),
        (BUY | {"orderType": "stop"}, "missing_field", "stopPrice"),
        (BUY | {"orderType": "stop_limit", "stopPrice": 1}, "missing_field", "limitPrice"),
        (BUY | {"orderType": "market", "limitPrice": 1}, "contradiction", "limitPrice"),
        (BUY | {"limitPrice": 1}, "contradiction", "limitPrice"),
        (BUY | {"orderType": "trailing_stop"}, "not_supported", "orderType"),
        (BUY | {"trailAmount": 1}, "not_supported", "trailAmount"),
        (BUY | {"trailPercent": 1}, "not_supported", "trailPercent"),
        (BUY | {"takeProfit": {}}, "missing_field", "takeProfit"),
        (BUY | {"takeProfit": 10}, "wrong_type", "takeProfit"),
        (BUY | {"takeProfit": {"percent": 0}}, "invalid_number", "takeProfit.percent"),
        (BUY | {"takeProfit": {"percent": 1, "amount": 1}}, "contradiction", "takeProfit.amount"),
        (BUY | {"stopLoss": {"type": "stop"}}, "missing_field", "stopLoss"),
        (BUY | {"stopLoss": {"percent": 1, "stopPrice": 1}}, "contradiction", "stopLoss.percent"),
        (BUY | {"stopLoss": {"type": "stop_limit", "stopPrice": 1}}, "not_supported", "stopLoss.type"),
        (BUY | {"stopLoss": {"type": "trailing_stop", "percent": 1}}, "not_supported", "stopLoss.type"),
        (BUY | {"stopLoss": {"stopPrice": 1, "limitPrice": 1}}, "not_supported", "stopLoss.limitPrice"),
        (BUY | {"stopLoss": {"trailAmount": 1}}, "not_supported", "stopLoss.trailAmount"),
        (BUY | {"stopLoss": {"trailPercent": 1}}, "not_supported", "stopLoss.trailPercent"),
        (BUY | {"timeInForce": "gtd"}, "invalid_value", "timeInForce"),
        (BUY | {"delay": 5}, "not_supported", "delay"),
        (BUY | {"cancel": True}, "not_supported", "cancel"),
        (BUY | {"cancel": "true"}, "not_supported", "cancel"),
        (BUY | {"optionType": "put"}, "not_supported", "optionType"),
        (BUY | {"intrinsicValue": "itm"}, "not_supported", "intrinsicValue"),
        (BUY | {"expiration": "+6 months"}, "not_supported", "expiration"),
        (BUY | {"strikeCount": 5}, "not_supported", "strikeCount"),
        (BUY | {"strikesAway": 2}, "not_supported", "strikesAway"),
        (BUY | {"strikePrice": 68}, "not_supported", "strikePrice"),
        (BUY | {"sentiment": "{{strategy.position}}"}, "unfilled_placeholder", "sentiment"),
    ],
)
def test_what_cannot_be_followed_is_refused_with_its_field(
    body: dict[str, Any], code: str, field: str
) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


def test_what_is_left_out_for_a_strategy_serves_its_exits_as_well() -> None:
    """One message serves all orders of a strategy: refusing it at the exit would leave the position open."""
    attached = {"takeProfit": {"percent": 10}, "stopLoss": {"percent": 5}, "quantity": "2"}
    assert read(BUY | attached | {"sentiment": "long"}, NAME).stop_loss is not None
    assert read(SELL | attached | {"sentiment": "flat"}, NAME).action is Action.TARGET


@pytest.mark.parametrize("place", ["secret", "password"])
def test_a_credential_may_stand_in_a_place_of_ours(place: str) -> None:
    document = document_of(BUY | {place: "demo"}, NAME)
    assert document.credential == "demo"
    assert not document.has_place


@pytest.mark.parametrize(
    "foreign", [{"pointer": "m0ck", "prev_position": "long"}, {"stub": "sub1"}, {"PIN": "1"}]
)
def test_other_tools_with_a_ticker_and_an_action_are_not_taken_for_it(foreign: dict[str, str]) -> None:
    assert recognise(encoded(BUY | foreign)).dialect != NAME


@pytest.mark.parametrize(
    ("side", "position", "action"),
    [
        ("buy", "long", Action.BUY),
        ("sell", "short", Action.SELL),
        ("sell", "flat", Action.TARGET),
        ("sell", "long", Action.CLOSE_LONG),
    ],
)
def test_its_template_is_read_as_its_own(side: str, position: str, action: Action) -> None:
    body = filled(NAME, strategy__order__action=side, strategy__market_position=position)
    content = read(body, NAME)
    assert (content.action, content.symbol, content.price) == (action, "BTCUSDT.P", Decimal("68120.5"))
