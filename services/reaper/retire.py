"""Deletes consumers of processes that are gone."""

from typing import Final

from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics

IDLE_MS: Final = 60_000
"""A living worker reads every second."""

INTERVAL_S: Final = 10.0


class Retire:
    """Never deletes a consumer with pending entries: that would lose them."""

    name = "retire"

    def __init__(self, upkeep: Upkeep, metrics: ReaperMetrics) -> None:
        self._upkeep = upkeep
        self._metrics = metrics

    async def run_once(self) -> float:
        """Delete what has been idle for a minute."""
        self._metrics.retired(await self._upkeep.retire(idle_ms=IDLE_MS))
        return INTERVAL_S
