"""Connections that are lent to calls: never more than allowed, in turn, and fit for use."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError  # noqa: A004 - the name is redis-py's

from libs.common.store.client import call, connect
from libs.common.store.sending import packed, send
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def double(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client with two connections."""
    client = connect(redis_server.url, timeout_s=5, connections=2)
    yield client
    await client.aclose()


async def test_no_more_are_open_than_allowed_and_who_waits_gets_one_in_turn(double: Redis) -> None:
    pool: Any = double.connection_pool
    served: list[int] = []

    async def hold(number: int) -> None:
        connection = await pool.get_connection()
        served.append(number)
        await asyncio.sleep(0)
        await pool.release(connection)

    await asyncio.gather(*(hold(number) for number in range(20)))

    assert served == list(range(20))
    assert len(await double.client_list()) == 2


async def test_who_waits_in_vain_is_told_and_takes_none_from_the_next(redis_server: RedisServer) -> None:
    client = connect(redis_server.url, timeout_s=0.05, connections=1)
    pool: Any = client.connection_pool
    held = await pool.get_connection()
    with pytest.raises(ConnectionError, match="No connection available"):
        await pool.get_connection()
    waiting = asyncio.create_task(pool.get_connection())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    await pool.release(held)
    for _ in range(3):
        assert await call(client, "PING")
    await client.aclose()


async def test_one_that_redis_has_closed_is_made_anew(double: Redis, redis_server: RedisServer) -> None:
    pool: Any = double.connection_pool
    connection = await pool.get_connection()
    await pool.release(connection)
    with redis_server.client() as direct:
        direct.client_kill_filter(_type="normal", skipme=True)
    await eventually(connection._reader.at_eof)
    assert await call(double, "PING")


async def test_one_with_a_reply_that_nobody_read_is_made_anew(double: Redis) -> None:
    pool: Any = double.connection_pool
    connection = await pool.get_connection()
    await send(connection, packed(("ECHO", "late")))
    await eventually(connection.can_read)
    await pool.release(connection)
    assert await call(double, "ECHO", "next") == b"next"


async def test_one_that_cannot_be_made_leaves_its_place_to_the_next(redis_server: RedisServer) -> None:
    client = connect("unix:///nowhere/redis.sock", timeout_s=0.05, connections=1)
    pool: Any = client.connection_pool
    for _ in range(3):
        with pytest.raises(ConnectionError, match="nowhere"):
            await pool.get_connection()
    pool.connection_kwargs["path"] = str(redis_server.path)
    pool.reset()
    assert await call(client, "PING")
    await client.aclose()
