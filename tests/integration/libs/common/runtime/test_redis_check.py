import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from structlog.testing import capture_logs

from libs.common.domain.errors import ConfigError
from libs.common.runtime.redis_check import check_when_up
from libs.common.runtime.settings import Durability
from libs.common.store.client import connect
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

# Nothing here depends on the version of the server.
pytestmark = pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)


@pytest_asyncio.fixture
async def client(private_redis: RedisServer) -> AsyncIterator[Redis]:
    made = connect(private_redis.url, timeout_s=1)
    yield made
    await made.aclose()


async def test_a_server_that_answers_is_found_at_once(client: Redis) -> None:
    assert await check_when_up(client, Durability.ALWAYS, asyncio.Event())


async def test_it_waits_for_a_server_that_is_away_and_says_so_once(
    client: Redis, private_redis: RedisServer
) -> None:
    private_redis.stop()
    with capture_logs() as events:
        checking = asyncio.create_task(check_when_up(client, Durability.ALWAYS, asyncio.Event()))
        await eventually(lambda: events)
        assert not checking.done()
        private_redis.start()
        assert await checking
    assert [event["event"] for event in events] == ["redis_away"]


async def test_stopping_ends_the_wait(client: Redis, private_redis: RedisServer) -> None:
    private_redis.stop()
    stopping = asyncio.Event()
    with capture_logs() as events:
        checking = asyncio.create_task(check_when_up(client, Durability.ALWAYS, stopping))
        await eventually(lambda: events)
        stopping.set()
        assert await checking is False


async def test_a_server_that_keeps_no_promise_is_refused(client: Redis, private_redis: RedisServer) -> None:
    private_redis.stop()
    checking = asyncio.create_task(check_when_up(client, Durability.ALWAYS, asyncio.Event()))
    private_redis.options["appendonly"] = "no"
    private_redis.start()
    with pytest.raises(ConfigError):
        await checking
