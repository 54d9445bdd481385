"""How accounts are spread is noted once, and no service starts with another number."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import ConfigError
from libs.common.policy.shards import HASH
from libs.common.store.client import connect
from libs.common.store.incarnation import Incarnations
from libs.common.store.keys import Keys
from libs.common.store.layout import claim_layout, read_layout
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.leaves_keys("how accounts are spread is noted for ever")

KEYS = Keys(0)


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(redis_server.url, timeout_s=5)
    yield client
    await client.aclose()


@pytest.mark.parametrize("count", [1, 4])
async def test_the_first_start_notes_the_number_and_others_may_have_no_other(client: Redis, count: int):
    assert await read_layout(client, KEYS) == 1
    await claim_layout(client, KEYS, count)
    await claim_layout(client, KEYS, count)
    assert await read_layout(client, KEYS) == count
    with pytest.raises(
        ConfigError, match=rf"redis\.shards: got 8, and what Redis holds is spread over {count}"
    ):
        await claim_layout(client, KEYS, 8)
    assert await read_layout(client, KEYS) == count


async def test_what_was_filled_before_numbers_were_noted_is_one_shard(
    client: Redis, redis_server: RedisServer
):
    with redis_server.client() as direct:
        direct.hset(KEYS.meta, mapping={"run_id": "a", "keeps_all": "1"})
    with pytest.raises(ConfigError, match=r"spread over 1: set redis\.shards: 1"):
        await claim_layout(client, KEYS, 4)
    await claim_layout(client, KEYS, 1)
    assert await read_layout(client, KEYS) == 1


async def test_work_without_a_number_is_one_shard(client: Redis, redis_server: RedisServer):
    with redis_server.client() as direct:
        direct.xadd(KEYS.ready, {"lane": "desk:BTC"})
        with pytest.raises(ConfigError, match="spread over 1"):
            await claim_layout(client, KEYS, 4)
        direct.delete(KEYS.ready)


async def test_webhooks_made_before_the_first_start_say_nothing_of_the_number(
    client: Redis, redis_server: RedisServer
):
    with redis_server.client() as direct:
        direct.hset(KEYS.meta, "revision", "3")
    await claim_layout(client, KEYS, 4)
    assert await read_layout(client, KEYS) == 4


async def test_another_hash_is_another_layout(client: Redis, redis_server: RedisServer):
    with redis_server.client() as direct:
        direct.hset(KEYS.meta, mapping={"shards": "4", "hash": "sum"})
    with pytest.raises(ConfigError, match=f'by "sum", and this version spreads by "{HASH}"'):
        await claim_layout(client, KEYS, 4)


async def test_a_full_redis_that_is_one_shard_may_be_started_on(client: Redis, redis_server: RedisServer):
    with redis_server.client() as direct:
        direct.config_set("maxmemory", "1")
        await claim_layout(client, KEYS, 1)
        assert not direct.hexists(KEYS.meta, "shards")
        direct.config_set("maxmemory", "0")
    await claim_layout(client, KEYS, 1)
    assert await read_layout(client, KEYS) == 1


async def test_a_redis_that_came_back_empty_under_running_services_holds_their_number(
    client: Redis, redis_server: RedisServer
):
    incarnations = Incarnations(KEYS, durability="always", lease_ms=6_000, shards=4)
    greeted = connect(redis_server.url, timeout_s=5, greet=incarnations.greet)
    await greeted.ping()
    await greeted.aclose()
    await claim_layout(client, KEYS, 4)
    assert await read_layout(client, KEYS) == 4
