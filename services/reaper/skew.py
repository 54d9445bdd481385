"""Compares this machine's clock with that of Redis."""

from typing import Final

from libs.common.domain.clock import Clock
from libs.common.policy.clock_skew import Sample, is_skewed, skew_ms
from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from services.reaper.raising import Raising

INTERVAL_S: Final = 15.0
SAMPLES: Final = 3
CONFIRM_MS: Final = 60_000
GONE_MS: Final = 300_000
"""An alarm that nobody has confirmed for so long was of a machine that is gone."""


class Skew:
    """Each reaper compares its own machine's; alarms of machines that are gone are cleared by any."""

    name = "skew"

    def __init__(
        self,
        upkeep: Upkeep,
        raising: Raising,
        clock: Clock,
        metrics: WatchdogMetrics,
        *,
        shard: int,
        machine: str,
        most_ms: int,
    ) -> None:
        """Args:
        upkeep: Tells Redis' time.
        raising: Of skews.
        clock: This machine's.
        metrics: Show it.
        shard: Whose Redis it is.
        machine: What this machine is called.
        most_ms: How far the clocks may be apart.
        """
        self._upkeep = upkeep
        self._raising = raising
        self._clock = clock
        self._metrics = metrics
        self._shard = shard
        self._machine = machine
        self._most_ms = most_ms

    async def run_once(self) -> float:
        """Compare the clocks."""
        samples = [await self._sample() for _ in range(SAMPLES)]
        found = skew_ms(samples)
        if found is None:
            return INTERVAL_S
        self._metrics.skew(self._shard, found / 1_000)
        raised, redis_ms = await self._raising.raised(), samples[-1].redis_ms
        own = raised.get(self._machine)
        if is_skewed(found, most_ms=self._most_ms, was_skewed=own is not None):
            if own is None or redis_ms - own.confirmed_at_ms >= CONFIRM_MS:
                where = "behind" if found > 0 else "ahead of"
                detail = f"its clock is {abs(found) / 1_000:.1f} s {where} that of Redis"
                await self._raising.raise_(self._machine, detail)
        elif own is not None:
            await self._raising.clear(self._machine, f"{abs(found) / 1_000:.1f} s apart")
        for machine, alarm in raised.items():
            if machine != self._machine and redis_ms - alarm.confirmed_at_ms >= GONE_MS:
                await self._raising.clear(machine, "no reaper runs there any more")
        return INTERVAL_S

    async def _sample(self) -> Sample:
        sent_ms = self._clock.now_ms()
        redis_ms = await self._upkeep.time_ms()
        return Sample(sent_ms, redis_ms, self._clock.now_ms())
