"""The dry run: orders go to the log and nowhere else."""

from decimal import Decimal
from typing import Final

import structlog

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from services.worker.brokers.port import Capabilities, Deduplication, LookUp, StillOurs

logger = structlog.get_logger()


class LogBroker:
    """Answers every order as filled at the alert's price, and executes none.

    `find` therefore knows no order, truthfully: an attempt whose answer was lost is made again, which writes one
    more line and trades nothing.
    """

    capabilities: Final = Capabilities(Deduplication.NONE, honours_expiry=True, look_up=LookUp.AUTHORITATIVE)

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Write the order to the log, at debug."""
        logger.debug(
            "order_logged",
            alert_id=request.alert_id,
            account=request.account,
            symbol=request.symbol,
            client_order_id=request.client_order_id,
            side=request.plan.side,
            quantity=str(request.plan.quantity),
        )
        return OrderReport(
            order_id=f"log-{request.client_order_id}",
            state=OrderState.FILLED,
            filled_quantity=request.plan.quantity,
            average_price=request.plan.reference_price,
        )

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        """Know no order."""
        return None

    async def position(self, symbol: Market) -> Decimal:
        """Hold nothing."""
        return Decimal(0)

    async def price(self, symbol: Market) -> Decimal | None:
        """Know no price."""
        return None

    async def aclose(self) -> None:
        """Have nothing to close."""
