"""Finds out what became of an order, and holds its lane where that cannot be told now."""

from typing import assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.runtime.account_settings import OnUnknown
from libs.common.store.head import Moved, Stale
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.parking import Parker
from services.worker.resolver import Adopted, NeverExecuted, NotYet, Resolver
from services.worker.work import Ended, Step, Work

log = get_logger()


class LookUps:
    """Has the orders of heads looked up; knows nothing of what is sent after that."""

    def __init__(self, *, resolver: Resolver, parker: Parker, clock: Clock, metrics: WorkerMetrics) -> None:
        self._resolver = resolver
        self._parker = parker
        self._clock = clock
        self._metrics = metrics

    async def look_up(
        self, work: Work, order_id: ClientOrderId, attempt: int, *, unknown_for_ms: int
    ) -> Adopted | NeverExecuted | Ended | Step:
        """Return what became of an attempt whose outcome is unknown.

        Args:
            work: Its head.
            order_id: The order.
            attempt: Its latest.
            unknown_for_ms: How long its request has been over already.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        resolution = await self._resolver.resolve(
            work.lease,
            work.account.broker,
            order_id,
            attempt,
            work.instruction.market,
            unknown_for_ms=unknown_for_ms,
        )
        match resolution:
            case Adopted() | NeverExecuted() | Moved() | Stale():
                return resolution
            case NotYet(wait_ms, is_held):
                return await self._hold(work, order_id, wait_ms, is_held=is_held)
            case _:
                assert_never(resolution)

    async def _hold(
        self, work: Work, order_id: ClientOrderId, wait_ms: int, *, is_held: bool
    ) -> Ended | Step:
        """Park a lane whose order cannot be told; or lose sight of the order, where the account rather does that."""
        is_over = work.left_ms(self._clock) == 0
        if is_held and is_over and work.account.on_unknown is OnUnknown.SKIP:
            log.error("order_given_up", client_order_id=order_id)
            detail = f"the venue cannot say what became of order {order_id}"
            return Ended(InstructionState.DEAD, Reason.OUTCOME_UNKNOWN, detail)
        if is_held:
            # A guess could trade twice: the lane is held until the venue knows the order or an operator decides.
            log.error("order_held", client_order_id=order_id)
            self._metrics.order_held(work.head.account)
        return await self._parker.park(work.lease, wait_ms, Reason.RESOLVING)
