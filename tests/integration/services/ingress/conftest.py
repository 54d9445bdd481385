"""An ingress of its own for each test, over a real Redis."""

from collections.abc import Callable

import pytest

from tests.support.bridge import Bridge
from tests.support.redis_server import RedisServer


@pytest.fixture
def ingress(redis_server: RedisServer, bridge_factory: Callable[..., Bridge]) -> Bridge:
    """A bridge of one ingress and nothing else: what it queues stays in its lanes."""
    return bridge_factory(redis_server, workers=0, reapers=0)


@pytest.fixture
def ingress_to_break(private_redis: RedisServer, bridge_factory: Callable[..., Bridge]) -> Bridge:
    """The same over a Redis that the test may kill and freeze."""
    return bridge_factory(private_redis, workers=0, reapers=0)
