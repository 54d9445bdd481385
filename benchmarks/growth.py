"""What grows with size: lanes, queued instructions, webhooks and workers.

Lanes and queues are one worker's, pinned like that of `worker`. Workers side by side are not pinned: on two cores they
share them with Redis, and what two or four of them add is what the kernel finds for them.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import worker
from benchmarks.cores import Cores, resident_mb, share_out
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.ingress import run_turn
from benchmarks.private_redis import private_redis
from benchmarks.servers import Target, empty, ingress_server, make_webhooks
from benchmarks.venue import BenchVenue
from tests.support.redis_server import RedisServer

LANES = (10, 1_000, 10_000)
COUNT = 20_000
"""Instructions of a run: two on each of the most lanes."""

QUEUED = (10_000, 1_000_000)
QUEUED_LANES = 1_000
WORKED_OFF = 10_000

WEBHOOKS = (1, 100, 1_000)

WORKERS = (1, 2, 4)
WORKER_LANES = 400
SLOW_MS = 200
SLOW_COUNT = 4_000
"""Of a venue that answers so late: there a worker's slots are what limits it."""

DAY_OF = 10_000
"""Alerts a day that the history is told for."""


def measure(effort: Effort) -> Measured:
    """Return the figures of every size, turn by turn; the largest queue is built once."""
    cores = share_out()
    found: dict[str, list[dict[str, Any]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="bascule-bench-") as name,
        private_redis(cores) as redis,
        BenchVenue() as venue,
    ):
        venue.answer_after(SLOW_MS)
        directory = Path(name)
        for turn in range(1, effort.runs + 1):
            print(f"  {turn}/{effort.runs}", flush=True)
            effort.patience.wait()
            for lanes in LANES:
                run = worker.run_backlog(redis, directory, lanes, COUNT, cores=cores)
                _keep(found, f"{lanes:,} lanes", asdict(run))
            for queued in QUEUED:
                if queued <= 10 * WORKED_OFF or turn == effort.runs:
                    run = worker.run_backlog(
                        redis, directory, QUEUED_LANES, WORKED_OFF, queued=queued, cores=cores
                    )
                    _keep(found, f"{queued:,} queued", asdict(run))
            for workers in WORKERS:
                run = worker.run_backlog(redis, directory, WORKER_LANES, COUNT, workers=workers)
                _keep(found, f"{_workers(workers)}, log", asdict(run))
            for workers in WORKERS:
                slow = {"broker": "http", "url": venue.url, "secret": "DESK_SECRET", "limits": NO_LIMITS}
                run = worker.run_backlog(
                    redis, directory, WORKER_LANES, SLOW_COUNT, workers=workers, broker=slow
                )
                _keep(found, f"{_workers(workers)}, venue of {SLOW_MS} ms", asdict(run))
            for webhooks in WEBHOOKS:
                _keep(
                    found,
                    f"{webhooks:,} webhook{'s' if webhooks > 1 else ''}",
                    _webhooks(webhooks, turn, redis, cores, directory, effort),
                )
    return Measured(_figures(found), found, {"count": COUNT, "worked_off": WORKED_OFF, "slow_ms": SLOW_MS})


NO_LIMITS = {"symbol": {"rate": "off", "burst": 1}, "account": {"rate": "off", "burst": 1}}


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


def _webhooks(
    count: int, turn: int, redis: RedisServer, cores: Cores, directory: Path, effort: Effort
) -> dict[str, Any]:
    with redis.client(socket_timeout=60.0) as client:
        client.flushall()
    with ingress_server(f"{count}-{turn}", cores, redis, directory, {}) as (target, service):
        path, secret = make_webhooks(count, redis, service)
        empty(redis)
        one = Target(target.name, target.pid, target.port, path, secret)
        run = run_turn(one, f"hooks{count}-{turn}", redis, cores, effort.seconds)
        return {**asdict(run), "memory_mb": resident_mb(target.pid)}


def _keep(found: dict[str, list[dict[str, Any]]], size: str, run: dict[str, Any]) -> None:
    found.setdefault(size, []).append(run)
    print(f"    {size:22} {run['per_s']:9,.0f}/s {run['cpu_us']:7.1f} us each", flush=True)


def _figures(found: dict[str, list[dict[str, Any]]]) -> list[Figure]:
    figures = []
    for size, runs in found.items():
        is_door = "webhook" in size
        unit = "alerts/s" if is_door else "instructions/s"
        figures.append(Figure(size, _spread(runs, "per_s"), unit))
        who = "ingress" if is_door else "workers"
        figures.append(Figure(f"  processor time, {who}", _spread(runs, "cpu_us"), "us each", digits=1))
        # Sizes are compared with one another: a reader must see which of them had company.
        figures.append(Figure("  strangers", _spread(runs, "strangers_share"), "cores", digits=2))
        if is_door:
            figures.append(Figure("  ingress, resident", _spread(runs, "memory_mb"), "MB"))
            continue
        figures.append(Figure("  processor time, Redis", _spread(runs, "redis_us"), "us each", digits=1))
        if "worker" in size:
            continue
        figures.append(Figure("  Redis' memory, queued", _spread(runs, "queued_bytes"), "bytes each"))
        if runs[0]["ended_bytes"] is not None:
            figures.append(Figure("  Redis' memory, ended", _spread(runs, "ended_bytes"), "bytes each"))
    ended = _spread(found[f"{LANES[1]:,} lanes"], "ended_bytes")
    a_day = Spread(*(value * DAY_OF / 1e6 for value in (ended.median, ended.low, ended.high)))
    return [*figures, Figure(f"history of a day of {DAY_OF:,} alerts", a_day, "MB", digits=1)]


def _spread(runs: list[dict[str, Any]], name: str) -> Spread:
    return Spread.of(run[name] for run in runs)
