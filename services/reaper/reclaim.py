"""Gives lanes of dead or stalled workers to others."""

import structlog

from libs.common.store.upkeep import Grace, Upkeep
from libs.common.telemetry.reaper_metrics import ReaperMetrics

log = structlog.get_logger()


class Reclaim:
    """Looks for lapsed leases."""

    name = "reclaim"

    def __init__(self, upkeep: Upkeep, metrics: ReaperMetrics, *, lease_ms: int, interval_ms: int) -> None:
        self._upkeep = upkeep
        self._metrics = metrics
        self._lease_ms = lease_ms
        self._interval_s = interval_ms / 1_000

    async def run_once(self) -> float:
        """Reclaim lanes whose lease ran out."""
        pass_ = await self._upkeep.reclaim(lease_ms=self._lease_ms)
        if isinstance(pass_, Grace):
            self._metrics.graces.inc()
            log.warning("leases_started_afresh", leases=pass_.leases)
        else:
            self._metrics.reclaimed.inc(pass_.lanes)
            if pass_.lanes or pass_.dropped:
                log.warning("lanes_reclaimed", lanes=pass_.lanes, dropped=pass_.dropped)
        return self._interval_s
