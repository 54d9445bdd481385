"""The worker through a backlog: one process on one core, the `log` broker, every script and check.

Its limit stands beside it: a loop that reads, acknowledges and deletes as many entries of one stream.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
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
)
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.limits import Limit, raw_out
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
from tests.support.redis_server import RedisServer
from tests.support.service import Service

ACCOUNT = AccountName("dry")
MAX_AGE = DurationMs(1_800_000)
CHUNK = 10_000
JOURNAL = Keys().journal
LANES = Keys().lanes
CONCURRENCY = 64
"""The default; lanes beyond it wait for their turn."""

MANY = 200
PER_S = {MANY: 8_000, 100: 8_000, 1: 600}
"""Lanes, and the instructions a second that are to be reached on them."""
MEMORY_MB = 90

LOG = {"broker": "log"}


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
    memory_mb: float
    """Of the largest worker."""
    queued_bytes: float
    """Of Redis' data per instruction while all are queued: records, queue, journal, dedup keys."""
    ended_bytes: float | None
    """The same once all have ended, by what `retention` keeps; None where not all were worked off."""


def measure(effort: Effort) -> Measured:
    """Return the figures, and every run behind them."""
    cores = share_out()
    found: dict[int, list[Run]] = {lanes: [] for lanes in PER_S}
    raw: list[Limit] = []
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis(cores) as redis,
    ):
        for turn in range(1, effort.runs + 1):
            effort.patience.wait()
            for lanes, target in PER_S.items():
                # As much as the target would work off in that time, but enough to mean something.
                count = max(2_000, target * effort.seconds)
                run = run_backlog(redis, Path(directory), lanes, count, cores=cores)
                found[lanes].append(run)
                print(
                    f"  {turn}/{effort.runs} {lanes:3} lanes {run.per_s:9,.0f}/s"
                    f" {run.cpu_us:6.1f} us each, Redis {run.redis_us:6.1f} us",
                    flush=True,
                )
            raw.append(raw_out(redis, cores.server, batch=CONCURRENCY, count=found[MANY][-1].instructions))
            print(f"  {turn}/{effort.runs} raw       {raw[-1].per_s:9,.0f}/s", flush=True)
        version = ".".join(map(str, redis.version))
    runs: dict[str, Any] = {str(lanes): [asdict(run) for run in some] for lanes, some in found.items()}
    runs["raw"] = [{**asdict(limit), "per_s": limit.per_s} for limit in raw]
    return Measured(_figures(found, raw), runs, {"redis": version, "concurrency": CONCURRENCY})


def _figures(found: dict[int, list[Run]], raw: list[Limit]) -> list[Figure]:
    figures = []
    for lanes, some in found.items():
        what = f"worker, {lanes} lane{'s' if lanes > 1 else ''}"
        quiet = [run.per_s for run in some if run.strangers_share < QUIET_SHARE]
        figures.append(Figure(what, Spread.of(run.per_s for run in some), "instructions/s", PER_S[lanes]))
        if quiet and len(quiet) < len(some):
            text = f"  {len(quiet)} quiet turn{'s' if len(quiet) > 1 else ''}"
            figures.append(Figure(text, Spread.of(quiet), "instructions/s", PER_S[lanes]))
        figures += [
            Figure("  processor time", Spread.of(run.cpu_us for run in some), "us each", digits=1),
            Figure("  of Redis", Spread.of(run.redis_us for run in some), "us each", digits=1),
            _detail("  share of its core", [run.worker_share for run in some]),
            _detail("  Redis' share of its", [run.redis_share for run in some]),
            _detail("  strangers, cores", [run.strangers_share for run in some]),
        ]
    limit = "raw XREADGROUP + XACK + XDEL, 64 a round trip"
    ratio = Spread.of(run.per_s / one.per_s for run, one in zip(found[MANY], raw, strict=True))
    return [
        *figures,
        Figure(limit, Spread.of(one.per_s for one in raw), "entries/s"),
        Figure(f"worker, {MANY} lanes / raw XREADGROUP", ratio, digits=3),
        Figure(
            "worker, resident memory", Spread.of(run.memory_mb for run in found[MANY]), "MB", most=MEMORY_MB
        ),
    ]


def _detail(what: str, values: list[float]) -> Figure:
    return Figure(what, Spread.of(values), digits=2, is_detail=True)


