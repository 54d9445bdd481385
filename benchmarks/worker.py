"""The worker through a backlog: one process on one core, the `log` broker, every script and check."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.cores import (
    QUIET_SHARE,
    Cores,
    busy_s,
    cpu_s,
    resident_mb,
    running_on,
    share_out,
    wait_until_quiet,
)
from benchmarks.figures import Figure, Spread
from benchmarks.private_redis import private_redis
from libs.common.domain.alert import Action, AlertContent
from libs.common.domain.ids import AccountName, WebhookName
from libs.common.policy.symbols import SymbolMap
from libs.common.policy.webhook import Webhook
from libs.common.runtime.account_settings import LogAccount
from libs.common.runtime.durations import DurationMs
from libs.common.runtime.routes import router_to
from libs.common.store.client import connect
from libs.common.store.intake import Admitted, Intake
from libs.common.store.keys import Keys
from libs.common.wire.dialects.factorqx import NAME as DIALECT
from libs.common.wire.masking import Masker
from services.ingress.fresh_ids import FreshIds
from services.ingress.hook import Hook
from tests.support.eventually import eventually_sync
from tests.support.processes import Service
from tests.support.redis_server import RedisServer

ACCOUNT = AccountName("dry")
MAX_AGE = DurationMs(1_800_000)
CHUNK = 10_000
JOURNAL = Keys().journal
LANES = Keys().lanes
CONCURRENCY = 64
"""The default; lanes beyond it wait for their turn."""

PER_S = {200: 8_000, 100: 8_000, 1: 600}
"""Lanes, and the instructions a second that are to be reached on them."""


@dataclass(frozen=True)
class Run:
    """One backlog worked off."""

    lanes: int
    instructions: int
    per_s: float
    """From the first instruction that ended to the last, by Redis' clock."""
    cpu_us: float
    """Processor time of the worker per instruction, microseconds; its start-up is left out."""
    redis_us: float
    """The same of Redis."""
    worker_share: float
    """Of its core."""
    redis_share: float
    """Of Redis' core: near 1, it is Redis that was measured."""
    strangers_share: float
    """Of one core, used by processes that have nothing to do with it."""


def measure(runs: int, seconds: int, patience_s: int) -> tuple[list[Figure], dict[str, object]]:
    """Return the figures, and every run behind them."""
    cores = share_out()
    found: dict[int, list[Run]] = {lanes: [] for lanes in PER_S}
    memory_mb: list[float] = []
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis(cores) as redis,
    ):
        for turn in range(1, runs + 1):
            for lanes, target in PER_S.items():
                wait_until_quiet(patience_s)
                # As much as the target would work off in that time, but enough to mean something.
                count = max(2_000, target * seconds)
                run, held_mb = _run(redis, cores, lanes, count, Path(directory))
                found[lanes].append(run)
                memory_mb.append(held_mb)
                print(
                    f"  {turn}/{runs} {lanes:3} lanes {run.per_s:9,.0f}/s"
                    f" {run.cpu_us:6.1f} us each, Redis {run.redis_us:6.1f} us",
                    flush=True,
                )
        version = ".".join(map(str, redis.version))
    return _figures(found, memory_mb), {
        "redis": version,
        "concurrency": CONCURRENCY,
        "runs": {lanes: [asdict(run) for run in some] for lanes, some in found.items()},
    }


def _figures(found: dict[int, list[Run]], memory_mb: list[float]) -> list[Figure]:
    figures = []
    for lanes, some in found.items():
        what = f"worker, {lanes} lane{'s' if lanes > 1 else ''}"
        quiet = [run.per_s for run in some if run.strangers_share < QUIET_SHARE]
        figures.append(Figure(what, Spread.of([run.per_s for run in some]), "instructions/s", PER_S[lanes]))
        if quiet and len(quiet) < len(some):
            text = f"  {len(quiet)} quiet turn{'s' if len(quiet) > 1 else ''}"
            figures.append(Figure(text, Spread.of(quiet), "instructions/s", PER_S[lanes]))
        figures += [
            Figure("  processor time", Spread.of([run.cpu_us for run in some]), "us each", None, 1),
            Figure("  of Redis", Spread.of([run.redis_us for run in some]), "us each", None, 1),
            Figure("  share of its core", Spread.of([run.worker_share for run in some]), "", None, 2),
            Figure("  Redis' share of its", Spread.of([run.redis_share for run in some]), "", None, 2),
            Figure("  strangers, cores", Spread.of([run.strangers_share for run in some]), "", None, 2),
        ]
    return [*figures, Figure("worker, resident memory", Spread.of(memory_mb), "MB")]


