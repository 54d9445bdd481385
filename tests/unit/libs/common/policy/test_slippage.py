from decimal import Decimal

import pytest

from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, Side
from libs.common.policy.slippage import slippage_bps


def plan(side: Side, reference: str | None) -> OrderPlan:
    price = None if reference is None else Decimal(reference)
    return OrderPlan(side=side, quantity=Decimal(1), reference_price=price)


def filled(price: str | None) -> OrderReport:
    average = None if price is None else Decimal(price)
    return OrderReport(order_id="1", state=OrderState.FILLED, average_price=average)


@pytest.mark.parametrize(
    ("side", "reference", "price", "expected"),
    [
        (Side.BUY, "100", "100.5", 50.0),
        (Side.BUY, "100", "99.5", -50.0),
        (Side.SELL, "100", "99.5", 50.0),
        (Side.SELL, "100", "100.5", -50.0),
        (Side.BUY, "3", "3.0001", 0.3333),
        (Side.BUY, None, "100", None),
        (Side.BUY, "0", "100", None),
        (Side.BUY, "100", None, None),
    ],
)
def test_slippage_is_how_much_worse_than_the_alerts_price_a_fill_was(
    side: Side, reference: str | None, price: str | None, expected: float | None
) -> None:
    assert slippage_bps(plan(side, reference), filled(price)) == expected


def test_without_a_plan_or_a_report_it_cannot_be_told() -> None:
    assert slippage_bps(None, filled("1")) is None
    assert slippage_bps(plan(Side.BUY, "1"), None) is None
