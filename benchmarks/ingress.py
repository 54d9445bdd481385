"""The ingress against bare Starlette: same core, same load, turn by turn; where asked, at two kinds of webhooks."""

import asyncio
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
from benchmarks.load import SECRET, Load, client_name, post
from benchmarks.private_redis import private_redis
from tests.support.children import spawn
from tests.support.eventually import eventually, eventually_sync
from tests.support.ports import free_port
from tests.support.processes import ROOT, Service
from tests.support.redis_server import RedisServer
from tests.support.webhooks import knows, made_webhook, secret_of, table_store, token_of

CONNECTIONS = 64
WARM_UP_S = 1
RATIO = 0.5
"""Of bare Starlette's throughput, with every feature on and an fsync on every write."""


BARE, DEFAULT, MADE = "bare", "ingress", "hook"
"""What is posted to by turns: the bare endpoint, the default webhook, one that was made at run time."""
TABLES = ("bascule:{s0}:webhooks", "bascule:{s0}:meta")


@dataclass(frozen=True)
class Target:
    """Where posts go."""

    name: str
    pid: int
    port: int
    path: str = "/webhook"
    secret: str = SECRET


@dataclass(frozen=True)
class Run:
    """One turn of one server."""

    server: str
    load: Load
    per_s: float
    cpu_us: float
    """Processor time of the server per request, microseconds: what other processes on the machine disturb least."""
    server_share: float
    """Of its core."""
    redis_share: float
    strangers_share: float
    """Of one core, used by processes that have nothing to do with it."""


def measure(
    runs: int, seconds: int, patience_s: int, hooks: int = 0
) -> tuple[list[Figure], dict[str, object]]:
    """Return the figures, and every run behind them.

    Args:
        runs: Turns.
        seconds: Of each, about.
        patience_s: How long a turn waits for a quiet machine, at most.
        hooks: Webhooks made at run time; one of them is posted to as well. 0: none.
    """
    cores = share_out()
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis(cores) as redis,
        _bare(cores) as (bare_pid, bare_port),
        _ingress(cores, redis, Path(directory)) as ingress,
    ):
        port = ingress.config["ingress"]["port"]
        targets = [Target(BARE, bare_pid, bare_port), Target(DEFAULT, ingress.pid, port)]
        if hooks:
            name = asyncio.run(_make(hooks, redis, ingress))
            targets.append(Target(MADE, ingress.pid, port, f"/hooks/{token_of(name)}", secret_of(name)))
        found: dict[str, list[Run]] = {target.name: [] for target in targets}
        for turn in range(runs + 1):
            wait_until_quiet(patience_s)
            for target in targets:
                duration_s = seconds if turn else WARM_UP_S
                run = _run(target, f"{target.name}{turn}", redis, cores, duration_s)
                if turn:
                    found[target.name].append(run)
                    print(
                        f"  {turn}/{runs} {target.name:8} {run.per_s:9,.0f}/s {run.cpu_us:7.1f} us each",
                        flush=True,
                    )
        memory_mb = resident_mb(ingress.pid)
        version = ".".join(map(str, redis.version))
    figures = [figure for name in found if name != BARE for figure in _figures(found, name, hooks)]
    figures += [
        Figure("bare Starlette", Spread.of([run.per_s for run in found[BARE]]), "posts/s"),
        Figure("bare, processor time", Spread.of([run.cpu_us for run in found[BARE]]), "us/post", None, 1),
        Figure("ingress, resident memory", Spread.of([memory_mb]), "MB"),
    ]
    return figures, {
        "redis": version,
        "hooks": hooks,
        "client": client_name(),
        "connections": CONNECTIONS,
        "runs": {name: [asdict(run) for run in some] for name, some in found.items()},
    }


