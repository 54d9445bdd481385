"""Gives parked lanes a token when they are due."""

from typing import Final

from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics

SOONEST_S: Final = 0.005
"""Between two passes: lanes that wait for a rate limit come due one by one, and must not bunch."""


class Promote:
    """Runs when the next parked lane is due, and at the latest after the interval."""

    name = "promote"

    def __init__(self, upkeep: Upkeep, metrics: ReaperMetrics, *, interval_ms: int) -> None:
        self._upkeep = upkeep
        self._metrics = metrics
        self._interval_s = interval_ms / 1_000

    async def run_once(self) -> float:
        """Promote what is due."""
        pass_ = await self._upkeep.promote()
        self._metrics.promoted(pass_.lanes)
        if pass_.next_in_ms is None:
            return self._interval_s
        return min(self._interval_s, max(SOONEST_S, pass_.next_in_ms / 1_000))
