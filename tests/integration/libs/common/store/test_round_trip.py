"""Many small questions in one round trip."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.store.client import connect
from libs.common.store.round_trip import ask_many
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def single(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client with one connection, which each call must leave fit for the next."""
    client = connect(redis_server.url, timeout_s=5, connections=1)
    yield client
    await client.flushdb()
    await client.aclose()


async def test_every_question_gets_its_own_reply(single: Redis) -> None:
    for number in range(300):
        await single.hset(f"h{number}", mapping={"a": number})

    replies = await ask_many(single, [("HMGET", f"h{number}", "a", "b") for number in range(300)])

    assert replies == [[str(number).encode(), None] for number in range(300)]
    assert await ask_many(single, []) == []


async def test_a_reply_that_fails_leaves_none_of_the_others_to_the_next_caller(single: Redis) -> None:
    await single.set("text", "x")
    await single.hset("h", mapping={"a": 1})

    with pytest.raises(StoreCorrupt):
        await ask_many(single, [("HGET", "h", "a"), ("HGET", "text", "a"), ("HGET", "h", "a")])

    assert await ask_many(single, [("GET", "text")]) == [b"x"]


async def test_no_answer_is_told_in_our_words(redis_server: RedisServer) -> None:
    client = connect("unix:///nowhere/redis.sock", timeout_s=1)
    with pytest.raises(StoreUnavailable):
        await ask_many(client, [("PING",)])

    frozen = connect(redis_server.url, timeout_s=0.2, connections=1)
    assert await ask_many(frozen, [("PING",)]) == [b"PONG"]
    with pytest.raises(StoreUnavailable):
        await ask_many(frozen, [("BLPOP", "nothing", 0)])
    assert await ask_many(frozen, [("ECHO", "next")]) == [b"next"]
    await frozen.aclose()
