from decimal import Decimal

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
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
