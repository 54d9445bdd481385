"""A client of the store's own, on a real Redis; and its scripts, changed where that is asked for."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from libs.common.store import scripts
from libs.common.store.client import connect
from tests.fuzz.mutations import mutated_reader
from tests.support.redis_server import RedisServer


@pytest.fixture(autouse=True)
def _mutation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs these tests against scripts with one line changed, where `BASCULE_MUTATION` asks for it."""
    reader = mutated_reader()
    if reader is not None:
        monkeypatch.setattr(scripts, "_read", reader)


@pytest_asyncio.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    connected = connect(redis_server.url, timeout_s=5)
    yield connected
    await connected.aclose()
