"""The servers that are posted to, each on the core under measurement."""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cores import Cores, running_on
from benchmarks.load import SECRET
from tests.support.children import spawn
from tests.support.eventually import eventually, eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT
from tests.support.webhooks import knows, made_webhook, secret_of, table_store, token_of

TABLES = ("bascule:{s0}:webhooks", "bascule:{s0}:meta")
"""Keys that hold what webhooks there are."""


@dataclass(frozen=True)
class Target:
    """Where posts go."""

    name: str
    pid: int
    port: int
    path: str = "/webhook"
    secret: str = SECRET
    is_durable: bool = True
    """Whether each answer stands for an alert on disk."""
    is_traced: bool = False


@contextmanager
def bare_server(name: str, module: str, cores: Cores) -> Iterator[Target]:
    """Run a module that takes posts on the port that it is told and keeps nothing."""
    port = free_port()
    with running_on(frozenset({cores.server})):
        process = spawn([sys.executable, "-m", module, str(port)], stderr=None, directory=ROOT)
    try:
        eventually_sync(lambda: _listens(port), 20, 0.05, f"{module} listens")
        yield Target(name, process.pid, port, is_durable=False)
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def ingress_server(
    name: str, cores: Cores, redis: RedisServer, directory: Path, environment: Mapping[str, str]
) -> Iterator[tuple[Target, Service]]:
    """Run the real ingress, with one `paper` account."""
    config: dict[str, Any] = {
        "redis": {"url": redis.url, "durability": "always"},
        "ingress": {"port": free_port()},
        "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": ["paper"], "rate": "off"}},
        "accounts": {"paper": {"broker": "paper", "default_quantity": 1}},
    }
    # Nothing of the caller's own tracing.
    cleared = {variable: "" for variable in os.environ if variable.startswith("OTEL_")}
    everything = {**cleared, "WEBHOOK_SECRET": SECRET, "REDIS_URL": redis.url, **environment}
    service = Service("ingress", config, directory, environment=everything, label=f"ingress-{name}")
    try:
        with running_on(frozenset({cores.server})):
            service.start()
        service.wait_ready()
        is_traced = "OTEL_EXPORTER_OTLP_ENDPOINT" in environment
        yield Target(name, service.pid, config["ingress"]["port"], is_traced=is_traced), service
    finally:
        service.kill()


def make_webhooks(count: int, redis: RedisServer, service: Service) -> tuple[str, str]:
    """Make webhooks as the command does, all without a rate; return path and secret of one in the middle."""

    async def make() -> str:
        names = [f"hook{number:05d}" for number in range(count)]
        async with table_store(redis.url) as tables:
            for name in names:
                await tables.put_webhook(made_webhook(name, accounts=("paper",)), None, "created")
            revision = await tables.revision()
        await eventually(lambda: knows(service, revision), 30, message=f"the ingress knows {count} webhooks")
        return names[count // 2]

    name = asyncio.run(make())
    return f"/hooks/{token_of(name)}", secret_of(name)


def empty(redis: RedisServer) -> None:
    """Delete everything but the webhooks, at once, so that no ingress ever sees them gone."""
    with redis.client(socket_timeout=60.0, decode_responses=False) as client:
        kept = {key: dumped for key in TABLES if (dumped := client.dump(key)) is not None}
        with client.pipeline(transaction=True) as pipeline:
            pipeline.flushall()
            for key, dumped in kept.items():
                pipeline.restore(key, 0, dumped)
            pipeline.execute()
