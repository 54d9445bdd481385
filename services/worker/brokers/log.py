"""The dry run: orders go to the log and nowhere else."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from libs.common.domain.errors import BrokerUnavailable
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderRequest
from libs.common.telemetry.logs import get_logger
from services.worker.brokers.port import NOT_OURS, Capabilities, Deduplication, LookUp, StillOurs


class LogBroker:
    """Answers every order as filled at the alert's price, and executes none.

    `find` therefore knows no order, truthfully: an attempt whose answer was lost is made again, which writes one
    more line and trades nothing. For the same reason no id ever executes twice, and no order is refused as expired:
    there is nothing that could come too late, and a clock would only add a way to differ from Redis'.
    """

    capabilities: Final = Capabilities(
        Deduplication.LIFETIME, honours_expiry=False, look_up=LookUp.AUTHORITATIVE, has_positions=False
    )

    def __init__(self) -> None:
        # Bound once: a filtered-out line then costs one empty call.
        self._log = get_logger().bind()

    async def place(self, request: OrderRequest, still_ours: StillOurs) -> OrderReport:
        """Write the order to the log, at debug."""
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        plan = request.plan
        self._log.debug(
            "order_logged",
            alert_id=request.alert_id,
            account=request.account,
            symbol=request.symbol,
            client_order_id=request.client_order_id,
            side=plan.side,
            quantity=str(plan.quantity),
        )
        return OrderReport(
            order_id=f"log-{request.client_order_id}",
            state=OrderState.FILLED,
            filled_quantity=plan.quantity,
            average_price=plan.reference_price,
        )

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:  # noqa: ARG002
        """Know no order."""
        return None

    async def position(self, symbol: Market) -> Decimal:  # noqa: ARG002
        """Hold nothing."""
        return Decimal(0)

    async def price(self, symbol: Market) -> Decimal | None:  # noqa: ARG002
        """Know no price."""
        return None

    async def account(self) -> None:
        """Have no money."""

    async def instrument(self, symbol: Market) -> None:
        """Take any quantity at any price."""

    async def open_orders(self, symbol: Market | None = None) -> None:
        """Let nothing rest."""

    async def cancel_open(self, symbol: Market, order_ids: Sequence[str], still_ours: StillOurs) -> None:
        """Have nothing to cancel."""

    async def markets(self) -> None:
        """Take any name."""

    async def aclose(self) -> None:
        """Have nothing to close."""
