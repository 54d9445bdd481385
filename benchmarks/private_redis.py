"""The private Redis of a benchmark."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.cores import Cores, running_on
from benchmarks.figures import DIRECTORY
from tests.support.redis_server import RedisServer


@contextmanager
def private_redis(cores: Cores) -> Iterator[RedisServer]:
    """Run a Redis with an fsync on every write, away from the core under measurement.

    Its data lies in `var/`, where `make up` keeps its own: /tmp may be memory, where an fsync costs nothing.
    It never rewrites its append-only file meanwhile: a rewrite takes a core of its own for a while, and two
    cores are all that is needed here.
    """
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="redis-", dir=DIRECTORY) as data:
        server = RedisServer(options={"dir": data, "auto-aof-rewrite-percentage": "0"})
        try:
            with running_on(cores.others):
                server.start()
            yield server
        finally:
            server.close()
