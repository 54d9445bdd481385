"""What closes, reduces, reaches a target or flips."""

from decimal import Decimal

import msgspec
import pytest

from libs.common.domain.alert import Action, ExitLevel, MarketPosition, QuantityUnit
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderType, Side
from libs.common.domain.reasons import Reason
from libs.common.domain.venue import Instrument
from libs.common.policy.readings import Need, needs_of
from tests.unit.libs.common.policy.sizing_answers import (
    ALL,
    FLAT,
    LONG,
    PLAIN_VENUE,
    SHORT,
    D,
    idle,
    instruction,
    legs,
    planned,
    refused,
)


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
