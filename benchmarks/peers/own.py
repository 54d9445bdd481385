"""Bascule's own side, run as the benchmarks of its own run it: all that is taken from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cores import Cores
from benchmarks.ingress import CONNECTIONS, WARM_UP_S, _bare, _empty, _ingress
from benchmarks.worker import JOURNAL, _run
from benchmarks.worker import Run as Backlog
from tests.support.redis_server import RedisServer

__all__ = ["CONNECTIONS", "JOURNAL", "WARM_UP_S", "Backlog", "bare", "empty", "ingress", "work_off"]

LANES = 200


@contextmanager
def bare(cores: Cores) -> Iterator[tuple[int, int]]:
    """Run the bare Starlette endpoint; give its process id and port."""
    with _bare(cores) as place:
        yield place


@contextmanager
def ingress(cores: Cores, redis: RedisServer, directory: Path) -> Iterator[tuple[int, int]]:
    """Run the real ingress; give its process id and port."""
    with _ingress(cores, redis, directory) as service:
        yield service.pid, service.config["ingress"]["port"]


def empty(redis: RedisServer) -> None:
    """Delete everything but what a running ingress must not miss."""
    _empty(redis)


def work_off(redis: RedisServer, cores: Cores, count: int, directory: Path) -> Backlog:
    """Queue that many alerts on 200 lanes and work them off by the real worker."""
    run, _memory_mb = _run(redis, cores, LANES, count, directory)
    return run
