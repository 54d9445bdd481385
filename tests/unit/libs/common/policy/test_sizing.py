from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, ExitLevel, ExitUnit, MarketPosition, QuantityUnit, TimeInForce
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction, beyond_plain
from libs.common.domain.order import OrderPlan, OrderType, Plan, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Balance, Instrument, OpenOrder, OrderAbilities
from libs.common.policy.readings import Need, Readings, needs_of
from libs.common.policy.sizing import NothingToDo, Planned, Refused, plan_order

ALL = OrderAbilities()
PLAIN_VENUE = OrderAbilities(
    types=frozenset({OrderType.MARKET}),
    has_take_profit=False,
    has_stop_loss=False,
    has_reduce_only=False,
    times_in_force=frozenset(),
)
D = Decimal
BTC = Market("BTCUSDT")


def instruction(action: Action = Action.BUY, quantity: str | None = None, **more: Any) -> Instruction:
    return Instruction(
        alert_id=AlertId("0" * 26),
        account=AccountName("desk"),
        market=BTC,
        action=action,
        quantity=None if quantity is None else D(quantity),
        **more,
    )


def planned(asked: Instruction, abilities: OrderAbilities = ALL, **read: Any) -> Planned:
    answer = plan_order(asked, Readings(**read), None, abilities)
    assert isinstance(answer, Planned), answer
    return answer


def legs(asked: Instruction, **read: Any) -> list[tuple[Side, str, bool]]:
    return [(leg.side, str(leg.quantity), leg.is_exit) for leg in planned(asked, **read).plan.legs]


def refused(asked: Instruction, abilities: OrderAbilities = ALL, **read: Any) -> Refused:
    answer = plan_order(asked, Readings(**read), None, abilities)
    assert isinstance(answer, Refused), answer
    return answer


def idle(asked: Instruction, **read: Any) -> NothingToDo:
    answer = plan_order(asked, Readings(**read), None, ALL)
    assert isinstance(answer, NothingToDo), answer
    return answer


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


# Closing

LONG, SHORT, FLAT = D("1.5"), D("-1.5"), D(0)


@pytest.mark.parametrize(
    ("action", "held", "side"),
    [
        (Action.CLOSE_LONG, LONG, Side.SELL),
        (Action.CLOSE_SHORT, SHORT, Side.BUY),
        (Action.CLOSE_ALL, LONG, Side.SELL),
        (Action.CLOSE_ALL, SHORT, Side.BUY),
    ],
)
@pytest.mark.parametrize(("quantity", "traded"), [(None, "1.5"), ("1", "1"), ("1.5", "1.5"), ("9", "1.5")])
def test_a_close_trades_what_is_open_and_never_more(
    action: Action, held: Decimal, side: Side, quantity: str | None, traded: str
) -> None:
    [leg] = planned(instruction(action, quantity), position=held).plan.legs
    assert (leg.side, str(leg.quantity), leg.is_exit, leg.reduce_only) == (side, traded, True, True)


@pytest.mark.parametrize(
    ("action", "held"),
    [
        (Action.CLOSE_LONG, SHORT),
        (Action.CLOSE_LONG, FLAT),
        (Action.CLOSE_SHORT, LONG),
        (Action.CLOSE_SHORT, FLAT),
        (Action.CLOSE_ALL, FLAT),
    ],
)
@pytest.mark.parametrize("quantity", [None, "1"])
def test_where_nothing_is_open_on_that_side_nothing_is_closed(
    action: Action, held: Decimal, quantity: str | None
) -> None:
    assert idle(instruction(action, quantity), position=held).reason is Reason.NOTHING_TO_CLOSE


def test_an_exit_at_a_venue_without_reduce_only_is_one_by_its_size_alone() -> None:
    [leg] = planned(instruction(Action.CLOSE_ALL), PLAIN_VENUE, position=LONG).plan.legs
    assert (leg.reduce_only, leg.is_exit) == (False, True)


@pytest.mark.parametrize(
    "asked",
    [
        instruction(Action.CLOSE_ALL),
        instruction(Action.BUY, "1", reduce_only=True),
        instruction(Action.TARGET, "1", position=MarketPosition.LONG),
        instruction(Action.FLIP, "1", position=MarketPosition.LONG),
        instruction(Action.BUY, "1", unit=QuantityUnit.PERCENT_OF_POSITION),
    ],
)
def test_a_venue_that_does_not_tell_positions_closes_nothing(asked: Instruction) -> None:
    assert Need.POSITION in needs_of(asked, ALL)
    answer = refused(asked)
    assert answer.reason is Reason.NOT_SUPPORTED
    assert "venue does not tell" in answer.detail


