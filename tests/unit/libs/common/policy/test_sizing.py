from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import (
    Action,
    AlertContent,
    ExitLevel,
    ExitUnit,
    MarketPosition,
    QuantityUnit,
    TimeInForce,
)
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction, beyond_plain
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.domain.reasons import Reason
from libs.common.policy.sizing import Refused, plan_order


def instruction(action: Action = Action.BUY, quantity: str | None = None) -> Instruction:
    return Instruction(
        alert_id=AlertId("0" * 26),
        account=AccountName("desk"),
        market=Market("BTCUSDT"),
        action=action,
        quantity=None if quantity is None else Decimal(quantity),
        price=Decimal("64123.45"),
    )


@pytest.mark.parametrize(("action", "side"), [(Action.BUY, Side.BUY), (Action.SELL, Side.SELL)])
def test_an_action_trades_its_side_at_market(action: Action, side: Side) -> None:
    plan = plan_order(instruction(action, "2"), None)
    assert plan == OrderPlan(
        side=side, quantity=Decimal(2), type=OrderType.MARKET, reference_price=Decimal("64123.45")
    )


def test_the_alerts_quantity_comes_before_the_accounts() -> None:
    plan = plan_order(instruction(quantity="0.123456789012345678"), Decimal(7))
    assert isinstance(plan, OrderPlan)
    assert str(plan.quantity) == "0.123456789012345678"


def test_an_alert_without_a_quantity_takes_the_accounts() -> None:
    plan = plan_order(instruction(), Decimal("0.5"))
    assert isinstance(plan, OrderPlan)
    assert plan.quantity == Decimal("0.5")


def test_without_any_quantity_there_is_nothing_to_send() -> None:
    refused = plan_order(instruction(), None)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.NO_QUANTITY


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        *(
            ({"action": action}, f'action "{action}"')
            for action in Action
            if action not in {Action.BUY, Action.SELL}
        ),
        *(({"unit": unit}, f'"{unit}"') for unit in QuantityUnit if unit is not QuantityUnit.UNITS),
        *(({"order_type": kind}, f'"{kind}"') for kind in OrderType if kind is not OrderType.MARKET),
        *(({"time_in_force": force}, f'"{force}"') for force in TimeInForce),
        ({"take_profit": ExitLevel(Decimal(1))}, "take-profit"),
        ({"stop_loss": ExitLevel(Decimal(1), ExitUnit.PERCENT)}, "stop-loss"),
        ({"reduce_only": True}, "reduce only"),
        ({"action": Action.CANCEL, "quantity": None}, "cancel"),
        ({"action": Action.FLIP, "stop_loss": ExitLevel(Decimal(1))}, "a stop-loss"),
    ],
)
def test_what_cannot_be_executed_is_refused_by_name_and_never_traded_as_something_else(
    asked: dict[str, object], named: str
) -> None:
    refused = plan_order(msgspec.structs.replace(instruction(quantity="2"), **asked), Decimal(1))
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.NOT_SUPPORTED
    assert named in refused.detail


def test_all_that_cannot_be_executed_is_named() -> None:
    asked = msgspec.structs.replace(
        instruction(Action.TARGET), unit=QuantityUnit.QUOTE, order_type=OrderType.STOP, reduce_only=True
    )
    refused = plan_order(asked, Decimal(1))
    assert isinstance(refused, Refused)
    for name in ("target", "quote", "stop", "reduce only"):
        assert name in refused.detail


levels = st.none() | st.builds(ExitLevel, st.just(Decimal(1)), st.sampled_from(list(ExitUnit)))


@given(
    st.builds(
        AlertContent,
        dialect=st.just("bascule"),
        action=st.sampled_from(list(Action)),
        symbol=st.just("BTC"),
        quantity=st.none() | st.just(Decimal(1)),
        unit=st.sampled_from(list(QuantityUnit)),
        order_type=st.sampled_from(list(OrderType)),
        take_profit=levels,
        stop_loss=levels,
        reduce_only=st.booleans(),
        time_in_force=st.sampled_from([None, *TimeInForce]),
        position=st.sampled_from([None, *MarketPosition]),
    )
)
def test_an_order_is_planned_for_plain_alerts_and_for_no_others(content: AlertContent) -> None:
    fields = {
        name: getattr(content, name)
        for name in AlertContent.__struct_fields__
        if name in Instruction.__struct_fields__ and name not in {"symbol", "exchange"}
    }
    asked = Instruction(
        alert_id=AlertId("0" * 26), account=AccountName("desk"), market=Market("BTC"), **fields
    )
    assert isinstance(plan_order(asked, Decimal(1)), OrderPlan) == (not beyond_plain(content))
