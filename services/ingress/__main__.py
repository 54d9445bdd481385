"""Runs the ingress: `python -m services.ingress`."""

import gc
import os
import sys
from typing import Final

from libs.common.runtime.ops import ops_server
from libs.common.runtime.redis_check import check_when_up, keep_checking
from libs.common.runtime.secrets import read_secret
from libs.common.runtime.service import Service, run_service
from libs.common.runtime.settings import DEFAULT_WEBHOOK
from libs.common.store.client import connect
from libs.common.store.flight_time import FlightTime
from libs.common.store.intake import Intake
from libs.common.store.keys import Keys
from libs.common.telemetry.ingress_metrics import IngressMetrics
from libs.common.web.health import HealthEndpoint
from libs.common.web.server import HttpServer
from services.ingress.app import Problems, ingress_app
from services.ingress.door import Door
from services.ingress.fresh_ids import FreshIds
from services.ingress.health import admission_check
from services.ingress.hook import Hook
from services.ingress.refusals import Refusals
from services.ingress.webhook import WebhookEndpoint

DRAIN_S: Final = 10
"""The time that posts under way have to be answered after SIGTERM."""

STORE_SHARE: Final = 0.75
"""The part of the deadline after which a call to Redis is given up, so that its failure can still be answered."""


async def main(service: Service) -> None:
    """Answer posts until `stopping` is set, then those under way."""
    settings, clock, ingress = service.settings, service.clock, service.settings.ingress
    own = settings.webhooks[DEFAULT_WEBHOOK]
    hook = Hook.of(DEFAULT_WEBHOOK, own, settings.accounts, read_secret(own.secret, os.environ).reveal())
    metrics, ids = IngressMetrics(service.registry), FreshIds()
    timeout_ms = int(ingress.deadline_ms * STORE_SHARE)
    client = connect(settings.redis.url, timeout_s=timeout_ms / 1_000)
    intake, door = Intake(client, Keys(), flight_time=FlightTime(clock, timeout_ms)), Door(metrics)
    health = admission_check(door, intake, clock)
    webhook = WebhookEndpoint(
        hook,
        door=door,
        intake=intake,
        refusals=Refusals(intake, service.masker, metrics, clock, ids),
        masker=service.masker,
        metrics=metrics,
        clock=clock,
        ids=ids,
        deadline_ms=ingress.deadline_ms,
    )
    app = ingress_app(webhook, HealthEndpoint(service.name, health), Problems(metrics, clock, ids))
    server = HttpServer(app, ingress.host, ingress.port, drain_s=DRAIN_S)
    ops = ops_server(service.name, service.registry, ingress.ops_host, ingress.ops_port, ready=health)
    try:
        await ops.start()
        await server.start()
        service.started(port=server.port, ops_port=ops.port)
        _spare_collector()
        # Until then posts are answered 503, which makes TradingView send them again.
        if await check_when_up(client, settings.redis.durability, service.stopping):
            door.open()
            await keep_checking(client, settings.redis.durability, service.stopping, door.judge)
    finally:
        await server.stop()
        await intake.admissions.drain()
        await intake.refusals.drain()
        await ops.stop()
        await health.aclose()
        await client.aclose()


def _spare_collector() -> None:
    # What start-up made lives as long as the process, and posts leave no cycles behind: look seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


if __name__ == "__main__":
    sys.exit(run_service("ingress", main, os.environ))