async def _make(count: int, redis: RedisServer, ingress: Service) -> str:
    """Make webhooks as the command does, all without a rate, and return the name of one in the middle."""
    names = [f"hook{number:05d}" for number in range(count)]
    async with table_store(redis.url) as tables:
        for name in names:
            await tables.put_webhook(made_webhook(name, accounts=("paper",)), None, "created")
        revision = await tables.revision()
    await eventually(lambda: knows(ingress, revision), 30, message=f"the ingress knows {count} webhooks")
    return names[count // 2]


def _empty(redis: RedisServer) -> None:
    """Delete everything but the webhooks, at once, so that the ingress never sees them gone."""
    with redis.client(socket_timeout=60.0, decode_responses=False) as client:
        kept = {key: dumped for key in TABLES if (dumped := client.dump(key)) is not None}
        with client.pipeline(transaction=True) as pipeline:
            pipeline.flushall()
            for key, dumped in kept.items():
                pipeline.restore(key, 0, dumped)
            pipeline.execute()


def _run(target: Target, run: str, redis: RedisServer, cores: Cores, seconds: int) -> Run:
    name, pid = target.name, target.pid
    client: Any = redis.client(socket_timeout=60.0)
    _empty(redis)
    before_s, redis_before_s, busy_before_s = cpu_s(pid), cpu_s(redis.pid), busy_s()
    with running_on(cores.others):
        load = post(
            target.port,
            run,
            connections=CONNECTIONS,
            seconds=seconds,
            path=target.path,
            secret=target.secret,
        )
    used_s, redis_used_s = cpu_s(pid) - before_s, cpu_s(redis.pid) - redis_before_s
    strangers_s = busy_s() - busy_before_s - used_s - redis_used_s - load.client_share * load.seconds
    if load.failures:
        raise RuntimeError(f"{load.failures} of {load.requests} posts to {name} were not answered with 2xx")
    # Every answer must be an alert on disk; those under way at the end are there without a counted answer.
    kept = client.xlen("bascule:{s0}:journal")
    if name != BARE and kept < load.requests:
        raise RuntimeError(f"{load.requests} alerts were answered, {kept} are in the journal")
    return Run(
        server=name,
        load=load,
        per_s=load.per_s,
        cpu_us=used_s / load.requests * 1e6,
        server_share=used_s / load.seconds,
        redis_share=redis_used_s / load.seconds,
        strangers_share=strangers_s / load.seconds,
    )


def _figures(found: dict[str, list[Run]], name: str, hooks: int) -> list[Figure]:
    bare, ingress = found[BARE], found[name]
    what = "ingress" if name == DEFAULT else f"one of {hooks:,} webhooks"
    pairs = list(zip(ingress, bare, strict=True))
    by_time = Spread.of([own.per_s / other.per_s for own, other in pairs])
    quiet = [
        own.per_s / other.per_s
        for own, other in pairs
        if max(own.strangers_share, other.strangers_share) < QUIET_SHARE
    ]
    by_cpu = Spread.of([other.cpu_us / own.cpu_us for own, other in pairs])
    shares = [run.load.client_share + run.redis_share for run in ingress]
    return [
        Figure(f"{what} / bare Starlette", by_time, "", RATIO, 3),
        *(
            [Figure(f"the same, {len(quiet)} quiet turns", Spread.of(quiet), "", RATIO, 3)]
            if len(quiet) < len(pairs) and quiet
            else []
        ),
        Figure("the same, by processor time", by_cpu, "", None, 3),
        Figure(what, Spread.of([run.per_s for run in ingress]), "alerts/s"),
        Figure(f"{what}, processor time", Spread.of([run.cpu_us for run in ingress]), "us/alert", None, 1),
        Figure(f"{what}, share of its core", Spread.of([run.server_share for run in ingress]), "", None, 2),
        Figure("bare, share of its core", Spread.of([run.server_share for run in bare]), "", None, 2),
        Figure("client + Redis, share of theirs", Spread.of(shares), "", None, 2),
        Figure(
            "client, while posting to bare", Spread.of([run.load.client_share for run in bare]), "", None, 2
        ),
        Figure("strangers, cores", Spread.of([run.strangers_share for run in bare + ingress]), "", None, 2),
        Figure(f"{what}, p50 at full load", Spread.of([run.load.p50_ms for run in ingress]), "ms", None, 1),
        Figure(f"{what}, p99 at full load", Spread.of([run.load.p99_ms for run in ingress]), "ms", None, 1),
    ]


@contextmanager
def _bare(cores: Cores) -> Iterator[tuple[int, int]]:
    """Run the bare endpoint; give its process id and port."""
    port = free_port()
    with running_on(frozenset({cores.server})):
        process = spawn([sys.executable, "-m", "benchmarks.bare", str(port)], stderr=None, directory=ROOT)
    try:
        eventually_sync(lambda: _listens(port), 20, 0.05, "the bare endpoint listens")
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _ingress(cores: Cores, redis: RedisServer, directory: Path) -> Iterator[Service]:
    """Run the real ingress, with one `paper` account."""
    config = {
        "redis": {"url": redis.url, "durability": "always"},
        "ingress": {"port": free_port()},
        "webhooks": {"default": {"secret": "WEBHOOK_SECRET", "accounts": ["paper"], "rate": "off"}},
        "accounts": {"paper": {"broker": "paper", "default_quantity": 1}},
    }
    environment = {"WEBHOOK_SECRET": SECRET, "REDIS_URL": redis.url}
    service = Service("ingress", config, directory, environment=environment)
    try:
        with running_on(frozenset({cores.server})):
            service.start()
        yield service.wait_ready()
    finally:
        service.kill()
