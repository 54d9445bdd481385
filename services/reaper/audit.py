"""Heals lanes whose token was lost, and expires what waits behind held heads."""

import structlog

from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics

log = structlog.get_logger()


class Audit:
    """Compares fences, tokens and lanes."""

    name = "audit"

    def __init__(
        self, upkeep: Upkeep, metrics: ReaperMetrics, *, keep_dead_ms: int, interval_ms: int
    ) -> None:
        self._upkeep = upkeep
        self._metrics = metrics
        self._keep_dead_ms = keep_dead_ms
        self._interval_s = interval_ms / 1_000

    async def run_once(self) -> float:
        """Audit the next stretch of lanes."""
        found = await self._upkeep.audit(keep_dead_ms=self._keep_dead_ms)
        self._metrics.healed.inc(found.tokens)
        self._metrics.expired.inc(found.expired)
        if found.tokens:
            log.error("tokens_reissued", lanes=found.tokens)
        if found.expired:
            log.warning("expired_in_place", instructions=found.expired)
        return self._interval_s
