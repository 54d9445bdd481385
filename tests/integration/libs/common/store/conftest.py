"""A client of the store's own, on a real Redis."""

from collections.abc import AsyncIterator

import pytest_asyncio
from redis.asyncio import Redis

from libs.common.store.client import connect
from tests.support.redis_server import RedisServer


@pytest_asyncio.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    connected = connect(redis_server.url, timeout_s=5)
    yield connected
    await connected.aclose()
