"""Runs the ingress: `python -m services.ingress`."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.domain.errors import ConfigError, StoreUnavailable
from libs.common.domain.ids import WebhookName
from libs.common.policy.addresses import NAMED_SETS, AddressList
from libs.common.policy.room import Room
from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up, keep_checking
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import Settings
from libs.common.runtime.together import run_together
from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK, WebhookSettings
from libs.common.runtime.webhooks import declared_webhook
from libs.common.store.copies import Copies
from libs.common.store.flight_time import FlightTime
from libs.common.store.intake import Intake
from libs.common.store.shards import Shard, Shards
from libs.common.store.tables import TableStore
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.outage import Outage
from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web.health import HealthEndpoint
from libs.common.web.server import HttpServer
from services.ingress.app import IngressApp, Problems, rest_of_app
from services.ingress.door import NO_FACTS, Door
from services.ingress.fresh_ids import FreshIds
from services.ingress.gates import Gate, health_of, readiness_of, started_of
from services.ingress.preview import PreviewEndpoint
from services.ingress.proof import Senders
from services.ingress.refusals import Refusals
from services.ingress.registry import Declared, HookMaker, Registry
from services.ingress.webhook import WebhookEndpoint

DRAIN_S: Final = 10
"""The time that posts under way have to be answered after SIGTERM."""

STORE_SHARE: Final = 0.75
"""The part of the deadline after which a call to Redis is given up, so that its failure can still be answered."""


async def main(service: Service) -> None:
    """Answer posts until `stopping` is set, then those under way."""
    settings, clock, ingress = service.settings, service.clock, service.settings.ingress
    senders = _senders(settings)
    metrics, ids = IngressMetrics(service.registry), FreshIds()
    timeout_ms = int(ingress.deadline_ms * STORE_SHARE)
    shards = Shards.open(settings.redis.url, settings.redis.shards, timeout_s=timeout_ms / 1_000)
    gates = _gates(settings, shards, metrics, clock, timeout_ms)
    outages = [Outage(clock, shard=shard.number) for shard in shards]
    registry = _registry(service, TableStore(shards.first.client, shards.first.keys), outages[0])
    health, readiness = health_of(gates, clock), readiness_of(gates, clock)
    problems = Problems(metrics, clock, ids)
    refusals = Refusals(gates[0].intake, service.masker, metrics, clock, ids, senders)
    app = IngressApp(
        registry,
        WebhookEndpoint(
            gates=gates,
            refusals=refusals,
            senders=senders,
            metrics=metrics,
            clock=clock,
            ids=ids,
            deadline_ms=ingress.deadline_ms,
            tracer=service.tracer,
            links_traceparent=ingress.link_traceparent,
        ),
        PreviewEndpoint(shards, senders, refusals, clock, ingress.deadline_ms),
        rest_of_app(HealthEndpoint(service.name, health), problems),
        problems,
        clock,
    )
    counts = ServerMetrics(service.registry)
    server = HttpServer(
        app, ingress.host, ingress.port, drain_s=DRAIN_S, metrics=counts, take_whole=app.take_whole
    )
    ops = ops_server(
        service.name,
        service.registry,
        ingress.ops_host,
        ingress.ops_port,
        ready=readiness,
        started=started_of(gates),
    )
    try:
        await ops.start()
        await server.start()
        service.started(port=server.port, ops_port=ops.port)
        claimed = asyncio.Event()
        # Until then posts are answered 503, which makes TradingView send them again.
        await run_together(
            service.stopping,
            *(
                _keep_gate(service, shard, gates[shard.number], registry, claimed, outages[shard.number])
                for shard in shards
            ),
        )
    finally:
        await server.stop()
        for gate in gates:
            await gate.intake.admissions.drain()
            await gate.intake.refusals.drain()
        await ops.stop()
        await health.aclose()
        await readiness.aclose()
        await shards.aclose()


def _gates(
    settings: Settings, shards: Shards, metrics: IngressMetrics, clock: Clock, timeout_ms: int
) -> tuple[Gate, ...]:
    limits, gates = settings.limits, []
    for shard in shards:
        room = Room(memory=limits.memory, backlog=limits.backlog)
        door = Door(room, metrics, clock, facts={"shard": shard.number} if len(shards) > 1 else NO_FACTS)
        flight_time = FlightTime(clock, timeout_ms)
        copies = Copies.wanted(
            settings.redis.replicas,
            settings.redis.durability,
            timeout_s=timeout_ms / 1_000,
            stamp=shard.keys.probe,
        )
        intake = Intake(shard.client, shard.keys, flight_time=flight_time, room=room, copies=copies)
        gates.append(Gate(door, intake))
    return tuple(gates)


async def _keep_gate(
    service: Service,
    shard: Shard,
    gate: Gate,
    registry: Registry,
    claimed: asyncio.Event,
    outage: Outage,
) -> None:
    """Open the gate of a shard once its Redis is fit, and watch that it stays so until `stopping` is set."""
    redis, stopping = service.settings.redis, service.stopping
    if not await check_when_up(shard, redis, claimed, stopping):
        return
    # Webhooks that were made at run time lie on the first shard: no gate opens before they are known.
    keeping_up = asyncio.create_task(registry.keep_up(stopping)) if shard.number == 0 else None
    try:
        await registry.read_once(stopping)
        with contextlib.suppress(StoreUnavailable):  # then the first admission is the first to learn it
            await gate.intake.learn_clock()
        if stopping.is_set():  # nothing was read then
            return
        gate.door.open()
        await keep_checking(
            shard.client, redis, stopping, gate.door.judge, outage=outage, on_facts=gate.door.weigh
        )
    finally:
        if keeping_up is not None:
            await keeping_up


def _senders(settings: Settings) -> Senders:
    named = {**NAMED_SETS, **settings.ingress.addresses}
    try:
        return Senders(
            AddressList(settings.ingress.trusted_proxies, named),
            AddressList(settings.ingress.certificate_proxies, named),
            AddressList(("tradingview",), named),
        )
    except ValueError as error:
        raise ConfigError(f"ingress: {error}") from error


def _registry(service: Service, tables: TableStore, outage: Outage) -> Registry:
    settings = service.settings
    keys = {
        name: read_secret(variable, os.environ).reveal() for name, variable in settings.signing_keys.items()
    }
    declared = {name: _declared(name, webhook, os.environ) for name, webhook in settings.webhooks.items()}
    default = declared.pop(DEFAULT_WEBHOOK)
    maker = HookMaker(settings, service.masker, keys)
    return Registry(tables, maker, default, tuple(declared.values()), service.clock, outage)


def _declared(name: WebhookName, settings: WebhookSettings, environ: Mapping[str, str]) -> Declared:
    own = () if settings.secret is None else (read_secret(settings.secret, environ).reveal(),)
    return Declared(declared_webhook(name, settings, environ), own)


if __name__ == "__main__":
    sys.exit(run_service("ingress", main, os.environ))
