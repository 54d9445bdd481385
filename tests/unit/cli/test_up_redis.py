"""A Redis of the user's own, asked before anything is started on it."""

import pytest

from cli.up_redis import check_redis
from libs.common.domain.errors import ConfigError
from libs.common.runtime.settings import RedisSettings
from tests.support.redis_server import RedisServer


async def refusal(url: str, said: list[str]) -> str:
    with pytest.raises(ConfigError) as caught:
        await check_redis(RedisSettings(url=url), said.append, patience_s=0.6)
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
