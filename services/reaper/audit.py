"""Heals lanes whose token was lost, and expires what waits behind held heads."""

from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.reasons import Reason
from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.upkeep_spans import note_expired
from libs.common.wire.trace_context import stored_context
from services.reaper.touched import fields_of

log = get_logger()


class Audit:
    """Compares fences, tokens and lanes."""

    name = "audit"

    def __init__(
        self,
        upkeep: Upkeep,
        metrics: ReaperMetrics,
        *,
        keep_dead_ms: int,
        interval_ms: int,
        tracer: Tracer = OFF,
    ) -> None:
        self._upkeep = upkeep
        self._metrics = metrics
        self._keep_dead_ms = keep_dead_ms
        self._interval_s = interval_ms / 1_000
        self._tracer = tracer
        self._failed = 0

    async def run_once(self) -> float:
        """Audit the next stretch of lanes."""
        found = await self._upkeep.audit(keep_dead_ms=self._keep_dead_ms)
        self._metrics.reissued(found.tokens)
        self._metrics.expired(found.expired)
        for one in found.ended:
            if (post := stored_context(one.body)) is not None:
                note_expired(self._tracer, post, one.alert_id, one.account, one.market)
            log.warning(
                "instruction_ended", state=InstructionState.EXPIRED, reason=Reason.TOO_OLD, **fields_of(one)
            )
        if found.tokens:
            log.error("tokens_reissued", lanes=found.tokens)
        if found.expired:
            log.warning("expired_in_place", instructions=found.expired)
        if (
            found.failed != self._failed
        ):  # said once and not twice a second, until somebody mends their records
            log.error("lanes_not_audited", lanes=found.failed)
            self._failed = found.failed
        return self._interval_s
