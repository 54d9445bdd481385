"""Runs a worker: `python -m services.worker`."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from libs.common.domain.ids import Holder
from libs.common.runtime.ops import ops_server
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.together import run_together
from libs.common.store.incarnation import Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.shards import Greet, Shards
from libs.common.store.tables import TableStore
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.web.health import Check, Degraded, Health, Healthy
from services.worker.brokers.registry import build_brokers, traced
from services.worker.consumer import BLOCK_MS
from services.worker.mapping import MappingCheck
from services.worker.solo import Solo
from services.worker.unit import STORE_TIMEOUT_S, Unit

STUCK_MS: Final = 10_000
"""A loop that has not come round for this long will not by itself."""

log = get_logger()


async def main(service: Service) -> None:
    """Execute lanes until `stopping` is set, then hand them back."""
    settings, clock, worker = service.settings, service.clock, service.settings.worker
    redis, metrics = settings.redis, WorkerMetrics(service.registry)
    holder = Holder(f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")

    def greeting(keys: Keys) -> Greet:
        return Incarnations(
            keys,
            durability=redis.durability,
            lease_ms=worker.lease_ms,
            shards=redis.shards,
            on_new=partial(_incarnated, keys, metrics),
        ).greet

    shards = Shards.open(redis.url, redis.shards, timeout_s=STORE_TIMEOUT_S, greeting=greeting)
    reading = Shards.open(
        redis.url, redis.shards, timeout_s=BLOCK_MS / 1_000 + STORE_TIMEOUT_S, connections=1
    )
    brokers = traced(build_brokers(settings, shards, clock, os.environ), settings, service.tracer)
    tables = TableStore(shards.first.client, shards.first.keys)
    mapping, solo = MappingCheck(tables, [one.entry() for one in settings.symbols]), Solo()
    units = [
        Unit(
            shard,
            reading[shard.number],
            settings=settings,
            brokers={name: broker for name, broker in brokers.items() if shards.of(name) is shard},
            mapping=mapping,
            holder=holder,
            solo=solo,
            clock=clock,
            metrics=metrics,
            tracer=service.tracer,
        )
        for shard in shards
    ]
    ops = ops_server(
        service.name,
        service.registry,
        worker.ops_host,
        worker.ops_port,
        ready=_ready(units),
        live=_live(units),
    )
    try:
        await ops.start()
        service.started(ops_port=ops.port, holder=holder)
        claimed = asyncio.Event()
        await run_together(service.stopping, *(unit.run(claimed, service.stopping) for unit in units))
    finally:
        await ops.stop()
        for broker in brokers.values():
            await broker.aclose()
        await reading.aclose()
        await shards.aclose()


def _incarnated(keys: Keys, metrics: WorkerMetrics, new: Incarnated) -> None:
    """Say that Redis was restarted, or that another server took over."""
    metrics.redis_incarnated(is_suspect=new.suspect_until_ms is not None)
    names = {"shard": keys.shard, "run_id": new.run_id, "before": new.before}
    if new.suspect_until_ms is None:
        log.info("redis_incarnated", **names)
    else:
        log.warning("redis_incarnated", **names, suspect_until_ms=new.suspect_until_ms)


def _ready(units: Sequence[Unit]) -> Check:
    async def ready() -> Health:
        problems = {unit.number: problem for unit in units if (problem := unit.problem()) is not None}
        if not problems:
            return Healthy()
        if len(units) == 1:
            return Degraded(problems[0])
        return Degraded("; ".join(f"shard {number}: {problem}" for number, problem in problems.items()))

    return ready


def _live(units: Sequence[Unit]) -> Check:
    async def live() -> Health:
        for unit in units:
            for name, stands_ms in unit.stands_ms().items():
                if stands_ms > STUCK_MS:
                    return Degraded(f"the {name} has stood still for {stands_ms} ms")
            if ended := unit.ended():
                return Degraded(f"broken: {', '.join(ended)}")
        return Healthy()

    return live


if __name__ == "__main__":
    sys.exit(run_service("worker", main, os.environ))
