"""How much an order is over, in units and after rounding."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.domain.alert import ExitLevel, QuantityUnit
from libs.common.domain.order import OrderType, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Balance, Instrument
from libs.common.policy.readings import Need, Readings, needs_of
from libs.common.policy.sizing import Planned, Refused, plan_order
from tests.unit.libs.common.policy.sizing_answers import ALL, D, instruction, legs, planned, refused

EQUITY = Balance(equity=D(5000), currency="USDT")


@pytest.mark.parametrize(
    ("unit", "quantity", "expected", "sizing"),
    [
        (QuantityUnit.QUOTE, "250", "2.5", "250 at 100 = 2.5"),
        (QuantityUnit.PERCENT_OF_EQUITY, "10", "5", "10% of equity 5000 USDT at 100 = 5"),
        (QuantityUnit.PERCENT_OF_POSITION, "50", "2", "50% of a position of 4 = 2"),
        (QuantityUnit.RISK_QUOTE, "50", "10", "50 lost from 100 to 95 = 10"),
        (QuantityUnit.RISK_PERCENT, "1", "10", "1% of equity 5000 USDT lost from 100 to 95 = 10"),
    ],
)
def test_a_size_comes_to_units_and_says_how(
    unit: QuantityUnit, quantity: str, expected: str, sizing: str
) -> None:
    asked = instruction(quantity=quantity, unit=unit, price=D(100), stop_loss=ExitLevel(D(95)))
    answer = planned(asked, balance=EQUITY, position=D(4))
    assert (str(answer.plan.legs[0].quantity), answer.sizing) == (expected, sizing)


@pytest.mark.parametrize(
    ("prices", "venue", "expected"),
    [
        ({"order_type": OrderType.LIMIT, "limit_price": D(50), "price": D(100)}, "200", "20"),
        ({"order_type": OrderType.STOP, "stop_price": D(125), "price": D(100)}, "200", "8"),
        ({"price": D(100)}, "200", "10"),
        ({}, "200", "5"),
    ],
)
def test_a_value_is_counted_at_the_orders_price_else_the_alerts_else_the_venues(
    prices: dict[str, Any], venue: str, expected: str
) -> None:
    asked = instruction(quantity="1000", unit=QuantityUnit.QUOTE, **prices)
    assert (Need.PRICE in needs_of(asked, ALL)) is not bool(prices)
    assert str(planned(asked, price=D(venue)).plan.legs[0].quantity) == expected


@pytest.mark.parametrize(
    "unit", [QuantityUnit.QUOTE, QuantityUnit.PERCENT_OF_EQUITY, QuantityUnit.RISK_QUOTE]
)
def test_a_value_without_any_price_is_refused(unit: QuantityUnit) -> None:
    asked = instruction(quantity="1", unit=unit)
    assert refused(asked, balance=EQUITY).reason is Reason.NO_PRICE


@pytest.mark.parametrize("unit", [QuantityUnit.PERCENT_OF_EQUITY, QuantityUnit.RISK_PERCENT])
def test_a_share_of_an_equity_that_the_venue_does_not_tell_is_refused(unit: QuantityUnit) -> None:
    asked = instruction(quantity="1", unit=unit, price=D(100), stop_loss=ExitLevel(D(95)))
    assert Need.BALANCE in needs_of(asked, ALL)
    answer = refused(asked)
    assert answer.reason is Reason.NOT_SUPPORTED
    assert "equity" in answer.detail
    assert refused(asked, balance=Balance(equity=D(-5))).reason is Reason.TOO_SMALL


def test_a_risk_without_a_stop_loss_is_refused() -> None:
    asked = instruction(quantity="1", unit=QuantityUnit.RISK_QUOTE, price=D(100))
    assert '"stop_loss"' in refused(asked).detail


@pytest.mark.parametrize(
    ("quantity", "instrument", "reason"),
    [
        ("0.0009", Instrument(quantity_step=D("0.001")), Reason.TOO_SMALL),
        ("0.5", Instrument(min_quantity=D(1)), Reason.TOO_SMALL),
        ("0.5", Instrument(min_value=D(51)), Reason.TOO_SMALL),
        ("0.5", Instrument(max_quantity=D("0.4")), Reason.TOO_LARGE),
    ],
)
def test_what_the_market_does_not_trade_is_refused(
    quantity: str, instrument: Instrument, reason: Reason
) -> None:
    asked = instruction(quantity=quantity, order_type=OrderType.LIMIT, limit_price=D(100))
    assert refused(asked, instrument=instrument).reason is reason


@pytest.mark.parametrize(
    "instrument",
    [
        Instrument(quantity_step=D("0.5")),
        Instrument(min_quantity=D("0.5")),
        Instrument(min_value=D(50)),
        Instrument(max_quantity=D("0.5")),
    ],
)
def test_what_the_market_just_trades_is_traded(instrument: Instrument) -> None:
    asked = instruction(quantity="0.5", order_type=OrderType.LIMIT, limit_price=D(100))
    assert legs(asked, instrument=instrument) == [(Side.BUY, "0.5", False)]


numbers = st.decimals(min_value=D("0.00001"), max_value=D(10**12), places=5)
steps = st.sampled_from([D("0.00000001"), D("0.001"), D("0.05"), D(1), D(10)])


@given(
    unit=st.sampled_from([QuantityUnit.QUOTE, QuantityUnit.PERCENT_OF_EQUITY, QuantityUnit.RISK_QUOTE]),
    quantity=numbers,
    price=numbers,
    stop=numbers,
    step=steps,
)
def test_no_size_is_ever_rounded_up_past_what_was_asked_for(
    unit: QuantityUnit, quantity: Decimal, price: Decimal, stop: Decimal, step: Decimal
) -> None:
    assume(stop < price)
    asked = instruction(quantity=str(quantity), unit=unit, price=price, stop_loss=ExitLevel(stop))
    instrument = Instrument(quantity_step=step)
    answer = plan_order(asked, Readings(balance=EQUITY, instrument=instrument), None, ALL)
    per_unit = price - stop if unit is QuantityUnit.RISK_QUOTE else price
    worth = quantity * EQUITY.equity / 100 if unit is QuantityUnit.PERCENT_OF_EQUITY else quantity
    if isinstance(answer, Refused):
        assert answer.reason is Reason.TOO_SMALL
        assert worth < per_unit * step
        return
    assert isinstance(answer, Planned)
    traded = answer.plan.legs[0].quantity
    assert traded % step == 0
    assert traded * per_unit <= worth < (traded + step) * per_unit
