"""Drops journal entries and dead letters past their retention."""

from typing import Final

from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics

INTERVAL_S: Final = 30.0


class Trim:
    """By age only: what is younger than its retention stays, however much it is."""

    name = "trim"

    def __init__(
        self, upkeep: Upkeep, metrics: ReaperMetrics, *, journal_ms: int, dead_letters_ms: int
    ) -> None:
        self._upkeep = upkeep
        self._metrics = metrics
        self._journal_ms = journal_ms
        self._dead_letters_ms = dead_letters_ms

    async def run_once(self) -> float:
        """Trim both streams."""
        now_ms = await self._upkeep.time_ms()
        trimmed = await self._upkeep.trim(
            journal_ms=self._journal_ms, dead_letters_ms=self._dead_letters_ms, now_ms=now_ms
        )
        self._metrics.trimmed(trimmed)
        return INTERVAL_S
