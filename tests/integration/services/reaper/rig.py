"""The duties of one reaper, a pass at a time, over lanes that a test brings about."""

from prometheus_client import CollectorRegistry

from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.spans import KeepingTracer
from services.reaper.audit import Audit
from services.reaper.duty import Duty
from services.reaper.promote import Promote
from services.reaper.reclaim import Reclaim
from services.reaper.retire import Retire
from services.reaper.trim import Trim
from tests.integration.libs.common.store.lua.rig import DAY_MS, LEASE_MS, RETENTION, Rig
from tests.support.kept_spans import Kept
from tests.support.redis_server import RedisServer

INTERVAL_MS = 500


class ReaperRig(Rig):
    def __init__(self, server: RedisServer) -> None:
        super().__init__(server)
        self.registry = CollectorRegistry()
        metrics = ReaperMetrics(self.registry)
        self.kept = Kept()
        tracer = KeepingTracer(self.kept)
        self._promote = Promote(self.upkeep, metrics, interval_ms=INTERVAL_MS)
        self._reclaim = Reclaim(
            self.upkeep, metrics, lease_ms=LEASE_MS, interval_ms=INTERVAL_MS, tracer=tracer
        )
        self._audit = Audit(
            self.upkeep, metrics, keep_dead_ms=RETENTION.replayable_ms, interval_ms=INTERVAL_MS, tracer=tracer
        )
        self._retire = Retire(self.upkeep, metrics)
        self._trim = Trim(self.upkeep, metrics, journal_ms=7 * DAY_MS, dead_letters_ms=30 * DAY_MS)

    async def promote(self) -> float:
        return await self._pass(self._promote)

    async def reclaim(self) -> float:
        return await self._pass(self._reclaim)

    async def audit(self) -> float:
        return await self._pass(self._audit)

    async def retire(self) -> float:
        return await self._pass(self._retire)

    async def trim(self) -> float:
        return await self._pass(self._trim)

    async def _pass(self, duty: Duty) -> float:
        self.upkeep._now = str(self.now_ms)
        pause_s: float = await self.do(duty.run_once())
        return pause_s

    def count(self, name: str) -> float:
        return self.registry.get_sample_value(f"bascule_{name}_total") or 0.0
