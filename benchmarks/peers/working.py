"""No-op jobs on the queues of others, beside Bascule's worker: same core, same Redis, turn by turn."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cores import Cores, busy_s, cpu_s, share_out, wait_until_quiet
from benchmarks.figures import Figure, Spread
from benchmarks.peers import own, program
from benchmarks.peers.catalog import Jobs
from benchmarks.private_redis import private_redis
from tests.support.eventually import eventually_sync
from tests.support.redis_server import RedisServer

OWN = "bascule"
STARTING_S = 30
ENDING_S = 300


@dataclass(frozen=True)
class Run:
    """One backlog worked off."""

    jobs: int
    per_s: float
    """From the first job that ended to the last."""
    cpu_us: float
    """Processor time of the worker per job, microseconds; its start-up is left out."""
    redis_us: float
    """The same of Redis."""
    worker_share: float
    """Of its core."""
    redis_share: float
    """Of Redis' core."""
    strangers_share: float
    """Of one core, used by processes that have nothing to do with it."""


def measure(
    peers: Sequence[Jobs], runs: int, jobs: int, patience_s: int
) -> tuple[list[Figure], dict[str, object]]:
    """Return the figures, and every run behind them.

    Args:
        peers: Who, beside Bascule.
        runs: Turns.
        jobs: In each backlog.
        patience_s: How long a turn waits for a quiet machine, at most.
    """
    cores = share_out()
    found: dict[str, list[Run]] = {OWN: [], **{peer.name: [] for peer in peers}}
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as directory,
        private_redis(cores) as redis,
    ):
        for turn in range(1, runs + 1):
            for peer in (None, *peers):
                name = OWN if peer is None else peer.name
                wait_until_quiet(patience_s)
                if peer is None:
                    run = _own(own.work_off(redis, cores, jobs, Path(directory)))
                else:
                    run = _run(peer, redis, cores, jobs, Path(directory) / f"{name}{turn}")
                found[name].append(run)
                print(
                    f"  {turn}/{runs} {name:12} {run.per_s:9,.0f}/s {run.cpu_us:7.1f} us each,"
                    f" Redis {run.redis_us:6.1f} us",
                    flush=True,
                )
        version = ".".join(map(str, redis.version))
    return _figures(found, peers), {
        "redis": version,
        "jobs": jobs,
        "concurrency": {peer.name: peer.concurrency for peer in peers},
        "runs": {name: [asdict(run) for run in some] for name, some in found.items()},
    }


def _figures(found: dict[str, list[Run]], peers: Sequence[Jobs]) -> list[Figure]:
    figures = []
    for name, what in ((OWN, "Bascule's worker, 200 lanes"), *((peer.name, peer.what) for peer in peers)):
        some = found[name]
        figures.append(Figure(what, Spread.of([run.per_s for run in some]), "jobs/s"))
        if name != OWN:
            ratios = [ours.per_s / other.per_s for ours, other in zip(found[OWN], some, strict=True)]
            figures.append(Figure("  Bascule's worker / it", Spread.of(ratios), "", None, 2))
        figures += [
            Figure("  processor time", Spread.of([run.cpu_us for run in some]), "us/job", None, 1),
            Figure("  of Redis", Spread.of([run.redis_us for run in some]), "us/job", None, 1),
            Figure("  share of its core", Spread.of([run.worker_share for run in some]), "", None, 2),
            Figure("  Redis' share of its", Spread.of([run.redis_share for run in some]), "", None, 2),
        ]
    strangers = [run.strangers_share for some in found.values() for run in some]
    return [*figures, Figure("strangers, cores", Spread.of(strangers), "", None, 2)]


def _own(backlog: own.Backlog) -> Run:
    return Run(
        jobs=backlog.instructions,
        per_s=backlog.per_s,
        cpu_us=backlog.cpu_us,
        redis_us=backlog.redis_us,
        worker_share=backlog.worker_share,
        redis_share=backlog.redis_share,
        strangers_share=backlog.strangers_share,
    )


def _run(peer: Jobs, redis: RedisServer, cores: Cores, jobs: int, tally: Path) -> Run:
    begun, log = tally.with_name(f"{tally.name}.begun"), tally.with_name(f"{tally.name}.log")
    environment = {
        **peer.environment,
        "PEER_REDIS": str(redis.path),
        "PEER_REDIS_PID": str(redis.pid),
        "PEER_JOBS": str(jobs),
        "PEER_CONCURRENCY": str(peer.concurrency),
        "PEER_TALLY": str(tally),
    }
    command = [word.format(concurrency=peer.concurrency) for word in peer.work]
    with redis.client(socket_timeout=60.0) as client:
        client.flushall()
        # Nobody measures how it is filled; what was written is on disk before the worker starts.
        client.config_set("appendfsync", "no")
        program.run(peer.fill, environment)
        client.config_set("appendfsync", "always")
        client.set("filled", 1)
        with program.running(command, environment, cores, log) as worker:
            _await(begun, worker, STARTING_S, 0.002, "its first job ends")
            before_s, known_before_s, busy_before_s = _now_s(worker, redis)
            _await(tally, worker, ENDING_S, 0.01, f"{jobs} jobs end")
            after_s, known_after_s, busy_after_s = _now_s(worker, redis)
            # Ended is what Redis knows to have ended.
            eventually_sync(lambda: not peer.left(client), 10, 0.02, f"{peer.name} has no jobs left in Redis")
        told: dict[str, float] = json.loads(tally.read_text())
    strangers_s = busy_after_s - busy_before_s - (known_after_s - known_before_s)
    return Run(
        jobs=jobs,
        per_s=(jobs - 1) / told["elapsed_s"],
        cpu_us=told["worker_s"] / jobs * 1e6,
        redis_us=told["redis_s"] / jobs * 1e6,
        worker_share=told["worker_s"] / told["elapsed_s"],
        redis_share=told["redis_s"] / told["elapsed_s"],
        strangers_share=strangers_s / (after_s - before_s),
    )


def _now_s(worker: program.Program, redis: RedisServer) -> tuple[float, float, float]:
    """Return the time, and what worker and Redis, and what all the machine, have used of the processors so far."""
    return time.monotonic(), worker.cpu_s() + cpu_s(redis.pid), busy_s()


def _await(file: Path, worker: program.Program, timeout_s: float, interval_s: float, what: str) -> None:
    def is_there() -> bool:
        if not worker.is_running:
            raise RuntimeError(f"the worker ended with {worker.process.returncode}:\n{worker.tail()}")
        return file.exists()

    try:
        eventually_sync(is_there, timeout_s, interval_s, what)
    except AssertionError as error:
        raise RuntimeError(f"{error}; it wrote:\n{worker.tail()}") from error
