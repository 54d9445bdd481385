"""The private Redis of a benchmark."""

from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.cores import Cores, running_on
from tests.support.redis_server import RedisServer


@contextmanager
def private_redis(cores: Cores) -> Iterator[RedisServer]:
    """Run a Redis with an fsync on every write, away from the core under measurement.

    It never rewrites its append-only file meanwhile: a rewrite takes a core of its own for a while, and two
    cores are all that is needed here.
    """
    server = RedisServer(options={"auto-aof-rewrite-percentage": "0"})
    try:
        with running_on(cores.others):
            server.start()
        yield server
    finally:
        server.close()
