from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action, ExitLevel, MarketPosition, QuantityUnit
from libs.common.domain.ids import AccountName, AlertId, Market
from libs.common.domain.instruction import Instruction
from libs.common.domain.order import OrderType
from libs.common.domain.venue import OrderAbilities
from libs.common.policy.readings import Need, needs_of

D = Decimal
LONG = MarketPosition.LONG


@pytest.mark.parametrize(
    ("asked", "needs"),
    [
        ({}, ""),
        ({"quantity": None}, ""),
        ({"reduce_only": True}, "instrument position"),
        ({"action": Action.CLOSE_ALL}, "instrument position"),
        ({"action": Action.TARGET, "position": LONG}, "instrument position"),
        ({"action": Action.FLIP, "position": LONG}, "instrument position"),
        ({"action": Action.CANCEL}, "open_orders"),
        ({"order_type": OrderType.LIMIT, "limit_price": D(1)}, "instrument"),
        ({"unit": QuantityUnit.QUOTE}, "instrument price"),
        ({"unit": QuantityUnit.QUOTE, "price": D(1)}, "instrument"),
        ({"unit": QuantityUnit.QUOTE, "order_type": OrderType.LIMIT, "limit_price": D(1)}, "instrument"),
        ({"unit": QuantityUnit.PERCENT_OF_EQUITY, "price": D(1)}, "instrument balance"),
        ({"unit": QuantityUnit.PERCENT_OF_POSITION}, "instrument position"),
        ({"unit": QuantityUnit.RISK_QUOTE, "stop_loss": ExitLevel(D(1))}, "instrument price"),
        ({"unit": QuantityUnit.RISK_PERCENT, "price": D(1)}, "instrument balance"),
        ({"stop_loss": ExitLevel(D(1))}, "instrument price"),
        ({"take_profit": ExitLevel(D(1)), "price": D(2)}, "instrument"),
    ],
)
def test_a_venue_is_asked_for_no_more_than_a_plan_takes(asked: dict[str, Any], needs: str) -> None:
    order = Instruction(
        **{
            "alert_id": AlertId("0" * 26),
            "account": AccountName("desk"),
            "market": Market("BTCUSDT"),
            "action": Action.BUY,
            "quantity": D(1),
            **asked,
        }
    )
    assert needs_of(order, OrderAbilities()) == {Need(name) for name in needs.split()}
