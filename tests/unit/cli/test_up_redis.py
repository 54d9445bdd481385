"""A Redis of the user's own, asked before anything is started on it."""

import pytest

from cli.up_redis import check_redis
from libs.common.domain.errors import ConfigError
from libs.common.runtime.settings import RedisSettings
from tests.conftest import BEST_ID
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import Binary, RedisServer


async def refusal(url: str, said: list[str], shards: int = 1) -> str:
    with pytest.raises(ConfigError) as caught:
        await check_redis(RedisSettings(url=url, shards=shards), said.append, patience_s=0.6)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


async def test_a_server_as_it_should_be_passes_without_a_word(redis_server: RedisServer) -> None:
    said: list[str] = []
    await check_redis(RedisSettings(url=redis_server.url), said.append)
    assert said == []


async def test_a_server_that_is_away_is_waited_for_a_while_and_once_said_so() -> None:
    said: list[str] = []
    text = await refusal("redis://127.0.0.1:1/0", said)
    assert "no answer from Redis at redis://127.0.0.1:1/0" in text
    assert "unset REDIS_URL" in text
    assert len(said) == 1


async def test_every_broken_promise_is_told_at_once(redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
    said: list[str] = []
    text = await refusal(redis_server.url, said)
    assert "noeviction" in text
    assert "appendfsync always" in text
    assert said == []


async def test_a_wrong_password_is_not_waited_for_and_not_shown(redis_server: RedisServer) -> None:
    said: list[str] = []
    text = await refusal(f"{redis_server.url}?username=nobody&password=hunter2", said)
    assert "does not let us in" in text
    assert "hunter2" not in text
    assert said == []


async def test_an_address_with_a_wrong_option_is_one_line() -> None:
    assert "cannot be read" in await refusal("redis://127.0.0.1:1/0?socket_timeout=soon", [])


async def test_another_number_of_shards_than_redis_holds_is_one_line(redis_server: RedisServer) -> None:
    await check_redis(RedisSettings(url=redis_server.url, shards=4), print)
    text = await refusal(redis_server.url, [], shards=1)
    assert "redis.shards: got 1, and what Redis holds is spread over 4: set redis.shards: 4" in text


@pytest.mark.parametrize("redis_binary", [BEST_ID], indirect=True)
async def test_of_a_cluster_the_form_of_its_address_and_the_node_that_promises_too_little_are_told(
    redis_binary: Binary,
) -> None:
    with RedisCluster(redis_binary) as cluster:
        for node in cluster.nodes:
            text = await refusal(f"redis://127.0.0.1:{node.port}", [], shards=4)
            assert "a node of a Redis Cluster" in text
            assert "let the address begin with redis+cluster:// or rediss+cluster://" in text
        wrong = cluster.node_of(2)
        with wrong.client() as client:
            client.config_set("appendfsync", "everysec")
        text = await refusal(cluster.url, [], shards=4)
        assert f"node 127.0.0.1:{wrong.port}: Redis writes to disk once a second" in text
