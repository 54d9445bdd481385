"""Bascule's own side, run as the benchmarks of its own run it: all that is taken from them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.cores import Cores
from benchmarks.ingress import CONNECTIONS, WARM_UP_S
from benchmarks.servers import bare_server, empty, ingress_server
from benchmarks.worker import JOURNAL, MANY, run_backlog
from benchmarks.worker import Run as Backlog
from tests.support.redis_server import RedisServer

__all__ = ["CONNECTIONS", "JOURNAL", "WARM_UP_S", "Backlog", "bare", "empty", "ingress", "work_off"]


@contextmanager
def bare(cores: Cores) -> Iterator[tuple[int, int]]:
    """Run the bare Starlette endpoint; give its process id and port."""
    with bare_server("bare", "benchmarks.bare", cores) as target:
        yield target.pid, target.port


@contextmanager
def ingress(cores: Cores, redis: RedisServer, directory: Path) -> Iterator[tuple[int, int]]:
    """Run the real ingress; give its process id and port."""
    with ingress_server("peers", cores, redis, directory, {}) as (target, _service):
        yield target.pid, target.port


def work_off(redis: RedisServer, cores: Cores, count: int, directory: Path) -> Backlog:
    """Queue that many alerts on 200 lanes and work them off by the real worker."""
    return run_backlog(redis, directory, MANY, count, cores=cores)
