from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import (
    CLOSES,
    Action,
    AlertContent,
    ExitLevel,
    ExitUnit,
    MarketPosition,
    QuantityUnit,
)
from libs.common.domain.errors import AdmissionError
from libs.common.domain.order import OrderType
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import recognise
from tests.support.dialect_bodies import SECRET, document_of, filled, read, refusal

NAME = "pineconnector"

EXAMPLE = '60123450001,closelongsell,GBPUSD,risk=0.5,sl=35,tp=70,comment="ldn-open"'

NOTHING_SETTLED: Mapping[str, str] = {}
PRICES = {"stops": "price"}


def read_settled(body: str, options: Mapping[str, str]) -> AlertContent:
    """The meaning of a body on a webhook that takes this dialect alone and settles these."""
    return recognise(body.encode(), pinned=NAME, options=options).read()


def test_the_catalogues_example_is_read_once_its_units_are_settled() -> None:
    document = document_of(EXAMPLE, NAME)
    assert document.credential == "60123450001"
    assert read_settled(EXAMPLE, {"risk": "units", "stops": "distance"}) == AlertContent(
        dialect=NAME,
        action=Action.FLIP,
        position=MarketPosition.SHORT,
        symbol="GBPUSD",
        quantity=Decimal("0.5"),
        stop_loss=ExitLevel(Decimal(35), ExitUnit.DISTANCE),
        take_profit=ExitLevel(Decimal(70), ExitUnit.DISTANCE),
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [(NOTHING_SETTLED, "risk"), ({"stops": "percent"}, "risk"), ({"risk": "quote"}, "sl")],
)
def test_what_counts_by_the_receivers_settings_is_refused_until_it_is_settled(
    options: Mapping[str, str], field: str
) -> None:
    with pytest.raises(AdmissionError) as caught:
        read_settled(EXAMPLE, options)
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "not_settled", field)
    assert "settle" in caught.value.detail
    assert "or send" in caught.value.detail


@pytest.mark.parametrize("unit", sorted(BY_NAME[NAME].options["risk"]))
def test_a_webhook_settles_what_risk_counts(unit: str) -> None:
    content = read_settled("1,buy,EURUSD,risk=0.5,sl_price=1.05", {"risk": unit})
    assert (content.quantity, content.unit) == (Decimal("0.5"), QuantityUnit(unit))


@pytest.mark.parametrize("unit", sorted(BY_NAME[NAME].options["stops"]))
def test_a_webhook_settles_what_stops_count(unit: str) -> None:
    content = read_settled("1,buy,EURUSD,sl=2,tp=3", {"stops": unit})
    assert content.stop_loss == ExitLevel(Decimal(2), ExitUnit(unit))
    assert content.take_profit == ExitLevel(Decimal(3), ExitUnit(unit))


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("buy", {"action": Action.BUY}),
        ("LONG", {"action": Action.BUY}),
        ("bull", {"action": Action.BUY}),
        ("bullish", {"action": Action.BUY}),
        ("sell", {"action": Action.SELL}),
        ("Short", {"action": Action.SELL}),
        ("bear", {"action": Action.SELL}),
        ("bearish", {"action": Action.SELL}),
        ("buylimit", {"action": Action.BUY, "order_type": OrderType.LIMIT, "limit_price": Decimal("1.1")}),
        ("buystop", {"action": Action.BUY, "order_type": OrderType.STOP, "stop_price": Decimal("1.1")}),
        ("selllimit", {"action": Action.SELL, "order_type": OrderType.LIMIT, "limit_price": Decimal("1.1")}),
        ("sellstop", {"action": Action.SELL, "order_type": OrderType.STOP, "stop_price": Decimal("1.1")}),
        ("closelong", {"action": Action.CLOSE_LONG, "quantity": None}),
        ("closeshort", {"action": Action.CLOSE_SHORT, "quantity": None}),
        ("closelongshort", {"action": Action.CLOSE_ALL, "quantity": None}),
        ("closeall", {"action": Action.CLOSE_ALL, "quantity": None}),
        ("closelongsell", {"action": Action.FLIP, "position": MarketPosition.SHORT}),
        ("closeshortbuy", {"action": Action.FLIP, "position": MarketPosition.LONG}),
        ("closelongbuy", {"action": Action.TARGET, "position": MarketPosition.LONG}),
        ("closeshortsell", {"action": Action.TARGET, "position": MarketPosition.SHORT}),
    ],
)
def test_its_commands_are_read(command: str, expected: dict[str, Any]) -> None:
    # An order at market has no price; a close has no use for any.
    is_at_market = "order_type" not in expected and expected["action"] not in CLOSES
    price = "" if is_at_market else "price=1.1,"
    content = read_settled(f"1,{command},EURUSD,{price}risk=2", {**PRICES, "risk": "units"})
    assert {name: getattr(content, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", {"quantity": None, "unit": QuantityUnit.UNITS}),
        ("vol_dollar=50,sl_price=1.05", {"quantity": Decimal(50), "unit": QuantityUnit.RISK_QUOTE}),
        ("vol_pct_eq_loss=1,sl_pct=2", {"quantity": Decimal(1), "unit": QuantityUnit.RISK_PERCENT}),
        (
            "sl_pct=2,tp_price=1.2",
            {"stop_loss": ExitLevel(Decimal(2), ExitUnit.PERCENT), "take_profit": ExitLevel(Decimal("1.2"))},
        ),
        ('comment="a,b=c",sl_price=1.05', {"stop_loss": ExitLevel(Decimal("1.05"))}),
        ('sl_price="1.05"', {"stop_loss": ExitLevel(Decimal("1.05"))}),
        (" SL_PRICE = 1.05 , secret=HappyTrader501 ,", {"stop_loss": ExitLevel(Decimal("1.05"))}),
        ("magic=7", {"quantity": None}),
    ],
)
def test_what_needs_no_settling_is_read(rest: str, expected: dict[str, Any]) -> None:
    content = read(f"1,buy,EURUSD,{rest}", NAME)
    assert {name: getattr(content, name) for name in expected} == expected


