"""Runs one held lane: open, then head after head, until it is empty, parked, handed back or lost."""

import random
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment
from libs.common.policy.retry import backoff_ms
from libs.common.store.head import Closed, HandedBack, Head, Moved, Stale
from libs.common.store.lanes import Lanes, Parking
from libs.common.telemetry.execution_spans import note_lost, processing
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import is_outage
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.subject import turn_to
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.executor import Executor
from services.worker.leases import Lease
from services.worker.persistence import persist
from services.worker.recall import Recall
from services.worker.solo import Solo
from services.worker.subjects import HeadSubject
from services.worker.work import BegunHead, Next

MOVED_AT_MOST: Final = 5
"""Times in a row that a head may turn out to have moved on, before that counts as an error of its records."""

FAILED_BASE_MS: Final = 100
FAILED_CAP_MS: Final = 5_000

log = get_logger()


class LaneRunner:
    """Runs held lanes, each in a task of its own."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        executor: Executor,
        recall: Recall,
        solo: Solo,
        clock: Clock,
        metrics: WorkerMetrics,
        tracer: Tracer = OFF,
    ) -> None:
        self._lanes = lanes
        self._executor = executor
        self._recall = recall
        self._solo = solo
        self._clock = clock
        self._metrics = metrics
        self._tracer = tracer

    async def run(self, lease: Lease) -> None:
        """Run a lane until it is ours no longer. An unexpected error counts against its head."""
        head: Head | None = None
        try:
            moved = 0
            step: Next = await self._executor.take(lease)
            lease.opened()
            while True:
                match step:
                    case Head():
                        self._turn_to(lease, step, head)
                        head = step
                    case BegunHead():
                        self._turn_to(lease, step.work.head, head)
                        head = step.work.head
                    case Moved():
                        moved += 1
                        if moved > MOVED_AT_MOST:
                            raise StoreCorrupt(
                                f"{lease.held.lane}: records of its head contradict one another"
                            )
                        step = await persist(lambda: self._lanes.open.submit(lease.held), lease)
                        continue
                    case Stale():
                        self._metrics.lane_lost()
                        return
                    case Closed() | HandedBack():
                        return
                    case _:
                        assert_never(step)
                if isinstance(step, Head) and self._recall.is_on:
                    await persist(lambda: self._lanes.yield_.submit(lease.held), lease)
                    return
                step = await self._execute(lease, head, step)
                moved = 0 if isinstance(step, Head | BegunHead) else moved
        except StoreUnavailable as error:
            if is_outage(error):
                log.debug("lane_dropped", lane=lease.held.lane, error=str(error))
            else:
                log.warning("lane_dropped", lane=lease.held.lane, error=str(error))
        except Exception as error:
            log.exception("lane_failed", lane=lease.held.lane)
            self._metrics.lane_failed()
            await self._blame(lease, head, error)

    def _turn_to(self, lease: Lease, head: Head, before: Head | None) -> None:
        """Note which head is executed from here on, after which."""
        turn_to(HeadSubject(lease.held, head, self._clock, self._clock.monotonic_ms()))
        if head.lost_holders and before is None:
            log.info("head_taken_over", lost_holders=head.lost_holders)
        if head.is_first and (before is None or before.entry_id != head.entry_id):
            self._metrics.reached(head.queued_ms)

    async def _execute(self, lease: Lease, head: Head, step: Head | BegunHead) -> Next:
        """Execute a head, begun or not, within a span of its own."""
        if not self._tracer.is_on:
            return await self._execute_head(lease, step)
        with processing(
            self._tracer,
            head.body,
            head.alert_id,
            head.account,
            queue_wait_ms=head.queued_ms,
            lost_holders=head.lost_holders,
        ):
            following = await self._execute_head(lease, step)
            if isinstance(following, Stale):
                note_lost()
            return following

    async def _execute_head(self, lease: Lease, head: Head | BegunHead) -> Next:
        if isinstance(head, BegunHead):
            return await self._executor.go_on(head)
        if self._executor.treatment(head) is not Treatment.SOLO:
            return await self._executor.execute(lease, head)
        async with self._solo.alone():
            log.warning("head_executed_alone", lost_holders=head.lost_holders)
            return await self._executor.execute(lease, head)

    async def _blame(self, lease: Lease, head: Head | None, error: Exception) -> None:
        """Park the lane with its head blamed, so that it neither spins nor stays with a worker that fails on it."""
        failures = (head.lost_holders if head else 0) + 1
        parking = Parking(
            lease.held,
            backoff_ms(failures, base_ms=FAILED_BASE_MS, cap_ms=FAILED_CAP_MS, uniform=random.uniform),
            0,
            Reason.FAILED,
            is_to_blame=True,
            detail=f"{type(error).__name__}: {error}"[:200],
        )
        try:
            await persist(lambda: self._lanes.park.submit(parking), lease)
        except Exception:
            # Its lease lapses, and the reaper gives the lane to another.
            log.exception("lane_not_parked", lane=lease.held.lane)
