"""Ends the head of a lane, or puts it to wait where it cannot be ended yet."""

import random
from typing import Final

from msgspec.structs import replace

from libs.common.domain.clock import Clock
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.policy.retry import backoff_ms
from libs.common.store.head import Head, Moved, Stale
from libs.common.store.order_answers import BegunNext
from libs.common.store.orders import OrderOutcome, Orders, Settlement
from libs.common.telemetry.execution_spans import note_ended
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.ahead import Ahead
from services.worker.doubts import has_ambiguous_order, is_ambiguous
from services.worker.leases import Lease
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.work import AGAIN_MS, Done, Ended, Next, Prepared, Unread, Work

FOR_OTHERS_MS: Final = 1_000
"""How long a lane waits whose head another worker may be able to execute, as in a rolling update."""

HELD_MS: Final = 5_000
"""How long a lane waits whose head cannot be settled, because its order may still execute."""

log = get_logger()


class Endings:
    """What is done with a head of which nothing more can be executed now; each returns what comes next in its lane."""

    def __init__(
        self, *, orders: Orders, ahead: Ahead, parker: Parker, clock: Clock, metrics: WorkerMetrics
    ) -> None:
        self._orders = orders
        self._ahead = ahead
        self._parker = parker
        self._clock = clock
        self._metrics = metrics

    async def settle(
        self,
        lease: Lease,
        head: Head,
        ended: Ended,
        order: OrderOutcome | None = None,
        prepared: Prepared | None = None,
    ) -> Next:
        """End a head, with what became of its last order; and begin what is behind it, where that was prepared.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
        """
        settlement = Settlement(
            lease.held,
            head.entry_id,
            ended.state,
            ended.reason,
            ended.detail,
            order,
            goes_back=lease.turn.goes_back(),
        )
        if prepared is None:
            following = await self._settle(lease, settlement)
        else:
            following = await self._ahead.begin_with(
                prepared, lambda intent: self._orders.settle.submit(replace(settlement, intent=intent))
            )
        if not isinstance(following, Moved | Stale):
            self._metrics.settled(ended.state, ended.reason)
            note_ended(ended.state, ended.reason)
            if ended.state is not InstructionState.EXECUTED:
                log.info("instruction_ended", state=ended.state, reason=ended.reason)
        return following

    async def _settle(self, lease: Lease, settlement: Settlement) -> Next:
        following = await persist(lambda: self._orders.settle.submit(settlement), lease)
        assert not isinstance(following, BegunNext), "nothing was to be begun"
        return following

    async def leave_to_others(self, lease: Lease, head: Head, reason: Reason, detail: str) -> Next:
        """Park a head that this worker cannot execute, though another may; end it when its time is over."""
        is_over = head.now_ms >= head.deadline_ms
        if not is_over or is_ambiguous(head):
            # In the end counted among the lanes that an operator can help.
            waits_for = Reason.RESOLVING if is_over else reason
            return await self._parker.park(lease, FOR_OTHERS_MS, waits_for, detail=detail)
        return await self.settle(lease, head, Ended(InstructionState.EXPIRED, reason, detail))

    async def end_unplanned(self, lease: Lease, head: Head, ended: Ended) -> Next:
        """End a head that cannot be executed at all; unless an order of it may still be executing."""
        if has_ambiguous_order(head):
            log.error("head_held", reason=ended.reason, detail=ended.detail)
            return await self._parker.park(lease, HELD_MS, Reason.RESOLVING, detail=ended.detail)
        return await self.settle(lease, head, ended)

    async def ask_again(self, work: Work, unread: Unread) -> Next:
        """Park a head of which cannot be told now what it depends on; end it when its time is over."""
        left_ms = work.left_ms(self._clock)
        if left_ms == 0:
            return await self.settle(
                work.lease, work.head, Ended(InstructionState.EXPIRED, Reason.TOO_OLD, unread.detail)
            )
        wait_ms = unread.wait_ms
        if wait_ms is None:
            wait_ms = AGAIN_MS + backoff_ms(1, base_ms=AGAIN_MS, cap_ms=AGAIN_MS, uniform=random.uniform)
        return await self._parker.park(work.lease, min(wait_ms, left_ms), unread.reason, detail=unread.detail)


def ended_by(done: Done) -> Ended:
    """Return how an instruction ends by what became of its last order."""
    report = done.report
    match report.state:
        case OrderState.FILLED:
            state, reason = InstructionState.EXECUTED, Reason.FILLED
        case OrderState.ACCEPTED | OrderState.PARTIAL:
            state, reason = InstructionState.EXECUTED, Reason.ACCEPTED
        case _ if report.filled_quantity > 0:
            # It ended at the venue, but a part was traded: there is a position, and nothing to replay.
            state, reason = InstructionState.EXECUTED, Reason.PARTLY_FILLED
        case _:
            state, reason = InstructionState.REJECTED, done.refused_for
    return Ended(state, reason, report.detail or "")
