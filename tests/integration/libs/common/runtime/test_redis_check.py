import asyncio

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from libs.common.domain.errors import ConfigError
from libs.common.policy.shards import HASH
from libs.common.runtime import redis_check
from libs.common.runtime.redis_check import check_when_up, keep_checking
from libs.common.runtime.settings import RedisSettings
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.replicas import START_THEM
from libs.common.store.shards import Shards
from libs.common.telemetry.outage import Outage
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer


async def checks(
    client: Redis, redis: RedisSettings, stopping: asyncio.Event, found: list[str | None]
) -> None:
    outage = Outage(SystemClock(), shard=0)
    await keep_checking(client, redis, stopping, found.append, outage=outage)


async def test_a_promise_that_redis_breaks_later_is_found_and_so_is_that_it_keeps_it_again(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_check, "AGAIN_S", 0.02)
    client, stopping = connect(redis_server.url, timeout_s=2), asyncio.Event()
    found: list[str | None] = []
    checking = asyncio.create_task(checks(client, RedisSettings(), stopping, found))
    with redis_server.client() as admin:
        admin.config_set("appendfsync", "everysec")
        try:
            await eventually(lambda: len(found) == 1)
        finally:
            admin.config_set("appendfsync", "always")
    await eventually(lambda: len(found) == 2)
    broken, kept = found
    assert "appendfsync" in (broken or "")
    assert kept is None
    stopping.set()
    await checking
    await client.aclose()


async def test_alerts_are_refused_while_too_few_replicas_follow(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_check, "AGAIN_S", 0.02)
    client, stopping, found = connect(redis_server.url, timeout_s=2), asyncio.Event(), list[str | None]()
    checking = asyncio.create_task(checks(client, RedisSettings(replicas=1), stopping, found))
    await eventually(lambda: found == ["0 replicas follow Redis, and redis.replicas is 1: " + START_THEM])
    stopping.set()
    await checking
    await client.aclose()


@pytest.mark.leaves_keys("how accounts are spread is noted for ever")
async def test_no_shard_is_claimed_before_the_first(redis_server: RedisServer):
    redis = RedisSettings(url=redis_server.url, shards=2)
    shards, claimed, stopping = Shards.open(redis.url, 2, timeout_s=2), asyncio.Event(), asyncio.Event()
    with redis_server.client() as admin:
        admin.hset(Keys(0).meta, "shards", 1)
        admin.hset(Keys(0).meta, "hash", HASH)
        other = asyncio.create_task(check_when_up(shards[1], redis, claimed, stopping))
        with pytest.raises(ConfigError, match="spread over 1"):
            await check_when_up(shards[0], redis, claimed, stopping)
        stopping.set()
        assert not await other
        assert not admin.exists(Keys(1).meta)

        stopping.clear()
        admin.hset(Keys(0).meta, "shards", 2)
        other = asyncio.create_task(check_when_up(shards[1], redis, claimed, stopping))
        assert await check_when_up(shards[0], redis, claimed, stopping)
        assert await other
        assert admin.hget(Keys(1).meta, "shards") == "2"
    await shards.aclose()


@pytest.mark.leaves_keys("how accounts are spread is noted for ever")
async def test_a_start_without_redis_says_so_once_and_once_that_it_came(
    private_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_check, "RETRY_S", 0.01)
    private_redis.stop()
    redis = RedisSettings(url=private_redis.url)
    shards = Shards.open(redis.url, 1, timeout_s=2)
    with capture_logs() as events:
        checking = asyncio.create_task(check_when_up(shards[0], redis, asyncio.Event(), asyncio.Event()))
        await eventually(lambda: events)
        private_redis.start()
        assert await checking
    assert [one["event"] for one in events] == ["redis_away", "redis_back"]
    assert events[1]["away_ms"] > 0
    await shards.aclose()
