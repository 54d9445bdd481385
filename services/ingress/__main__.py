"""Runs the ingress: `python -m services.ingress`, configured by BASCULE_CONFIG and the environment."""

import asyncio
import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from libs.common.domain.errors import ConfigError
from libs.common.domain.ids import WebhookName
from libs.common.runtime.ops import ops_server
from libs.common.runtime.secrets import has_secret, read_secret
from libs.common.runtime.service import EXIT_FAILED, run_service
from libs.common.runtime.settings import HttpAccount, Settings, settings_from_environment
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.checks import check_server
from libs.common.store.client import connect
from libs.common.store.intake import Intake
from libs.common.store.keys import Keys
from libs.common.telemetry.logs import configure_logs, get_logger
from libs.common.telemetry.metrics import IngressMetrics, new_registry
from libs.common.web.server import HttpServer
from libs.common.wire.masking import Masker
from services.ingress.app import ingress_app
from services.ingress.door import Door
from services.ingress.health import HealthEndpoint, admission_check
from services.ingress.hook import Hook
from services.ingress.refusals import Refusals
from services.ingress.webhook import WebhookEndpoint

NAME: Final = "ingress"

DEFAULT_WEBHOOK: Final = WebhookName("default")
"""The webhook behind `POST /webhook`."""

DRAIN_S: Final = 10
"""The time that posts under way have to be answered after SIGTERM."""

STORE_SHARE: Final = 0.75
"""The part of the deadline after which a call to Redis is given up, so that its failure can still be answered."""


def main() -> int:
    """Run until SIGTERM or SIGINT and return the exit code."""
    try:
        settings = settings_from_environment(os.environ)
        secrets = read_webhook_secrets(settings, os.environ)
    except ConfigError as error:
        sys.stderr.write(f"{NAME}: {error}\n")
        return EXIT_FAILED
    masker = Masker([*secrets.values(), *_other_secrets(settings, os.environ)])
    configure_logs(NAME, mask=masker.mask_text)

    async def serve(stopping: asyncio.Event) -> None:
        await _serve(settings, secrets[DEFAULT_WEBHOOK], masker, stopping)

    return run_service(NAME, serve)


def read_webhook_secrets(settings: Settings, environ: Mapping[str, str]) -> dict[WebhookName, str]:
    """Return the credential of every webhook.

    Raises:
        ConfigError: One is not set, or there is no webhook behind `POST /webhook`.
    """
    if DEFAULT_WEBHOOK not in settings.webhooks:
        raise ConfigError(f'webhooks: there is no webhook "{DEFAULT_WEBHOOK}", which POST /webhook serves')
    return {name: read_secret(hook.secret, environ).reveal() for name, hook in settings.webhooks.items()}


async def _serve(settings: Settings, secret: str, masker: Masker, stopping: asyncio.Event) -> None:
    clock = SystemClock()
    registry = new_registry()
    metrics = IngressMetrics(registry)
    deadline_ms = settings.ingress.deadline_ms
    client = connect(settings.redis.url, timeout_s=deadline_ms * STORE_SHARE / 1_000)
    intake = Intake(client, Keys())
    door = Door(lambda: check_server(client, settings.redis.durability), metrics)
    health = admission_check(door, intake, clock)
    webhook = WebhookEndpoint(
        Hook.of(DEFAULT_WEBHOOK, settings.webhooks[DEFAULT_WEBHOOK], settings.accounts, secret),
        door=door,
        intake=intake,
        refusals=Refusals(intake, masker, metrics, clock),
        masker=masker,
        metrics=metrics,
        clock=clock,
        deadline_ms=deadline_ms,
    )
    app = ingress_app(webhook, HealthEndpoint(health), metrics, clock)
    server = HttpServer(app, settings.ingress.host, settings.ingress.port, drain_s=DRAIN_S)
    ops = ops_server(NAME, registry, settings.ingress.ops_host, settings.ingress.ops_port, ready=health)
    try:
        await door.try_open()
        await ops.start()
        await server.start()
        get_logger().info("service_started", port=server.port, ops_port=ops.port, is_open=door.is_open)
        _spare_collector()
        await _until_stopped(door, stopping)
    finally:
        await server.stop()
        await intake.admissions.drain()
        await intake.refusals.drain()
        await ops.stop()
        await health.aclose()
        await client.aclose()


async def _until_stopped(door: Door, stopping: asyncio.Event) -> None:
    """Wait for the signal, the door opening meanwhile.

    Raises:
        ConfigError: Redis came, and is not fit.
    """
    waiting = asyncio.create_task(stopping.wait())
    opening = asyncio.create_task(door.open())
    try:
        await asyncio.wait({waiting, opening}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            await waiting
    finally:
        for task in (waiting, opening):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConfigError):
                await task


def _spare_collector() -> None:
    # What start-up made lives as long as the process, and posts leave no cycles behind: look seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _other_secrets(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """Return what else must never show, as far as this process was given it."""
    names = {account.secret for account in settings.accounts.values() if isinstance(account, HttpAccount)}
    found = [read_secret(name, environ).reveal() for name in names if has_secret(name, environ)]
    password = urlsplit(settings.redis.url).password
    return found if password is None else [*found, password]


if __name__ == "__main__":
    sys.exit(main())