def _run(redis: RedisServer, cores: Cores, lanes: int, count: int, directory: Path) -> tuple[Run, float]:
    client: Any = redis.client(socket_timeout=60.0)
    client.flushall()
    asyncio.run(_admit(redis.url, lanes, count))
    admitted = client.xlen(JOURNAL)
    with _worker(cores, redis, directory) as worker:
        eventually_sync(lambda: client.xlen(JOURNAL) > admitted, 30, 0.002, "the worker begins")
        used_s, redis_used_s, busy_before_s = cpu_s(worker.pid), cpu_s(redis.pid), busy_s()
        eventually_sync(lambda: not client.exists(LANES), 300, 0.02, f"{count} instructions end")
        used_s, redis_used_s = cpu_s(worker.pid) - used_s, cpu_s(redis.pid) - redis_used_s
        strangers_s = busy_s() - busy_before_s - used_s - redis_used_s
        memory_mb = resident_mb(worker.pid)
    ended_ms = [
        int(entry.partition("-")[0])
        for entry, fields in client.xrange(JOURNAL)
        if fields["event"] == "EXECUTED"
    ]
    if len(ended_ms) != count:
        raise RuntimeError(f"{count} instructions were admitted, {len(ended_ms)} were executed")
    elapsed_s = (ended_ms[-1] - ended_ms[0]) / 1_000
    run = Run(
        lanes=lanes,
        instructions=count,
        per_s=(count - 1) / elapsed_s,
        cpu_us=used_s / count * 1e6,
        redis_us=redis_used_s / count * 1e6,
        worker_share=used_s / elapsed_s,
        redis_share=redis_used_s / elapsed_s,
        strangers_share=strangers_s / elapsed_s,
    )
    return run, memory_mb


async def _admit(url: str, lanes: int, count: int) -> None:
    """Queue alerts as the ingress does, one lane after the other."""
    webhook = Webhook(name=WebhookName("default"), accounts=(ACCOUNT,), max_age_ms=int(MAX_AGE))
    router = router_to(webhook, {ACCOUNT: LogAccount()}, SymbolMap([]))
    hook = Hook(webhook, router, masker=Masker([]), allowed=None, signing_keys=())
    client = connect(url, timeout_s=30)
    intake = Intake(client, Keys())
    ids, now_ms = FreshIds(), int(time.time() * 1_000)
    try:
        for start in range(0, count, CHUNK):
            flights = []
            for number in range(start, min(start + CHUNK, count)):
                content = AlertContent(
                    dialect=DIALECT,
                    action=Action.BUY,
                    symbol=f"SYM{number % lanes:05d}",
                    quantity=Decimal("0.5"),
                    price=Decimal("64250.5"),
                    sender_id=f"bench-{number:09d}",
                )
                masked = (
                    f'{{"secret":"***","id":"bench-{number:09d}","symbol":"{content.symbol}","action":"buy"}}'
                )
                flights.append(
                    intake.admissions.submit(hook.admission(ids.alert_id(now_ms), content, masked, now_ms))
                )
            for verdict in await asyncio.gather(*flights):
                if not isinstance(verdict, Admitted):
                    raise TypeError(f"an alert was not admitted: {verdict}")
    finally:
        await client.aclose()


@contextmanager
def _worker(cores: Cores, redis: RedisServer, directory: Path) -> Iterator[Service]:
    """Run the real worker, with one `log` account."""
    config = {
        "redis": {"url": redis.url, "durability": "always"},
        "worker": {"concurrency": CONCURRENCY},
        "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": [ACCOUNT]}},
        "accounts": {ACCOUNT: {"broker": "log", "default_quantity": 1}},
    }
    service = Service("worker", config, directory, environment={"REDIS_URL": redis.url})
    try:
        with running_on(frozenset({cores.server})):
            yield service.start()
    finally:
        service.kill()
