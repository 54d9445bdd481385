"""Plain orders, cancels, prices, and what venues are able to do."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, ExitLevel, ExitUnit, MarketPosition, QuantityUnit, TimeInForce
from libs.common.domain.ids import Market
from libs.common.domain.order import OrderPlan, OrderType, Plan, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Instrument, OpenOrder, OrderAbilities
from libs.common.policy.readings import Need, Readings, needs_of
from libs.common.policy.sizing import Planned, plan_order
from tests.unit.libs.common.policy.sizing_answers import (
    ALL,
    BTC,
    PLAIN_VENUE,
    D,
    idle,
    instruction,
    legs,
    planned,
    refused,
)

# Plain orders


@pytest.mark.parametrize(("action", "side"), [(Action.BUY, Side.BUY), (Action.SELL, Side.SELL)])
def test_an_action_trades_its_side_at_market(action: Action, side: Side) -> None:
    plan = planned(instruction(action, "2", price=D("64123.45"))).plan
    assert plan == Plan(
        legs=(OrderPlan(side=side, quantity=D(2), type=OrderType.MARKET, reference_price=D("64123.45")),)
    )


def test_the_alerts_quantity_comes_before_the_accounts_and_keeps_all_of_its_digits() -> None:
    asked = instruction(quantity="0.123456789012345678")
    assert needs_of(asked, ALL) == frozenset()
    answer = plan_order(asked, Readings(), D(7), ALL)
    assert isinstance(answer, Planned)
    assert str(answer.plan.legs[0].quantity) == "0.123456789012345678"
    assert answer.sizing == "0.123456789012345678 units"


@pytest.mark.parametrize("abilities", [ALL, PLAIN_VENUE])
@pytest.mark.parametrize("time_in_force", [None, TimeInForce.IOC])
@pytest.mark.parametrize("price", [None, D(100)])
@pytest.mark.parametrize("quantity", [None, "0.25", "1E+3"])
@pytest.mark.parametrize("action", [Action.BUY, Action.SELL])
def test_a_plain_order_is_planned_alike_whether_the_market_was_asked_for_or_not(
    action: Action,
    quantity: str | None,
    price: Decimal | None,
    time_in_force: TimeInForce | None,
    abilities: OrderAbilities,
) -> None:
    asked = instruction(action, quantity, price=price, time_in_force=time_in_force)
    at_once = plan_order(asked, Readings(), None, abilities)
    assert at_once == plan_order(asked, Readings(instrument=Instrument()), None, abilities)


@pytest.mark.parametrize("held", ["LONG", "-LONG"])
def test_closing_all_closes_what_is_held_to_the_last_digit(held: str) -> None:
    quantity = "1234567890123456789012345678901234567.899"
    held = held.replace("LONG", quantity)
    side = Side.BUY if held.startswith("-") else Side.SELL
    assert legs(instruction(Action.CLOSE_ALL), position=D(held)) == [(side, quantity, True)]
    opposite = Action.BUY if side is Side.BUY else Action.SELL
    assert legs(instruction(opposite, "1e60", reduce_only=True), position=D(held)) == [(side, quantity, True)]
    position = MarketPosition.LONG if side is Side.BUY else MarketPosition.SHORT
    for action in (Action.FLIP, Action.TARGET):
        turned = legs(instruction(action, "1", position=position), position=D(held))
        assert turned == [(side, quantity, True), (side, "1", False)]


@given(
    st.decimals(min_value=1, max_value=D(10) ** 20, places=18),
    st.decimals(min_value=1, max_value=D(10) ** 20, places=18),
    st.sampled_from([1, -1]),
)
def test_a_target_trades_exactly_what_is_missing(held: Decimal, size: Decimal, way: int) -> None:
    assume(held != size)
    position = MarketPosition.LONG if way > 0 else MarketPosition.SHORT
    asked = instruction(Action.TARGET, str(size), position=position)
    [leg] = planned(asked, position=held if way > 0 else held.copy_negate()).plan.legs
    assert Fraction(leg.quantity) == abs(Fraction(size) - Fraction(held))


def test_an_alert_without_a_quantity_takes_the_accounts() -> None:
    answer = plan_order(instruction(), Readings(), D("0.5"), ALL)
    assert isinstance(answer, Planned)
    assert answer.plan.legs[0].quantity == D("0.5")
    assert "default" in answer.sizing


def test_without_any_quantity_there_is_nothing_to_send() -> None:
    assert refused(instruction()).reason is Reason.NO_QUANTITY
    assert refused(instruction(unit=QuantityUnit.QUOTE)).reason is Reason.NO_QUANTITY


# Cancelling


def resting(order_id: str, market: Market = BTC) -> OpenOrder:
    return OpenOrder(order_id=order_id, symbol=market, side=Side.BUY, quantity=D(1))


def test_a_cancel_names_what_rests_in_its_market() -> None:
    asked = instruction(Action.CANCEL)
    assert needs_of(asked, PLAIN_VENUE) == {Need.OPEN_ORDERS}
    orders = (resting("a"), resting("b", Market("ETHUSDT")), resting("c"))
    assert planned(asked, PLAIN_VENUE, open_orders=orders).plan == Plan(cancels=("a", "c"))


def test_without_resting_orders_there_is_nothing_to_cancel() -> None:
    assert idle(instruction(Action.CANCEL), open_orders=()).reason is Reason.NOTHING_TO_CANCEL


def test_a_venue_that_does_not_tell_its_open_orders_cancels_nothing() -> None:
    assert refused(instruction(Action.CANCEL)).reason is Reason.NOT_SUPPORTED


# Prices and abilities


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        *(({"order_type": kind}, f'"{kind}"') for kind in OrderType if kind is not OrderType.MARKET),
        *(({"time_in_force": force}, f'"{force}"') for force in TimeInForce),
        ({"take_profit": ExitLevel(D(1))}, "take-profit"),
        ({"stop_loss": ExitLevel(D(1), ExitUnit.PERCENT)}, "stop-loss"),
    ],
)
def test_what_a_venue_does_not_have_is_refused_by_name_and_the_venue_is_not_asked(
    asked: dict[str, Any], named: str
) -> None:
    order = instruction(quantity="2", **asked)
    answer = refused(order, PLAIN_VENUE)
    assert answer.reason is Reason.NOT_SUPPORTED
    assert named in answer.detail
    assert needs_of(order, PLAIN_VENUE) == frozenset()


@pytest.mark.parametrize(
    ("kind", "prices", "named"),
    [
        (OrderType.LIMIT, {}, "limit_price"),
        (OrderType.STOP, {}, "stop_price"),
        (OrderType.STOP_LIMIT, {"stop_price": D(1)}, "limit_price"),
        (OrderType.STOP_LIMIT, {"limit_price": D(1)}, "stop_price"),
        (OrderType.MARKET, {"limit_price": D(1)}, "limit_price"),
        (OrderType.LIMIT, {"limit_price": D(1), "stop_price": D(1)}, "stop_price"),
    ],
)
def test_a_price_that_lacks_or_is_too_many_is_refused_by_name(
    kind: OrderType, prices: dict[str, Any], named: str
) -> None:
    answer = refused(instruction(quantity="1", order_type=kind, **prices))
    assert answer.reason is Reason.INVALID
    assert f'"{named}"' in answer.detail


def test_all_of_an_order_is_in_its_plan() -> None:
    asked = instruction(
        Action.SELL,
        "1.23456",
        order_type=OrderType.STOP_LIMIT,
        limit_price=D("99.991"),
        stop_price=D("101.999"),
        take_profit=ExitLevel(D(10), ExitUnit.PERCENT),
        stop_loss=ExitLevel(D("2.006"), ExitUnit.DISTANCE),
        time_in_force=TimeInForce.GTC,
        price=D(105),
    )
    assert needs_of(asked, ALL) == {Need.INSTRUMENT}
    instrument = Instrument(quantity_step=D("0.01"), price_step=D("0.01"))
    [leg] = planned(asked, instrument=instrument).plan.legs
    assert leg == OrderPlan(
        side=Side.SELL,
        quantity=D("1.23"),
        type=OrderType.STOP_LIMIT,
        limit_price=D(100),
        stop_price=D(102),
        take_profit=D(90),
        stop_loss=D(102),
        time_in_force=TimeInForce.GTC,
        reference_price=D(105),
    )


def test_exits_without_any_price_of_the_entry_are_refused() -> None:
    asked = instruction(quantity="1", stop_loss=ExitLevel(D(1), ExitUnit.PERCENT))
    assert Need.PRICE in needs_of(asked, ALL)
    assert refused(asked).reason is Reason.NO_PRICE
    assert planned(asked, price=D(100)).plan.legs[0].stop_loss == D(99)


@pytest.mark.parametrize(
    ("action", "exits"),
    [
        (Action.BUY, {"take_profit": ExitLevel(D(100))}),
        (Action.BUY, {"stop_loss": ExitLevel(D(101))}),
        (Action.SELL, {"take_profit": ExitLevel(D(101))}),
        (Action.SELL, {"stop_loss": ExitLevel(D(99))}),
        (Action.BUY, {"stop_loss": ExitLevel(D(100), ExitUnit.PERCENT)}),
    ],
)
def test_an_exit_on_the_wrong_side_of_its_entry_is_refused(action: Action, exits: dict[str, Any]) -> None:
    answer = refused(instruction(action, "1", price=D(100), **exits))
    assert answer.reason is Reason.INVALID
    assert f'"{next(iter(exits))}"' in answer.detail
