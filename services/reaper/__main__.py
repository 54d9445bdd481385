"""Runs the reaper: `python -m services.reaper`."""

import asyncio
import os
import sys
from functools import partial
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.reasons import Reason
from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import RedisSettings, Settings
from libs.common.runtime.together import run_together
from libs.common.store.incarnation import Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.retention import Retention
from libs.common.store.shards import Greet, Shard, Shards
from libs.common.store.upkeep import Upkeep
from libs.common.telemetry.census_metrics import CensusMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.web.health import Check, Degraded, Health, Healthy
from services.reaper.audit import Audit
from services.reaper.census import Census
from services.reaper.duty import Duty, DutyLoop
from services.reaper.look import Look
from services.reaper.promote import Promote
from services.reaper.reclaim import Reclaim
from services.reaper.retire import Retire
from services.reaper.trim import Trim

STUCK_MS: Final = 60_000
"""A loop that has not come round for this long will not by itself."""

CENSUS_TIMEOUT_S: Final = 2.0
CENSUS_RETRY_S: Final = 1.0

PROMOTE_AT_MOST_MS: Final = 100
"""Between two looks at parked lanes: one that is parked meanwhile may be due before the next."""


def duties(settings: Settings, upkeep: Upkeep, metrics: ReaperMetrics, tracer: Tracer = OFF) -> list[Duty]:
    """Return all duties on lanes and records of a shard."""
    reaper, keep = settings.reaper, settings.retention
    retention = Retention(alerts_ms=keep.alerts_ms, dead_letters_ms=keep.dead_letters_ms)
    # More than one pass must fit into the gap that counts as an outage, or every pass would be a grace.
    every_ms = min(reaper.interval_ms, settings.worker.lease_ms // 4)
    return [
        Promote(upkeep, metrics, interval_ms=min(every_ms, PROMOTE_AT_MOST_MS)),
        Reclaim(upkeep, metrics, lease_ms=settings.worker.lease_ms, interval_ms=every_ms, tracer=tracer),
        Audit(upkeep, metrics, keep_dead_ms=retention.replayable_ms, interval_ms=every_ms),
        Retire(upkeep, metrics),
        Trim(upkeep, metrics, journal_ms=keep.journal_ms, dead_letters_ms=keep.dead_letters_ms),
    ]


async def main(service: Service) -> None:
    """Make passes until `stopping` is set."""
    settings, clock, reaper = service.settings, service.clock, service.settings.reaper
    redis, lease_ms, metrics = settings.redis, settings.worker.lease_ms, ReaperMetrics(service.registry)
    met: dict[str, Incarnations] = {}

    def greeting(keys: Keys) -> Greet:
        incarnations = met[keys.prefix] = Incarnations(
            keys,
            durability=redis.durability,
            window_ms=lease_ms,
            shards=redis.shards,
            on_new=partial(_incarnated, keys),
        )
        return incarnations.greet

    shards = Shards.open(redis.url, redis.shards, timeout_s=lease_ms / 1_000 / 2, greeting=greeting)
    loops_of: dict[Shard, list[DutyLoop]] = {}
    for shard in shards:
        number = shard.number if len(shards) > 1 else None
        look = Look(partial(met[shard.keys.prefix].look, shard.client))
        upkeep = Upkeep(shard.client, shard.keys)
        loops_of[shard] = [
            DutyLoop(duty, clock, metrics, shard=number)
            for duty in (*duties(settings, upkeep, metrics, service.tracer), look)
        ]
    loops = [loop for own in loops_of.values() for loop in own]
    # Connections of its own, not greeted: it only reads, also from a Redis that nobody has found fit, and makes no duty wait.
    counted = Shards.open(redis.url, redis.shards, timeout_s=CENSUS_TIMEOUT_S, connections=1)
    shown = CensusMetrics(service.registry, dead_letter_reasons=[reason.value for reason in Reason])
    census = DutyLoop(
        Census(counted, shown, clock, durability=redis.durability),
        clock,
        metrics,
        retry_s=CENSUS_RETRY_S,
    )
    ops = ops_server(
        service.name,
        service.registry,
        reaper.ops_host,
        reaper.ops_port,
        ready=_ready(loops),
        live=_live(clock, [*loops, census]),
    )
    try:
        await ops.start()
        service.started(ops_port=ops.port)
        claimed = asyncio.Event()
        await run_together(
            service.stopping,
            census.run(service.stopping),
            *(_keep(shard, own, redis, claimed, service.stopping) for shard, own in loops_of.items()),
        )
    finally:
        await ops.stop()
        await counted.aclose()
        await shards.aclose()


async def _keep(
    shard: Shard,
    loops: list[DutyLoop],
    redis: RedisSettings,
    claimed: asyncio.Event,
    stopping: asyncio.Event,
) -> None:
    """Make the passes of one shard until `stopping` is set: none waits for another shard."""
    if await check_when_up(shard, redis, claimed, stopping):
        await asyncio.gather(*(loop.run(stopping) for loop in loops))


def _incarnated(keys: Keys, new: Incarnated) -> None:
    """Say that Redis was restarted, or that another server took over."""
    get_logger().info("redis_incarnated", shard=keys.shard, run_id=new.run_id, before=new.before)


def _ready(loops: list[DutyLoop]) -> Check:
    async def ready() -> Health:
        unwell = [f"{loop.name} ({loop.problem})" for loop in loops if not loop.is_well]
        return Degraded(f"passes that fail: {', '.join(unwell)}") if unwell else Healthy()

    return ready


def _live(clock: Clock, loops: list[DutyLoop]) -> Check:
    async def live() -> Health:
        running = [loop for loop in loops if loop.is_running]
        stuck = [loop.name for loop in running if clock.monotonic_ms() - loop.beat_at_ms > STUCK_MS]
        return Degraded(f"loops that stand still: {', '.join(stuck)}") if stuck else Healthy()

    return live


if __name__ == "__main__":
    sys.exit(run_service("reaper", main, os.environ))
