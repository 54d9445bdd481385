"""Renews the leases of held lanes."""

import asyncio
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.lanes import Lanes
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from services.worker.leases import Leases

RENEWALS_PER_LEASE: Final = 3
LONGEST_PAUSE_S: Final = 2.0
"""However long the lease: a worker that has not checked in for a few seconds counts as gone."""

CHUNK: Final = 256
RETRY_S: Final = 0.1

LOOP: Final = "heartbeat"

log = get_logger()


class Heartbeat:
    """Renews every lease three times in its length, and sooner again after a failure."""

    def __init__(self, lanes: Lanes, leases: Leases, clock: Clock, *, lease_ms: int, outage: Outage) -> None:
        self._lanes = lanes
        self._leases = leases
        self._clock = clock
        self._outage = outage
        self._interval_s = min(lease_ms / 1_000 / RENEWALS_PER_LEASE, LONGEST_PAUSE_S)
        self.beat_at_ms = clock.monotonic_ms()
        """When the loop last came round, monotonic; liveness reads it."""
        self.problem = ""
        """Why the last beat failed; empty where it did not. Readiness reads it."""

    async def run(self, stopped: asyncio.Event) -> None:
        """Beat until `stopped` is set: after the drain, since lanes are held until its end."""
        while not stopped.is_set():
            self.beat_at_ms = self._clock.monotonic_ms()
            try:
                await self.beat()
            except BridgeError as error:
                if self._outage.covers(LOOP, error):
                    log.debug("leases_not_renewed", error=str(error), leases=len(self._leases))
                elif not self.problem:
                    log.warning("leases_not_renewed", error=str(error), leases=len(self._leases))
                self.problem = str(error)
                await wait_for_event(stopped, RETRY_S)
            else:
                self.problem = ""
                self._outage.answered(LOOP)
                await wait_for_event(stopped, self._interval_s)

    async def beat(self) -> None:
        """Check in, and renew every live lease once.

        Raises:
            StoreUnavailable: Redis did not answer; what was renewed before stays renewed.
        """
        await self._lanes.check_in()
        live = self._leases.live()
        for start in range(0, len(live), CHUNK):
            chunk = live[start : start + CHUNK]
            asked_at_ms = self._clock.monotonic_ms()
            answers = await self._lanes.renew([lease.held for lease in chunk])
            lost = self._leases.renewed(chunk, answers, asked_at_ms)
            if lost:
                log.warning("leases_lost", leases=lost)
