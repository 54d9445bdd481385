"""The receivers of others, beside Bascule's ingress and bare Starlette: same core, same load, turn by turn."""

import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cores import Cores, busy_s, cpu_s, running_on, share_out, wait_until_quiet
from benchmarks.figures import Figure, Spread
from benchmarks.load import SECRET, Load, client_name, post
from benchmarks.peers import own, program
from benchmarks.peers.catalog import Receiver
from benchmarks.private_redis import private_redis
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

OWN, BARE = "bascule", "bare"
STARTING_S = 30


@dataclass(frozen=True)
class Target:
    """A server that runs."""

    name: str
    what: str
    port: int
    cpu_s: Callable[[], float]
    kept: Callable[[Any], int] | None


@dataclass(frozen=True)
class Run:
    """One turn of one server."""

    load: Load
    per_s: float
    cpu_us: float
    """Processor time of the server per post, microseconds: what other processes on the machine disturb least."""
    server_share: float
    """Of its core."""
    redis_share: float
    strangers_share: float
    """Of one core, used by processes that have nothing to do with it."""


def measure(
    peers: Sequence[Receiver], runs: int, seconds: int, patience_s: int
) -> tuple[list[Figure], dict[str, object]]:
    """Return the figures, and every run behind them.

    Args:
        peers: Who, beside Bascule and bare Starlette.
        runs: Turns.
        seconds: Of each, about.
        patience_s: How long a turn waits for a quiet machine, at most.
    """
    cores = share_out()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bascule-bench-")))
        redis = stack.enter_context(private_redis(cores))
        targets = [
            stack.enter_context(target)
            for target in (
                _ingress(cores, redis, directory),
                _bare(cores),
                *(_peer(peer, cores, redis, directory) for peer in peers),
            )
        ]
        found: dict[str, list[Run]] = {target.name: [] for target in targets}
        for turn in range(runs + 1):
            for target in targets:
                wait_until_quiet(patience_s if turn else 0)
                run = _run(target, f"{target.name}{turn}", redis, cores, seconds if turn else own.WARM_UP_S)
                if turn:
                    found[target.name].append(run)
                    print(
                        f"  {turn}/{runs} {target.name:12} {run.per_s:9,.0f}/s {run.cpu_us:7.1f} us each",
                        flush=True,
                    )
        version = ".".join(map(str, redis.version))
    return _figures(found, targets), {
        "redis": version,
        "client": client_name(),
        "connections": own.CONNECTIONS,
        "runs": {name: [asdict(run) for run in some] for name, some in found.items()},
    }


def _figures(found: dict[str, list[Run]], targets: Sequence[Target]) -> list[Figure]:
    figures = []
    for target in targets:
        some = found[target.name]
        figures.append(Figure(target.what, Spread.of([run.per_s for run in some]), "posts/s"))
        if target.name != OWN:
            pairs = list(zip(found[OWN], some, strict=True))
            by_time = [ours.per_s / other.per_s for ours, other in pairs]
            by_cpu = [other.cpu_us / ours.cpu_us for ours, other in pairs]
            figures += [
                Figure("  Bascule's ingress / it", Spread.of(by_time), "", None, 2),
                Figure("  the same, by processor time", Spread.of(by_cpu), "", None, 2),
            ]
        figures += [
            Figure("  processor time", Spread.of([run.cpu_us for run in some]), "us/post", None, 1),
            Figure("  share of its core", Spread.of([run.server_share for run in some]), "", None, 2),
            Figure("  p99 at full load", Spread.of([run.load.p99_ms for run in some]), "ms", None, 1),
        ]
    everything = [run for some in found.values() for run in some]
    shares = [run.load.client_share + run.redis_share for run in everything]
    return [
        *figures,
        Figure("client + Redis, share of theirs", Spread.of(shares), "", None, 2),
        Figure("strangers, cores", Spread.of([run.strangers_share for run in everything]), "", None, 2),
    ]


def _run(target: Target, run: str, redis: RedisServer, cores: Cores, seconds: int) -> Run:
    own.empty(redis)
    before_s, redis_before_s, busy_before_s = target.cpu_s(), cpu_s(redis.pid), busy_s()
    with running_on(cores.others):
        load = post(target.port, run, connections=own.CONNECTIONS, seconds=seconds)
    used_s, redis_used_s = target.cpu_s() - before_s, cpu_s(redis.pid) - redis_before_s
    strangers_s = busy_s() - busy_before_s - used_s - redis_used_s - load.client_share * load.seconds
    if load.failures or not load.requests:
        raise RuntimeError(
            f"{load.failures} of {load.requests} posts to {target.name} were not answered with 2xx"
        )
    if target.kept is not None:
        with redis.client(socket_timeout=60.0) as client:
            kept = target.kept(client)
        # Those under way at the end are there without a counted answer.
        if kept < load.requests:
            raise RuntimeError(f"{target.name} answered {load.requests} alerts, {kept} are in Redis")
    return Run(
        load=load,
        per_s=load.per_s,
        cpu_us=used_s / load.requests * 1e6,
        server_share=used_s / load.seconds,
        redis_share=redis_used_s / load.seconds,
        strangers_share=strangers_s / load.seconds,
    )


@contextmanager
def _ingress(cores: Cores, redis: RedisServer, directory: Path) -> Iterator[Target]:
    with own.ingress(cores, redis, directory) as (pid, port):
        yield Target(
            OWN, "Bascule's ingress", port, lambda: cpu_s(pid), lambda client: int(client.xlen(own.JOURNAL))
        )


@contextmanager
def _bare(cores: Cores) -> Iterator[Target]:
    with own.bare(cores) as (pid, port):
        yield Target(BARE, "bare Starlette, nothing kept", port, lambda: cpu_s(pid), None)


@contextmanager
def _peer(peer: Receiver, cores: Cores, redis: RedisServer, directory: Path) -> Iterator[Target]:
    port = free_port()
    environment = {**peer.environment, "PEER_PORT": str(port), "PEER_SECRET": SECRET}
    if peer.kept is not None:
        environment["PEER_REDIS"] = str(redis.path)
    command = [word.format(port=port) for word in peer.command]
    with program.running(command, environment, cores, directory / f"{peer.name}.log") as server:

        def listens() -> bool:
            if not server.is_running:
                raise RuntimeError(f"{peer.name} ended with {server.process.returncode}:\n{server.tail()}")
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually_sync(listens, STARTING_S, 0.05, f"{peer.name} listens")
        yield Target(peer.name, peer.what, port, server.cpu_s, peer.kept)
