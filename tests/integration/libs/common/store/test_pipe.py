import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 - the name is redis-py's
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.common.store.client import connect
from libs.common.store.pipe import Pipe
from libs.common.store.sending import packed
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

SLOW = "local ends = redis.call('TIME')[1] + 1 while tonumber(redis.call('TIME')[1]) < ends do end return ARGV[1]"


@asynccontextmanager
async def piping(url: str, *, timeout_s: float = 5.0) -> AsyncIterator[tuple[Pipe, Redis]]:
    client = connect(url, timeout_s=timeout_s)
    try:
        yield Pipe(client), client
    finally:
        await client.aclose()


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.url) as one:
        yield one


async def outcomes(calls: list["asyncio.Task[Any]"]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def test_calls_are_executed_and_answered_in_the_order_they_were_made(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, _):
        calls = [
            asyncio.create_task(
                pipe.call(
                    packed(
                        (
                            "RPUSH",
                            "probe",
                            n,
                        )
                    )
                )
            )
            for n in range(200)
        ]
        assert await outcomes(calls) == list(range(1, 201))
    assert redis_server.client().lrange("probe", 0, -1) == [str(n) for n in range(200)]
    redis_server.client().delete("probe")


async def test_a_refused_call_fails_alone(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, _):
        calls = [
            asyncio.create_task(pipe.call(packed(words)))
            for words in (("ECHO", "a"), ("NOCOMMAND",), ("ECHO", "b"))
        ]
        first, refused, last = await outcomes(calls)
        assert (first, last) == (b"a", b"b")
        assert isinstance(refused, ResponseError)


async def test_who_gives_up_disturbs_nobody(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, _):
        calls = [
            asyncio.create_task(
                pipe.call(
                    packed(
                        (
                            "ECHO",
                            n,
                        )
                    )
                )
            )
            for n in range(3)
        ]
        await asyncio.sleep(0)
        calls[1].cancel()
        first, given_up, last = await outcomes(calls)
        assert (first, last) == (b"0", b"2")
        assert isinstance(given_up, asyncio.CancelledError)


async def test_a_lost_connection_fails_all_that_wait_and_the_next_call_has_another(proxy: Proxy) -> None:
    async with piping(proxy.url) as (pipe, _):
        assert (
            await pipe.call(
                packed(
                    (
                        "ECHO",
                        "a",
                    )
                )
            )
            == b"a"
        )
        proxy.black_hole()
        calls = [
            asyncio.create_task(
                pipe.call(
                    packed(
                        (
                            "ECHO",
                            n,
                        )
                    )
                )
            )
            for n in range(5)
        ]
        await eventually(lambda: pipe._line is not None and len(pipe._line.waiting) == 5)
        proxy.reset_connections()
        assert {type(error) for error in await outcomes(calls)} == {ConnectionError}
        proxy.pass_through()
        assert (
            await pipe.call(
                packed(
                    (
                        "ECHO",
                        "b",
                    )
                )
            )
            == b"b"
        )


async def test_a_silent_redis_fails_all_that_wait_within_the_time_out(proxy: Proxy) -> None:
    async with piping(proxy.url, timeout_s=0.3) as (pipe, _):
        assert (
            await pipe.call(
                packed(
                    (
                        "ECHO",
                        "a",
                    )
                )
            )
            == b"a"
        )
        proxy.black_hole()
        calls = [
            asyncio.create_task(
                pipe.call(
                    packed(
                        (
                            "ECHO",
                            n,
                        )
                    )
                )
            )
            for n in range(5)
        ]
        async with asyncio.timeout(5):
            failed = await outcomes(calls)
        assert all(isinstance(error, RedisTimeoutError | TimeoutError) for error in failed), failed
        proxy.pass_through()
        assert (
            await pipe.call(
                packed(
                    (
                        "ECHO",
                        "b",
                    )
                )
            )
            == b"b"
        )


async def test_a_server_that_is_away_is_said_to_each_and_reached_once_it_is_back(proxy: Proxy) -> None:
    async with piping(proxy.url) as (pipe, _):
        proxy.refuse()
        calls = [
            asyncio.create_task(
                pipe.call(
                    packed(
                        (
                            "ECHO",
                            n,
                        )
                    )
                )
            )
            for n in range(5)
        ]
        assert all(isinstance(error, ConnectionError | OSError) for error in await outcomes(calls))
        proxy.pass_through()
        assert (
            await pipe.call(
                packed(
                    (
                        "ECHO",
                        "b",
                    )
                )
            )
            == b"b"
        )


async def test_its_connection_goes_back_when_nothing_is_under_way(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, client):
        await outcomes(
            [
                asyncio.create_task(
                    pipe.call(
                        packed(
                            (
                                "ECHO",
                                n,
                            )
                        )
                    )
                )
                for n in range(5)
            ]
        )
        await eventually(lambda: pipe._line is None)
        pool: Any = client.connection_pool
        assert len(pool._in_use_connections) == 0
        assert len(pool._available_connections) == 1


async def test_a_call_comes_before_those_that_were_made_while_it_was_executed(
    redis_server: RedisServer,
) -> None:
    async with piping(redis_server.url) as (pipe, _):
        order: list[str] = []

        async def call(*words: str | int) -> None:
            order.append(str(await pipe.call(packed(words))))

        slow = asyncio.create_task(call("EVAL", SLOW, 0, "slow"))
        await eventually(lambda: pipe._line is not None)
        await asyncio.gather(slow, *(call("ECHO", n) for n in range(3)))
        assert order == ["b'slow'", "b'0'", "b'1'", "b'2'"]
