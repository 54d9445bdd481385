import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, ResponseError  # noqa: A004 - the name is redis-py's
from redis.exceptions import TimeoutError as RedisTimeoutError

from libs.common.domain.errors import StoreBarred
from libs.common.store.client import connect, translate
from libs.common.store.connections import TlsRefused
from libs.common.store.pipe import Pipe
from libs.common.store.sending import packed
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

SLOW = "for _ = 1, 3000000 do end return ARGV[1]"


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


def call(pipe: Pipe, *words: str | int) -> "asyncio.Task[Any]":
    return asyncio.create_task(pipe.call(packed(words)))


async def echo(pipe: Pipe, word: str) -> None:
    assert await call(pipe, "ECHO", word) == word.encode()


async def outcomes(calls: Iterable["asyncio.Task[Any]"]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


async def all_sent(pipe: Pipe, count: int) -> None:
    await eventually(lambda: pipe._line is not None and len(pipe._line.waiting) == count)


async def test_calls_are_executed_and_answered_in_the_order_they_were_made(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, _):
        assert await outcomes(call(pipe, "RPUSH", "probe", n) for n in range(200)) == list(range(1, 201))
    with redis_server.client() as direct:
        assert direct.lrange("probe", 0, -1) == [str(n) for n in range(200)]
        direct.delete("probe")


async def test_a_refused_call_fails_alone(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, _):
        first, refused, last = await outcomes(
            call(pipe, *words) for words in (("ECHO", "a"), ("NOCOMMAND",), ("ECHO", "b"))
        )
        assert (first, last) == (b"a", b"b")
        assert isinstance(refused, ResponseError)


async def test_who_gives_up_disturbs_nobody(proxy: Proxy) -> None:
    async with piping(proxy.url) as (pipe, _):
        await echo(pipe, "a")
        proxy.black_hole()
        calls = [call(pipe, "ECHO", n) for n in range(3)]
        await all_sent(pipe, 3)
        calls[1].cancel()
        proxy.pass_through()
        first, given_up, last = await outcomes(calls)
        assert (first, last) == (b"0", b"2")
        assert isinstance(given_up, asyncio.CancelledError)


async def test_a_lost_connection_fails_all_that_wait_and_the_next_call_has_another(proxy: Proxy) -> None:
    async with piping(proxy.url) as (pipe, _):
        await echo(pipe, "a")
        proxy.black_hole()
        calls = [call(pipe, "ECHO", n) for n in range(5)]
        await all_sent(pipe, 5)
        proxy.reset_connections()
        assert {type(error) for error in await outcomes(calls)} == {ConnectionError}
        proxy.pass_through()
        await echo(pipe, "b")


async def test_a_silent_redis_fails_all_that_wait_within_the_time_out(proxy: Proxy) -> None:
    async with piping(proxy.url, timeout_s=0.3) as (pipe, _):
        await echo(pipe, "a")
        proxy.black_hole()
        async with asyncio.timeout(5):
            failed = await outcomes(call(pipe, "ECHO", n) for n in range(5))
        assert {type(error) for error in failed} == {ConnectionError}
        assert all(isinstance(error.__cause__, RedisTimeoutError | TimeoutError) for error in failed), failed
        proxy.pass_through()
        await echo(pipe, "b")


async def test_a_server_that_is_away_is_said_to_each_and_reached_once_it_is_back(proxy: Proxy) -> None:
    async with piping(proxy.url) as (pipe, _):
        proxy.refuse()
        failed = await outcomes(call(pipe, "ECHO", n) for n in range(5))
        assert all(isinstance(error, ConnectionError | OSError) for error in failed), failed
        proxy.pass_through()
        await echo(pipe, "b")


async def test_its_connection_goes_back_when_nothing_is_under_way(redis_server: RedisServer) -> None:
    async with piping(redis_server.url) as (pipe, client):
        await outcomes(call(pipe, "ECHO", n) for n in range(5))
        await eventually(lambda: pipe._line is None)
        pool: Any = client.connection_pool
        assert len(pool._in_use_connections) == 0
        assert len(pool._available_connections) == 1


async def test_a_slow_call_is_answered_before_those_that_were_made_after_it(
    redis_server: RedisServer,
) -> None:
    async with piping(redis_server.url) as (pipe, _):
        answered: list[bytes] = []

        async def note(calling: "asyncio.Task[Any]") -> None:
            answered.append(await calling)

        slow = call(pipe, "EVAL", SLOW, 0, "slow")
        await asyncio.gather(note(slow), *(note(call(pipe, "ECHO", n)) for n in range(3)))
        assert answered == [b"slow", b"0", b"1", b"2"]


async def test_a_call_that_is_still_sent_when_another_runs_out_of_time_is_told_so_too(proxy: Proxy) -> None:
    async with piping(proxy.url, timeout_s=0.5) as (pipe, client):
        await echo(pipe, "a")
        proxy.black_hole()
        first = call(pipe, "ECHO", "b")
        second = call(pipe, "ECHO", "x" * 12_000_000)
        await all_sent(pipe, 2)
        await outcomes([first])
        proxy.pass_through()
        async with asyncio.timeout(5):
            (outcome,) = await outcomes([second])
        assert isinstance(outcome, ConnectionError)
        await echo(pipe, "c")
        pool: Any = client.connection_pool
        await eventually(lambda: not pool._in_use_connections)
        assert all(one.socket_timeout == 0.5 for one in pool._available_connections if one is not None)


async def test_who_is_refused_at_the_first_answer_is_told_so(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with piping(redis_server.url) as (pipe, client):
        connection = await client.connection_pool.get_connection()

        async def refused(*_: object, **__: object) -> object:
            raise TlsRefused("it asks for a client certificate", remedy="name one")

        monkeypatch.setattr(connection, "read_response", refused)
        await client.connection_pool.release(connection)
        async with asyncio.timeout(5):
            outcome, other = await outcomes(call(pipe, "ECHO", n) for n in range(2))
        assert isinstance(translate(outcome), StoreBarred)
        assert isinstance(translate(other), StoreBarred)
