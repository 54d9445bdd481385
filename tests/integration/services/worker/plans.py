"""What the tests of instructions with several steps have in common."""

from decimal import Decimal
from typing import Any

from libs.common.domain.alert import Action, MarketPosition
from libs.common.domain.ids import AlertId, ClientOrderId, Market, client_order_id
from libs.common.domain.order import OrderReport, OrderRequest, Side
from libs.common.domain.venue import OpenOrder
from tests.integration.services.worker.rig import DESK
from tests.support.scripted_broker import ScriptedBroker

BTC = Market("BTC")
LONG: dict[str, Any] = {"position": MarketPosition.LONG, "position_size": Decimal(2)}
FLIP: dict[str, Any] = {"action": Action.FLIP, "quantity": "3", "position": MarketPosition.LONG}


def second(alert: AlertId) -> ClientOrderId:
    return client_order_id(DESK, alert, 1)


def sent(broker: ScriptedBroker) -> list[tuple[Side, Decimal, bool]]:
    return [(one.plan.side, one.plan.quantity, one.plan.reduce_only) for one in broker.requests]


def moves_position(broker: ScriptedBroker) -> None:
    """Have what the venue executes change what it says of its positions."""
    execute = broker.execute

    def executes(request: OrderRequest, *args: Any, **options: Any) -> OrderReport:
        report = execute(request, *args, **options)
        sign = 1 if request.plan.side is Side.BUY else -1
        held = broker.positions.get(request.symbol, Decimal(0))
        broker.positions[request.symbol] = held + sign * report.filled_quantity
        return report

    broker.execute = executes  # type: ignore[method-assign]


def rests(order_id: str, market: str = "BTC") -> OpenOrder:
    return OpenOrder(order_id=order_id, symbol=Market(market), side=Side.BUY, quantity=Decimal(1))
