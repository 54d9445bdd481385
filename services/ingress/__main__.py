"""Runs the ingress: `python -m services.ingress`."""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from typing import Final

from libs.common.domain.errors import ConfigError, StoreUnavailable
from libs.common.domain.ids import WebhookName
from libs.common.policy.addresses import NAMED_SETS, AddressList
from libs.common.policy.room import Room
from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up, keep_checking
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import Settings
from libs.common.runtime.webhook_settings import DEFAULT_WEBHOOK, WebhookSettings
from libs.common.runtime.webhooks import declared_webhook
from libs.common.store.client import connect
from libs.common.store.flight_time import FlightTime
from libs.common.store.halts import Halts
from libs.common.store.intake import Intake
from libs.common.store.keys import Keys
from libs.common.store.seen import Seen
from libs.common.store.tables import TableStore
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.telemetry.server_metrics import ServerMetrics
from libs.common.web.health import HealthEndpoint
from libs.common.web.server import HttpServer
from services.ingress.app import IngressApp, Problems, rest_of_app
from services.ingress.door import Door
from services.ingress.fresh_ids import FreshIds
from services.ingress.health import admission_check
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
    client = connect(settings.redis.url, timeout_s=timeout_ms / 1_000)
    keys = Keys()
    limits = settings.limits
    door = Door(Room(memory=limits.memory, backlog=limits.backlog), metrics, clock)
    intake = Intake(client, keys, flight_time=FlightTime(clock, timeout_ms), room=door.room)
    registry = _registry(service, TableStore(client, keys))
    health = admission_check(door, intake, clock)
    problems = Problems(metrics, clock, ids)
    refusals = Refusals(intake, service.masker, metrics, clock, ids, senders)
    app = IngressApp(
        registry,
        WebhookEndpoint(
            door=door,
            intake=intake,
            refusals=refusals,
            senders=senders,
            metrics=metrics,
            clock=clock,
            ids=ids,
            deadline_ms=ingress.deadline_ms,
            tracer=service.tracer,
            links_traceparent=ingress.link_traceparent,
        ),
        PreviewEndpoint(
            Seen(client, keys), Halts(client, keys), senders, refusals, clock, ingress.deadline_ms
        ),
        rest_of_app(HealthEndpoint(service.name, health), problems),
        problems,
        clock,
    )
    counts = ServerMetrics(service.registry)
    server = HttpServer(app, ingress.host, ingress.port, drain_s=DRAIN_S, metrics=counts)
    ops = ops_server(service.name, service.registry, ingress.ops_host, ingress.ops_port, ready=health)
    keeping_up: asyncio.Task[None] | None = None
    try:
        await ops.start()
        await server.start()
        service.started(port=server.port, ops_port=ops.port)
        _spare_collector()
        # Until then posts are answered 503, which makes TradingView send them again.
        if await check_when_up(client, settings.redis.durability, service.stopping):
            keeping_up = asyncio.create_task(registry.keep_up(service.stopping))
            await registry.read_once(service.stopping)
            with contextlib.suppress(StoreUnavailable):  # then the first admission is the first to learn it
                await intake.learn_clock()
            door.open()
            await keep_checking(
                client, settings.redis.durability, service.stopping, door.judge, on_facts=door.weigh
            )
    finally:
        await server.stop()
        await intake.admissions.drain()
        await intake.refusals.drain()
        await ops.stop()
        await health.aclose()
        if keeping_up is not None:
            await keeping_up
        await client.aclose()


def _senders(settings: Settings) -> Senders:
    named = {**NAMED_SETS, **settings.ingress.addresses}
    try:
        return Senders(
            AddressList(settings.ingress.trusted_proxies, named),
            AddressList(settings.ingress.certificate_proxies, named),
        )
    except ValueError as error:
        raise ConfigError(f"ingress: {error}") from error


def _registry(service: Service, tables: TableStore) -> Registry:
    settings = service.settings
    keys = {
        name: read_secret(variable, os.environ).reveal() for name, variable in settings.signing_keys.items()
    }
    declared = {name: _declared(name, webhook, os.environ) for name, webhook in settings.webhooks.items()}
    default = declared.pop(DEFAULT_WEBHOOK)
    maker = HookMaker(settings, service.masker, keys)
    return Registry(tables, maker, default, tuple(declared.values()), service.clock)


def _declared(name: WebhookName, settings: WebhookSettings, environ: Mapping[str, str]) -> Declared:
    own = () if settings.secret is None else (read_secret(settings.secret, environ).reveal(),)
    return Declared(declared_webhook(name, settings, environ), own)


def _spare_collector() -> None:
    # What start-up made lives as long as the process, and posts leave no cycles behind: look seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


if __name__ == "__main__":
    sys.exit(run_service("ingress", main, os.environ))
