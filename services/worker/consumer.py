"""Reads tokens for the slots that are free, and runs a lane for each."""

import asyncio
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError, StoreCorrupt
from libs.common.domain.ids import AccountName, LaneName, Token
from libs.common.domain.reasons import Reason
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.head import Held, Queued
from libs.common.store.lanes import Delivered, Lanes, Parking, Reader
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.lane import LaneRunner
from services.worker.leases import Leases
from services.worker.recall import Recall
from services.worker.slots import Slots
from services.worker.solo import Solo

BLOCK_MS: Final = 1_000
"""How long one read waits; also how late a shutdown may notice."""

RETRY_S: Final = 0.1

LOOP: Final = "consumer"

log = get_logger()


class Consumer:
    """The worker's main loop."""

    def __init__(
        self,
        *,
        reader: Reader,
        lanes: Lanes,
        leases: Leases,
        runner: LaneRunner,
        recall: Recall,
        solo: Solo,
        clock: Clock,
        metrics: WorkerMetrics,
        slots: Slots,
        outage: Outage,
        shard: int = 0,
    ) -> None:
        self._reader = reader
        self._lanes = lanes
        self._leases = leases
        self._runner = runner
        self._recall = recall
        self._solo = solo
        self._clock = clock
        self._metrics = metrics
        self._slots = slots
        self._outage = outage
        self._shard = shard
        self._tasks: dict[Held, asyncio.Task[None]] = {}
        self._slot_freed = asyncio.Event()
        self.beat_at_ms = clock.monotonic_ms()
        """When the loop last came round, monotonic; liveness reads it."""
        self.is_connected = False
        """Whether the last read was answered; readiness reads it."""
        self.problem = "Redis is away"
        """Why it was not."""
        self._told: type[BridgeError] | None = None

    @property
    def running(self) -> int:
        """How many lanes are run now."""
        return len(self._tasks)

    async def run(self) -> None:
        """Read and run lanes until `stop`; then wait for the lanes to end."""
        own_first = True
        while not self._recall.is_draining:
            self.beat_at_ms = self._clock.monotonic_ms()
            free = self._slots.free
            if free <= 0 or self._solo.is_wanted:
                await self._wait_for_slot()
                continue
            asked_at_ms = self._clock.monotonic_ms()
            try:
                if own_first:
                    # After a lost reply tokens are ours without our knowing; nobody else would run them until the
                    # lease lapses.
                    found = await self._reader.read_own()
                else:
                    found = await self._reader.read(free, BLOCK_MS)
            except BridgeError as error:
                await self._read_failed(error)
                own_first = True
                continue
            own_first = False
            self.is_connected, self._told = True, None
            self._outage.answered(LOOP)
            await self._start(found, asked_at_ms)
        while self._tasks:
            self.beat_at_ms = self._clock.monotonic_ms()
            await asyncio.wait(list(self._tasks.values()), timeout=BLOCK_MS / 1_000)

    def stop(self) -> None:
        """Stop reading, and have each lane handed back after the head it executes."""
        self._recall.is_draining = True
        self._slot_freed.set()

    async def _wait_for_slot(self) -> None:
        self._slot_freed.clear()
        await wait_for_event(self._slot_freed, BLOCK_MS / 1_000)

    async def _read_failed(self, error: BridgeError) -> None:
        if self._outage.covers(LOOP, error):
            log.debug("read_failed", error=str(error), shard=self._shard)
        elif self._told is not type(error) or isinstance(error, StoreCorrupt):
            log.warning("read_failed", error=str(error), shard=self._shard)
        self._told, self.problem = type(error), str(error)
        self.is_connected = False
        await asyncio.sleep(RETRY_S)
        if isinstance(error, StoreCorrupt):
            try:
                await self._lanes.create_group()
            except BridgeError as again:
                log.warning("group_not_created", error=str(again))

    async def _start(self, found: list[Delivered], asked_at_ms: int) -> None:
        nameless = [token for token, lane, _ in found if lane is None]
        overfull: list[Parking] = []
        for token, lane, head in found:
            if lane is None:
                continue
            held = Held(lane, token)
            if held in self._tasks:
                continue
            account = _account_of(lane)
            if self._slots.take(account):
                self._run_lane(held, head, account, asked_at_ms)
            else:
                overfull.append(Parking(held, self._slots.wait_ms(account), 0, Reason.BUSY))
        if nameless:
            await self._drop(nameless)
        if overfull:
            await asyncio.gather(*map(self._lanes.park.submit, overfull), return_exceptions=True)

    async def _drop(self, tokens: list[Token]) -> None:
        try:
            await self._lanes.drop(tokens)
        except BridgeError as error:
            log.warning("tokens_not_dropped", error=str(error))

    def _run_lane(self, held: Held, head: Queued | None, account: AccountName, asked_at_ms: int) -> None:
        self._solo.lane_started()
        started_ms = self._clock.monotonic_ms()
        lease = self._leases.take(held, asked_at_ms)
        lease.expected = head
        task = asyncio.create_task(self._runner.run(lease))
        self._tasks[held] = task
        self._metrics.lanes_held(len(self._tasks), self._shard)

        def ended(_: asyncio.Task[None]) -> None:
            del self._tasks[held]
            self._slots.give_back(account, ran_ms=self._clock.monotonic_ms() - started_ms)
            self._leases.drop(held)
            self._slot_freed.set()
            self._solo.lane_ended()
            self._metrics.lanes_held(len(self._tasks), self._shard)

        task.add_done_callback(ended)


def _account_of(lane: LaneName) -> AccountName:
    return AccountName(lane.partition(":")[0])