def test_lots_count_units_where_a_webhook_says_so() -> None:
    content = read_settled("1,buy,EURUSD,vol_lots=0.1", {"vol_lots": "units"})
    assert (content.quantity, content.unit) == (Decimal("0.1"), QuantityUnit.UNITS)


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ("1,hold,EURUSD,risk=1", "invalid_action", "command"),
        ("1,cancellong,EURUSD", "not_supported", "command"),
        ("1,cancelshort,EURUSD", "not_supported", "command"),
        ("1,newsltplong,EURUSD,sl=1", "not_supported", "command"),
        ("1,newsltpshort,EURUSD,sl=1", "not_supported", "command"),
        ("1,eaon,eaon", "not_supported", "command"),
        ("1,EAOFF,eaoff", "not_supported", "command"),
        ("1,closealleaoff,EURUSD", "not_supported", "command"),
        ("1,{{strategy.order.action}},EURUSD", "unfilled_placeholder", "command"),
        ("1,buy,{{ticker}}", "unfilled_placeholder", "symbol"),
        ('1,buy,"EUR  USD"', "invalid_symbol", "symbol"),
        ("1,buy,EURUSD,0.5", "invalid_value", "part 4"),
        ("1,buy,EURUSD,risk=1,risk=2", "repeated_field", "risk"),
        ("1,buy,EURUSD,symbol=GBPUSD", "repeated_field", "symbol"),
        ("1,buy,EURUSD,risk=1,vol_dollar=2", "contradiction", "vol_dollar"),
        ("1,buy,EURUSD,sl_price=1,sl_pct=2", "contradiction", "sl_pct"),
        ("1,buy,EURUSD,risk={{plot_0}}", "unfilled_placeholder", "risk"),
        ("1,buy,EURUSD,risk=", "invalid_number", "risk"),
        ("1,buy,EURUSD,risk=-1", "invalid_number", "risk"),
        ("1,buy,EURUSD,risk=1", "not_settled", "risk"),
        ("1,buy,EURUSD,vol_lots=1", "not_settled", "vol_lots"),
        ("1,buy,EURUSD,vol_pct_bal_loss=1,sl_pct=1", "not_supported", "vol_pct_bal_loss"),
        ("1,buy,EURUSD,vol_dollar=50", "missing_field", "sl_price"),
        ("1,buy,EURUSD,vol_pct_eq_loss=1,tp_pct=1", "missing_field", "sl_price"),
        ("1,buy,EURUSD,sl=35", "not_settled", "sl"),
        ("1,buy,EURUSD,tp=35", "not_settled", "tp"),
        ("1,buy,EURUSD,sl={{plot_0}}", "unfilled_placeholder", "sl"),
        ("1,buy,EURUSD,sl_pips=35", "not_supported", "sl_pips"),
        ("1,buylimit,EURUSD", "missing_field", "price"),
        ("1,buylimit,EURUSD,price=1.1", "not_settled", "price"),
        ("1,buylimit,EURUSD,price={{close}}", "unfilled_placeholder", "price"),
        ("1,buy,EURUSD,betrigger=10", "not_supported", "betrigger"),
        ("1,buy,EURUSD,trailtrig=10", "not_supported", "trailtrig"),
        ("1,buy,EURUSD,atrtimeframe=10", "not_supported", "atrtimeframe"),
        ("1,buy,EURUSD,spread=2", "not_supported", "spread"),
        ("1,buy,EURUSD,accfilter=500", "not_supported", "accfilter"),
        ("1,buy,EURUSD\n1,sell,GBPUSD", "several_orders", "line 2"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_field(body: str, code: str, field: str) -> None:
    error = refusal(body, NAME)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("stops", ["distance", "percent"])
def test_an_order_waits_at_a_price_and_at_nothing_else(stops: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        read_settled("1,sellstop,EURUSD,price=10", {"stops": stops})
    assert (caught.value.code, caught.value.field) == ("not_settled", "price")


@pytest.mark.parametrize(
    "prose",
    [
        "Hello, world, this is it",
        "BTCUSDT crossed 65000, on 5m, now",
        "one,two",
        ",",
        ",,",
        "a,buy",
        "a,buy,",
        "a,buy,b=c",
    ],
)
def test_a_sentence_with_commas_is_none(prose: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        recognise(prose.encode())
    assert (caught.value.status, caught.value.code) == (400, "unknown_dialect")


def test_its_template_is_read() -> None:
    document = document_of(filled(NAME), NAME)
    assert document.credential == SECRET
    assert document.read().action is Action.BUY
