"""The private Redis of a benchmark."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from benchmarks.cores import Cores, running_on
from benchmarks.figures import DIRECTORY
from tests.support.redis_server import RedisServer


@contextmanager
def private_redis(cores: Cores | None = None) -> Iterator[RedisServer]:
    """Run a Redis with an fsync on every write, away from the core under measurement where one is named.

    Its data lies in `var/`, where `make up` keeps its own: /tmp may be memory, where an fsync costs nothing.
    It never rewrites its append-only file meanwhile: a rewrite takes a core of its own for a while, and two
    cores are all that is needed here.
    """
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="redis-", dir=DIRECTORY) as data:
        server = RedisServer(
            options={
                "dir": data,
                "auto-aof-rewrite-percentage": "0",
                "hash-max-ziplist-value": "1024",
                "stream-node-max-bytes": "1024",
            }
        )
        try:
            with nullcontext() if cores is None else running_on(cores.others):
                server.start()
            yield server
        finally:
            server.close()