def test_a_part_of_a_position_is_closed_in_percent() -> None:
    asked = instruction(Action.CLOSE_ALL, "50", unit=QuantityUnit.PERCENT_OF_POSITION)
    assert legs(asked, position=D("-0.3")) == [(Side.BUY, "0.15", True)]
    whole = msgspec.structs.replace(asked, quantity=D(100))
    assert legs(whole, position=D("0.123456789123")) == [(Side.SELL, "0.123456789123", True)]


def test_dust_below_the_markets_step_is_nothing_to_close() -> None:
    read = {"position": D("0.0004"), "instrument": Instrument(quantity_step=D("0.001"))}
    assert idle(instruction(Action.CLOSE_ALL), **read).reason is Reason.NOTHING_TO_CLOSE


def test_a_rest_below_the_least_order_may_be_closed() -> None:
    read = {"position": D("0.5"), "instrument": Instrument(min_quantity=D(1), min_value=D(100))}
    assert legs(instruction(Action.CLOSE_ALL, price=D(1)), **read) == [(Side.SELL, "0.5", True)]


@pytest.mark.parametrize(
    ("action", "held", "expected"),
    [
        (Action.SELL, "3", [(Side.SELL, "2", True)]),
        (Action.SELL, "1", [(Side.SELL, "1", True)]),
        (Action.BUY, "-1", [(Side.BUY, "1", True)]),
    ],
)
def test_a_reduce_only_order_is_capped_at_what_is_open(action: Action, held: str, expected: object) -> None:
    assert legs(instruction(action, "2", reduce_only=True), position=D(held)) == expected


@pytest.mark.parametrize(("action", "held"), [(Action.BUY, LONG), (Action.SELL, SHORT), (Action.BUY, FLAT)])
def test_a_reduce_only_order_opens_nothing(action: Action, held: Decimal) -> None:
    assert idle(instruction(action, "2", reduce_only=True), position=held).reason is Reason.NOTHING_TO_CLOSE


# Targets and flips

B, S = Side.BUY, Side.SELL


@pytest.mark.parametrize(
    ("position", "held", "expected"),
    [
        ("long", "0", [(B, "2", False)]),
        ("long", "0.5", [(B, "1.5", False)]),
        ("long", "3", [(S, "1", True)]),
        ("long", "-1", [(B, "1", True), (B, "2", False)]),
        ("short", "0", [(S, "2", False)]),
        ("short", "-0.5", [(S, "1.5", False)]),
        ("short", "-3", [(B, "1", True)]),
        ("short", "1", [(S, "1", True), (S, "2", False)]),
    ],
)
def test_a_target_trades_what_is_missing(position: str, held: str, expected: object) -> None:
    asked = instruction(Action.TARGET, "2", position=MarketPosition(position))
    assert legs(asked, position=D(held)) == expected


@pytest.mark.parametrize("held", ["2", "2.0004"])
def test_a_target_that_is_reached_trades_nothing(held: str) -> None:
    asked = instruction(Action.TARGET, "2", position=MarketPosition.LONG)
    read = {"position": D(held), "instrument": Instrument(quantity_step=D("0.001"))}
    assert idle(asked, **read).reason is Reason.ALREADY_THERE


def test_a_target_as_near_as_the_market_trades_is_reached() -> None:
    asked = instruction(Action.TARGET, "2", position=MarketPosition.LONG)
    instrument = Instrument(quantity_step=D("0.001"), min_quantity=D("0.1"))
    assert idle(asked, position=D("1.95"), instrument=instrument).reason is Reason.ALREADY_THERE
    small = msgspec.structs.replace(asked, quantity=D("0.05"))
    assert refused(small, position=D(0), instrument=instrument).reason is Reason.TOO_SMALL


@pytest.mark.parametrize("action", [Action.TARGET, Action.FLIP])
def test_a_flat_goal_closes_all(action: Action) -> None:
    asked = instruction(action, position=MarketPosition.FLAT)
    assert legs(asked, position=LONG) == [(Side.SELL, "1.5", True)]
    assert idle(asked, position=FLAT).reason is Reason.NOTHING_TO_CLOSE


@pytest.mark.parametrize("action", [Action.TARGET, Action.FLIP])
def test_a_goal_without_a_direction_is_refused(action: Action) -> None:
    answer = refused(instruction(action, "1"), position=FLAT)
    assert answer.reason is Reason.INVALID
    assert '"position"' in answer.detail


@pytest.mark.parametrize(
    ("position", "held", "expected"),
    [
        ("long", "0", [(B, "2", False)]),
        ("long", "-3", [(B, "3", True), (B, "2", False)]),
        ("long", "1", [(B, "2", False)]),
        ("short", "3", [(S, "3", True), (S, "2", False)]),
        ("short", "-1", [(S, "2", False)]),
    ],
)
def test_a_flip_closes_the_other_side_and_adds_its_size(position: str, held: str, expected: object) -> None:
    asked = instruction(Action.FLIP, "2", position=MarketPosition(position))
    assert legs(asked, position=D(held)) == expected