def run_backlog(
    redis: RedisServer,
    directory: Path,
    lanes: int,
    count: int,
    *,
    queued: int | None = None,
    workers: int = 1,
    cores: Cores | None = None,
    broker: Mapping[str, Any] = LOG,
) -> Run:
    """Queue instructions, work them off and count.

    Args:
        redis: Emptied first.
        directory: For files of the workers.
        lanes: How many the instructions are spread over.
        count: Of instructions that are worked off.
        queued: Of instructions that are queued; the rest is left. Default: as many.
        workers: That work side by side.
        cores: Pins the workers to the one under measurement; without it they run where the kernel puts them.
        broker: Keys of the account.
    """
    client: Any = redis.client(socket_timeout=60.0)
    client.flushall()
    held_before = used_bytes(redis)
    asyncio.run(_admit(redis.url, lanes, queued or count))
    held_queued = used_bytes(redis)
    admitted, [(since, _)] = client.xlen(JOURNAL), client.xrevrange(JOURNAL, count=1)
    is_all = queued is None or queued == count
    with _workers(workers, cores, redis, directory, broker) as started:
        eventually_sync(lambda: client.xlen(JOURNAL) > admitted, 60, 0.002, "the worker begins")
        used_s, redis_used_s, busy_before_s = _used_s(started), cpu_s(redis.pid), busy_s()
        # Two changes of each on the way to its end: begun and ended.
        eventually_sync(
            lambda: not client.exists(LANES) if is_all else client.xlen(JOURNAL) >= admitted + 2 * count,
            600,
            0.02,
            f"{count} instructions end",
        )
        [(until, _)] = client.xrevrange(JOURNAL, count=1)
        used_s, redis_used_s = _used_s(started) - used_s, cpu_s(redis.pid) - redis_used_s
        strangers_s = busy_s() - busy_before_s - used_s - redis_used_s
        memory_mb = max(resident_mb(worker.pid) for worker in started)
    held_ended = used_bytes(redis)
    ended_ms = _ended_ms(client, since, until)
    if is_all and len(ended_ms) != count:
        raise RuntimeError(f"{count} instructions were admitted, {len(ended_ms)} were executed")
    elapsed_s = (ended_ms[-1] - ended_ms[0]) / 1_000
    done = len(ended_ms)
    return Run(
        lanes=lanes,
        instructions=done,
        per_s=(done - 1) / elapsed_s,
        cpu_us=used_s / done * 1e6,
        redis_us=redis_used_s / done * 1e6,
        worker_share=used_s / elapsed_s,
        redis_share=redis_used_s / elapsed_s,
        strangers_share=strangers_s / elapsed_s,
        memory_mb=memory_mb,
        queued_bytes=(held_queued - held_before) / (queued or count),
        ended_bytes=(held_ended - held_before) / count if is_all else None,
    )


def used_bytes(redis: RedisServer) -> int:
    """Return the memory of Redis, without what it lends to connections and what waits to be written to disk."""
    with redis.client(socket_timeout=60.0) as client:
        memory: Any = client.info("memory")
    return int(memory["used_memory"] - memory["mem_clients_normal"] - memory["mem_aof_buffer"])


def _used_s(workers: Sequence[Service]) -> float:
    return sum(cpu_s(worker.pid) for worker in workers)


def _ended_ms(client: Any, since: str, until: str) -> list[int]:
    ended: list[int] = []
    while page := client.xrange(JOURNAL, f"({since}", until, count=10_000):
        ended += [int(entry.partition("-")[0]) for entry, fields in page if fields["event"] == "EXECUTED"]
        since = page[-1][0]
    return ended


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
def _workers(
    count: int, cores: Cores | None, redis: RedisServer, directory: Path, broker: Mapping[str, Any]
) -> Iterator[list[Service]]:
    """Run real workers with one account."""
    config = {
        "redis": {"url": redis.url, "durability": "always"},
        "worker": {"concurrency": CONCURRENCY},
        "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": [ACCOUNT]}},
        "accounts": {ACCOUNT: {"default_quantity": 1, **broker}},
    }
    environment = {"REDIS_URL": redis.url, "DESK_SECRET": "signs-orders-of-benchmarks"}
    services = [
        Service("worker", config, directory, environment=environment, label=f"worker-{number}")
        for number in range(1, count + 1)
    ]
    try:
        with nullcontext() if cores is None else running_on(frozenset({cores.server})):
            for service in services:
                service.start()
        yield services
    finally:
        for service in services:
            service.kill()
