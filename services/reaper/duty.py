"""What every duty of the reaper is: one pass, and when the next is due."""

import asyncio
from typing import Final, Protocol

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.runtime.waiting import wait_for_event
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.reaper_metrics import ReaperMetrics

RETRY_S: Final = 0.1

log = get_logger()


class Duty(Protocol):
    """One subject, one pass at a time."""

    name: str

    async def run_once(self) -> float:
        """Make one pass; return the seconds until the next is due.

        Raises:
            BridgeError: The pass could not be made; the next try follows soon.
        """
        ...


class DutyLoop:
    """Runs one duty for ever."""

    def __init__(
        self,
        duty: Duty,
        clock: Clock,
        metrics: ReaperMetrics,
        *,
        shard: int | None = None,
        retry_s: float = RETRY_S,
        outage: Outage | None = None,
    ) -> None:
        """Args:
        duty: What is done.
        clock: Monotonic, for liveness.
        metrics: Count what is made and what fails.
        shard: The number of its shard; None where there is one alone, or the duty is on all of them.
        retry_s: From a pass that failed to the next.
        outage: Says that Redis is away, for all duties on its shard; without it the loop says so itself.
        """
        self._duty = duty
        self.name = duty.name if shard is None else f"{duty.name} of shard {shard}"
        self._log = log if shard is None else log.bind(shard=shard)
        self._clock = clock
        self._metrics = metrics
        self._retry_s = retry_s
        self._outage = outage
        metrics.passed(duty.name, 0)
        metrics.failed(duty.name, 0)
        self.beat_at_ms = clock.monotonic_ms()
        """When the loop last came round, monotonic; liveness reads it."""
        self.is_running = False
        """Whether it has begun: not before its Redis was found fit."""
        self.is_well = False
        """Whether the last pass succeeded; readiness reads it."""
        self.problem = "none was made yet"
        """Why it did not."""
        self._told: type[BridgeError] | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Run passes until `stopping` is set.

        By the event and not by cancelling: a cancelled Redis call may complete at that very moment, and on Python
        3.11 the cancellation is then lost.
        """
        while not stopping.is_set():
            self.beat_at_ms = self._clock.monotonic_ms()
            self.is_running = True
            try:
                pause_s = await self._duty.run_once()
            except BridgeError as error:
                if self._outage is not None and self._outage.covers(self.name, error):
                    self._log.debug("pass_failed", duty=self._duty.name, error=str(error))
                elif self._told is not type(error):
                    self._log.warning("pass_failed", duty=self._duty.name, error=str(error))
                self._told, self.problem = type(error), str(error)
                self.is_well = False
                self._metrics.failed(self._duty.name)
                pause_s = self._retry_s
            except Exception as error:  # noqa: BLE001 - one broken pass must not end the others
                self._log.exception("pass_broke", duty=self._duty.name)
                self.problem = repr(error)
                self.is_well = False
                self._metrics.failed(self._duty.name)
                pause_s = 1.0
            else:
                self.is_well, self._told = True, None
                if self._outage is not None:
                    self._outage.answered(self.name)
                self._metrics.passed(self._duty.name)
            await wait_for_event(stopping, pause_s)
