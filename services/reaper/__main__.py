"""Runs the reaper: `python -m services.reaper`."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.reasons import Reason
from libs.common.policy.alarms import AlarmKind
from libs.common.runtime.alarm_targets import Target, alarm_targets
from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import RedisSettings, Settings
from libs.common.runtime.together import run_together
from libs.common.store.alarms import Alarms
from libs.common.store.incarnation import Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.retention import Retention
from libs.common.store.shards import Greet, Shard, Shards
from libs.common.store.told import Told
from libs.common.store.turns import Turns
from libs.common.store.upkeep import Upkeep
from libs.common.store.watch import Watch
from libs.common.telemetry.census_metrics import CensusMetrics
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.reaper_metrics import ReaperMetrics
from libs.common.telemetry.spans import OFF, Tracer
from libs.common.telemetry.watchdog_metrics import WatchdogMetrics
from libs.common.web.health import Check, Degraded, Health, Healthy
from services.reaper.audit import Audit
from services.reaper.census import Census
from services.reaper.certificate import Certificate, https_place
from services.reaper.duty import Duty, DutyLoop
from services.reaper.look import Look
from services.reaper.promote import Promote
from services.reaper.raising import Raising
from services.reaper.reclaim import Reclaim
from services.reaper.refusals import Refusals
from services.reaper.retire import Retire
from services.reaper.show_alarms import ShowAlarms
from services.reaper.silence import Silence
from services.reaper.skew import Skew
from services.reaper.tell import Tell
from services.reaper.trim import Trim
from services.reaper.unwatched import Unwatched

STUCK_MS: Final = 60_000
"""A loop that has not come round for this long will not by itself."""

CENSUS_TIMEOUT_S: Final = 2.0
CENSUS_RETRY_S: Final = 1.0

PROMOTE_AT_MOST_MS: Final = 100
"""Between two looks at parked lanes: one that is parked meanwhile may be due before the next."""

TURN_MS: Final = 10_000
"""How long after a reaper's end another one watches in its place."""

LOOK_TURN_MS: Final = 30_000
"""The same of looks at the certificate, which may take ten seconds each."""

TELL_MS: Final = 5_000
"""The same of telling, beyond the time of one try."""