@pytest.mark.parametrize("action", [Action.TARGET, Action.FLIP])
def test_exits_go_with_the_order_that_opens_and_never_with_the_one_that_closes(action: Action) -> None:
    asked = instruction(
        action,
        "2",
        position=MarketPosition.LONG,
        price=D(100),
        take_profit=ExitLevel(D(120)),
        stop_loss=ExitLevel(D(90)),
    )
    first, second = planned(asked, position=D(-1)).plan.legs
    assert (first.take_profit, first.stop_loss) == (None, None)
    assert (second.take_profit, second.stop_loss, second.reduce_only) == (D(120), D(90), False)


def test_what_only_lessens_says_that_it_carries_no_exits() -> None:
    asked = instruction(
        Action.TARGET, "1", position=MarketPosition.LONG, price=D(100), stop_loss=ExitLevel(D(90))
    )
    answer = planned(asked, position=D(3))
    assert answer.plan.legs[0].stop_loss is None
    assert "no stop-loss" in answer.sizing


@pytest.mark.parametrize("kind", [OrderType.STOP, OrderType.STOP_LIMIT])
def test_no_pair_of_stop_orders_is_planned(kind: OrderType) -> None:
    limit = D(91) if kind is OrderType.STOP_LIMIT else None
    asked = instruction(
        Action.FLIP, "1", position=MarketPosition.LONG, order_type=kind, stop_price=D(90), limit_price=limit
    )
    assert refused(asked, position=D(-1)).reason is Reason.NOT_SUPPORTED
    assert legs(asked, position=D(0)) == [(Side.BUY, "1", False)]


def test_a_limit_order_that_would_have_to_close_and_open_is_refused() -> None:
    asked = instruction(
        Action.FLIP, "1", position=MarketPosition.SHORT, order_type=OrderType.LIMIT, limit_price=D(90)
    )
    assert refused(asked, position=D(1)).reason is Reason.NOT_SUPPORTED
    assert [leg.limit_price for leg in planned(asked, position=D(0)).plan.legs] == [D(90)]


def test_a_reduce_only_target_lessens_and_opens_nothing() -> None:
    asked = instruction(Action.TARGET, "2", position=MarketPosition.LONG, reduce_only=True)
    assert legs(asked, position=D(-1)) == [(Side.BUY, "1", True)]
    assert legs(asked, position=D(3)) == [(Side.SELL, "1", True)]
    assert idle(asked, position=D(1)).reason is Reason.NOTHING_TO_CLOSE


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


# Sizes

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


positions = st.decimals(min_value=D(-1000), max_value=D(1000), places=4)
sizes = st.decimals(min_value=D("0.0001"), max_value=D(1000), places=4)
ways = st.sampled_from([MarketPosition.LONG, MarketPosition.SHORT])


@given(held=positions, size=sizes, way=ways)
def test_after_a_target_the_position_is_the_target(held: Decimal, size: Decimal, way: MarketPosition) -> None:
    asked = instruction(Action.TARGET, str(size), position=way)
    answer = plan_order(asked, Readings(position=held), None, ALL)
    wanted = size if way is MarketPosition.LONG else -size
    if isinstance(answer, NothingToDo):
        assert held == wanted
        return
    assert isinstance(answer, Planned)
    assert held + sum(moved(leg) for leg in answer.plan.legs) == wanted


@given(
    held=positions,
    size=st.none() | sizes,
    action=st.sampled_from(list(Action)),
    way=st.sampled_from([*MarketPosition]),
    reduce_only=st.booleans(),
)
def test_an_exit_never_turns_a_position_around(
    held: Decimal, size: Decimal | None, action: Action, way: MarketPosition, reduce_only: bool
) -> None:
    asked = msgspec.structs.replace(instruction(action, position=way, reduce_only=reduce_only), quantity=size)
    answer = plan_order(asked, Readings(position=held, open_orders=()), D(1), ALL)
    if not isinstance(answer, Planned):
        return
    for leg in answer.plan.legs:
        after = held + moved(leg)
        if leg.is_exit:
            assert abs(after) < abs(held)
            assert after * held >= 0
        else:
            assert not reduce_only
        held = after


@given(
    st.sampled_from([*Action]), st.sampled_from([*QuantityUnit]), st.sampled_from([*OrderType]), st.booleans()
)
def test_only_what_is_plain_needs_nothing_of_its_venue(
    action: Action, unit: QuantityUnit, kind: OrderType, reduce_only: bool
) -> None:
    asked = instruction(action, "1", unit=unit, order_type=kind, reduce_only=reduce_only)
    assert bool(needs_of(asked, ALL)) == bool(beyond_plain(asked))


def moved(leg: OrderPlan) -> Decimal:
    return leg.quantity if leg.side is Side.BUY else -leg.quantity
