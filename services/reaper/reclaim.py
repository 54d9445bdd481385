"""Gives lanes of dead or stalled workers to others."""

from typing import Final

from libs.common.store.upkeep import Grace, Upkeep
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.upkeep_spans import note_reclaim
from libs.common.wire.trace_context import stored_context
from services.reaper.touched import fields_of

SOONEST_S: Final = 0.005
"""Between two passes."""

log = get_logger()


class Reclaim:
    """Runs when the next lease runs out, and at the latest after the interval."""

    name = "reclaim"

    def __init__(
        self,
        upkeep: Upkeep,
        metrics: ReaperMetrics,
        *,
        lease_ms: int,
        interval_ms: int,
        tracer: Tracer = OFF,
    ) -> None:
        self._upkeep = upkeep
        self._tracer = tracer
        self._metrics = metrics
        self._lease_ms = lease_ms
        self._interval_ms = interval_ms

    async def run_once(self) -> float:
        """Reclaim lanes whose lease ran out."""
        pass_ = await self._upkeep.reclaim(lease_ms=self._lease_ms, next_in_ms=self._interval_ms)
        if isinstance(pass_, Grace):
            self._metrics.grace()
            if pass_.leases:  # the first pass of all is one, too
                log.warning("leases_started_afresh", leases=pass_.leases)
            return self._interval_ms / 1_000
        self._metrics.reclaimed(pass_.lanes)
        for head in pass_.heads:
            one, lost = head.instruction, head.lost_holders
            if (post := stored_context(one.body)) is not None:
                note_reclaim(self._tracer, post, one.alert_id, one.account, lost)
            log.warning("instruction_reclaimed", lost_holders=lost, **fields_of(one))
        if pass_.lanes or pass_.dropped:
            log.warning("lanes_reclaimed", lanes=pass_.lanes, dropped=pass_.dropped)
        if pass_.failed:  # each is tried again after a lease
            log.error("lanes_not_reclaimed", lanes=pass_.failed)
        if pass_.next_lapse_ms is None:
            return self._interval_ms / 1_000
        return max(SOONEST_S, min(self._interval_ms, pass_.next_lapse_ms) / 1_000)