def duties(settings: Settings, upkeep: Upkeep, metrics: ReaperMetrics, tracer: Tracer = OFF) -> list[Duty]:
    """Return all duties on lanes and records of a shard."""
    reaper, keep = settings.reaper, settings.retention
    retention = Retention(alerts_ms=keep.alerts_ms, dead_letters_ms=keep.dead_letters_ms)
    # More than one pass must fit into the gap that counts as an outage, or every pass would be a grace.
    every_ms = min(reaper.interval_ms, settings.worker.lease_ms // 4)
    return [
        Promote(upkeep, metrics, interval_ms=min(every_ms, PROMOTE_AT_MOST_MS)),
        Reclaim(upkeep, metrics, lease_ms=settings.worker.lease_ms, interval_ms=every_ms, tracer=tracer),
        Audit(
            upkeep,
            metrics,
            keep_dead_ms=retention.replayable_ms,
            interval_ms=every_ms,
            tracer=tracer,
        ),
        Retire(upkeep, metrics),
        Trim(upkeep, metrics, journal_ms=keep.journal_ms, dead_letters_ms=keep.dead_letters_ms),
    ]


def watchdog_duties(
    service: Service, shards: Shards, shard: Shard, metrics: WatchdogMetrics, turns: Turns, *, machine: str
) -> list[Duty]:
    """Return what looks for what nobody complains of, in a shard; the first one's look at all of them."""
    settings, clock = service.settings.watchdog, service.clock
    client, keys = shard.client, shard.keys
    alarms = Alarms(client, keys, shard=shard.number)
    unwatched = {kind: Raising(alarms, metrics, kind) for kind in AlarmKind}
    found: list[Duty] = []
    if settings.skew_ms:
        found.append(
            Skew(
                Upkeep(client, keys),
                unwatched.pop(AlarmKind.SKEW),
                clock,
                metrics,
                shard=shard.number,
                machine=machine,
                most_ms=settings.skew_ms,
            )
        )
    if shard is not shards.first:
        return [*found, Unwatched(alarms, unwatched)]

    watch = Watch(client, keys)
    found += [
        Silence(
            shards,
            watch,
            unwatched.pop(AlarmKind.SILENCE),
            turns.of(shard, "silence", TURN_MS),
            settings.silence,
        ),
        Refusals(
            shard,
            watch,
            unwatched.pop(AlarmKind.REFUSALS),
            turns.of(shard, "refusals", TURN_MS),
            settings.refusals,
        ),
        ShowAlarms(alarms, watch, metrics),
    ]
    place = https_place(service.settings.ingress.public_url)
    if place is not None and settings.certificate.every_ms:
        found.append(
            Certificate(
                place,
                watch,
                unwatched.pop(AlarmKind.CERTIFICATE),
                turns.of(shard, "certificate", LOOK_TURN_MS),
                clock,
                metrics,
                settings.certificate,
            )
        )
    return [*found, Unwatched(alarms, unwatched)]


def telling_duties(
    service: Service, shard: Shard, targets: Sequence[Target], metrics: WatchdogMetrics, turns: Turns
) -> list[Duty]:
    """Return what tells of the alarms and dead letters of a shard."""
    alarms = service.settings.alarms
    return [
        Tell(
            Told(
                shard.client,
                shard.keys,
                shard=shard.number,
                target=target.name,
                receiver=target.receiver,
            ),
            target,
            # Longer than a try lasts: who still has its turn after it tells alone.
            turns.of(shard, f"tell_{target.name}", alarms.timeout_ms + TELL_MS),
            service.clock,
            metrics,
            stopping=service.stopping,
            keep_trying_ms=alarms.keep_trying_ms,
        )
        for target in targets
    ]


async def main(service: Service) -> None:
    """Make passes until `stopping` is set."""
    settings, clock, reaper = service.settings, service.clock, service.settings.reaper
    redis, lease_ms, metrics = settings.redis, settings.worker.lease_ms, ReaperMetrics(service.registry)
    watchdog_metrics, machine = WatchdogMetrics(service.registry), socket.gethostname()
    turns = Turns(f"{machine}-{os.getpid()}-{secrets.token_hex(4)}")
    targets = alarm_targets(settings, os.environ)
    met: dict[str, Incarnations] = {}

    def greeting(keys: Keys) -> Greet:
        incarnations = met[keys.prefix] = Incarnations(
            keys,
            durability=redis.durability,
            lease_ms=lease_ms,
            shards=redis.shards,
            on_new=partial(_incarnated, keys),
        )
        return incarnations.greet

    shards = Shards.open(redis.url, redis.shards, timeout_s=lease_ms / 1_000 / 2, greeting=greeting)
    loops_of: dict[Shard, list[DutyLoop]] = {}
    outages = [Outage(clock, shard=shard.number) for shard in shards]
    for shard in shards:
        number = shard.number if len(shards) > 1 else None
        look = Look(partial(met[shard.keys.prefix].look, shard.client))
        upkeep = Upkeep(shard.client, shard.keys)
        watchdog = watchdog_duties(service, shards, shard, watchdog_metrics, turns, machine=machine)
        telling = telling_duties(service, shard, targets, watchdog_metrics, turns)
        loops_of[shard] = [
            DutyLoop(
                duty,
                clock,
                metrics,
                shard=number,
                # What looks at several shards says for itself which it misses.
                outage=None if number is not None and isinstance(duty, Silence) else outages[shard.number],
            )
            for duty in (*duties(settings, upkeep, metrics, service.tracer), look, *watchdog, *telling)
        ]
    loops = [loop for own in loops_of.values() for loop in own]
    # Connections of its own, not greeted: it only reads, also from a Redis that nobody has found fit, and makes no duty wait.
    counted = Shards.open(redis.url, redis.shards, timeout_s=CENSUS_TIMEOUT_S, connections=1)
    shown = CensusMetrics(service.registry, dead_letter_reasons=[reason.value for reason in Reason])
    census = DutyLoop(
        Census(counted, shown, clock, durability=redis.durability, replicas=redis.replicas),
        clock,
        metrics,
        retry_s=CENSUS_RETRY_S,
        outage=outages[0] if len(shards) == 1 else None,
    )
    ops = ops_server(
        service.name,
        service.registry,
        reaper.ops_host,
        reaper.ops_port,
        ready=_ready(loops),
        live=_live(clock, loops),
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
        await turns.give_back()
        for target in targets:
            await target.aclose()
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
