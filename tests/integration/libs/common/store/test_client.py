"""redis-py's traps: writes sent twice, replies that reach the wrong caller, scripts that a restart forgets."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.store.client import call, connect
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

KEYS = Keys()
SHORT_S = 0.15


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.url) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[Redis]:
    client = connect(proxy.url, timeout_s=SHORT_S, connections=2)
    yield client
    await client.aclose()


async def drop(client: Redis, token: str = "1-1") -> object:
    return await Script("drop").run(client, KEYS.fixed, ["", token])


async def test_a_write_whose_reply_is_slow_is_sent_once(
    redis_server: RedisServer, proxy: Proxy, client: Redis
):
    await call(client, "PING")
    proxy.delay(SHORT_S * 1_000 * 2)
    with pytest.raises(Exception, match="Timeout"):
        await call(client, "XADD", "bascule:{s0}:journal", "*", "a", "b")
    proxy.pass_through()
    with redis_server.client() as direct:
        await eventually(lambda: direct.xlen("bascule:{s0}:journal") == 1, 2)
        await call(client, "PING")
        assert direct.xlen("bascule:{s0}:journal") == 1


@pytest.mark.parametrize("is_silent", [False, True], ids=["reset", "silent"])
async def test_a_script_whose_reply_is_lost_is_sent_once(
    redis_server: RedisServer, proxy: Proxy, client: Redis, is_silent: bool
):
    script = Script("refuse")
    with redis_server.client() as direct:
        direct.script_load(script.source)
        proxy.lose_next_reply(script.sha.encode(), is_silent=is_silent)
        with pytest.raises(StoreUnavailable):
            await script.run(
                client, [*KEYS.fixed, KEYS.refused], ["", "100", "e", "w", "400", "c", "f", "d", "r"]
            )
        assert proxy.lost_replies == 1
        await call(client, "PING")
        assert direct.xlen(KEYS.refused) == 1


async def test_a_reply_that_comes_after_the_time_out_reaches_nobody_else(proxy: Proxy, client: Redis):
    for n in range(10):
        await call(client, "SET", f"k{n}", f"v{n}", "PX", "60000")
    proxy.delay(SHORT_S * 1_000 + 40)
    late = await asyncio.gather(*[call(client, "GET", f"k{n}") for n in range(4)], return_exceptions=True)
    assert all(isinstance(one, Exception) for one in late)
    proxy.pass_through()
    for n in range(10):
        assert await call(client, "GET", f"k{n}") == f"v{n}".encode()


async def test_a_caller_that_is_cancelled_leaves_no_reply_to_the_next(proxy: Proxy, client: Redis):
    for n in range(10):
        await call(client, "SET", f"k{n}", f"v{n}", "PX", "60000")
    proxy.delay(30)
    for n in range(10):
        given_up = asyncio.create_task(call(client, "GET", f"k{n}"))
        await asyncio.sleep(0.002 * n)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        other = (n + 1) % 10
        assert await call(client, "GET", f"k{other}") == f"v{other}".encode()


async def test_a_script_that_is_cancelled_leaves_no_reply_to_the_next(proxy: Proxy, client: Redis):
    keys = [*KEYS.fixed, KEYS.probe]
    await Script("probe").run(client, keys, [""])
    await drop(client)
    proxy.delay(30)
    for n in range(10):
        given_up = asyncio.create_task(drop(client))
        await asyncio.sleep(0.003 * n)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert len(await Script("probe").run(client, keys, [""])) == 2
    assert await drop(client) == [[b"OK"]]


async def test_a_script_that_timed_out_leaves_no_reply_to_the_next(proxy: Proxy, client: Redis):
    keys = [*KEYS.fixed, KEYS.probe]
    assert len(await Script("probe").run(client, keys, [""])) == 2
    await drop(client)
    proxy.delay(SHORT_S * 1_000 + 40)
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await drop(client)
    proxy.pass_through()
    for _ in range(4):
        assert len(await Script("probe").run(client, keys, [""])) == 2


async def test_a_reply_cut_in_the_middle_is_no_answer(proxy: Proxy, client: Redis):
    script = Script("drop")
    await drop(client)
    proxy.lose_next_reply(script.sha.encode(), after_bytes=3)
    with pytest.raises(StoreUnavailable):
        await drop(client)
    assert await drop(client) == [[b"OK"]]


async def test_a_script_that_redis_forgot_is_loaded_again_and_run_once(
    redis_server: RedisServer, client: Redis
):
    script = Script("refuse")
    args = ["", "10000", "e", "w", "400", "c", "f", "d", "r"]
    with redis_server.client() as direct:
        for n in range(1, 4):
            direct.script_flush()
            assert await script.run(client, [*KEYS.fixed, KEYS.refused], args) == [[b"OK"]]
            assert direct.xlen(KEYS.refused) == n
        assert direct.script_exists(script.sha) == [True]


async def test_scripts_run_again_after_a_restart(private_redis: RedisServer):
    client = connect(private_redis.url, timeout_s=2)
    try:
        assert await drop(client) == [[b"OK"]]
        private_redis.restart()

        async def dropped() -> bool:
            try:
                return await drop(client) == [[b"OK"]]
            except StoreUnavailable:
                return False

        assert await eventually(dropped, 5)
    finally:
        await client.aclose()


async def test_with_redis_away_every_call_fails_within_its_bound(proxy: Proxy, client: Redis):
    await drop(client)
    for hole in (proxy.black_hole, proxy.refuse):
        hole()
        started = asyncio.get_running_loop().time()
        with pytest.raises(StoreUnavailable):
            await drop(client)
        assert asyncio.get_running_loop().time() - started < 2
        proxy.pass_through()
    assert await eventually(lambda: again(client), 2)


async def again(client: Redis) -> bool:
    try:
        return await drop(client) == [[b"OK"]]
    except StoreUnavailable:
        return False


async def test_more_callers_than_connections_wait_for_one(client: Redis):
    replies = await asyncio.gather(*[call(client, "ECHO", str(n)) for n in range(60)])
    assert replies == [str(n).encode() for n in range(60)]


async def test_callers_beyond_the_connections_do_not_wait_for_ever(proxy: Proxy, client: Redis):
    await drop(client)
    proxy.black_hole()
    replies = await asyncio.wait_for(
        asyncio.gather(*[drop(client) for _ in range(8)], return_exceptions=True), 3
    )
    assert {type(reply) for reply in replies} == {StoreUnavailable}


async def test_a_script_that_breaks_is_no_outage(redis_server: RedisServer, client: Redis):
    with redis_server.client() as direct:
        direct.set(KEYS.meta, "junk", ex=60)
    with pytest.raises(StoreCorrupt):
        await Script("promote").run(client, KEYS.fixed, ["", "5"])


async def test_an_address_where_nobody_listens_is_an_outage():
    client = connect("unix:///nonexistent/redis.sock", timeout_s=0.2)
    try:
        with pytest.raises(StoreUnavailable):
            await drop(client)
    finally:
        await client.aclose()


async def test_a_busy_server_is_an_outage(redis_server: RedisServer):
    client = connect(redis_server.url, timeout_s=3)
    with redis_server.client(socket_timeout=0.05) as direct, redis_server.client() as killer:
        direct.config_set("lua-time-limit", "10")
        try:
            with pytest.raises(Exception, match=r"(?i)timeout"):
                direct.eval("while true do end", 0)
            with pytest.raises(StoreUnavailable):
                await drop(client)
        finally:
            killer.script_kill()
            await client.aclose()


async def test_an_answer_that_comes_as_its_time_ends_leaves_the_connection_to_nobody(client: Redis):
    pool: Any = client.connection_pool
    connection = await pool.get_connection()
    stream = connection._reader
    reading = asyncio.create_task(connection.read_in_time())
    await asyncio.sleep(0)
    stream.feed_data(b"+LAST\r\n")
    connection._fail_late(stream)
    assert await reading == b"LAST"
    assert not connection.is_connected
    await pool.release(connection)
    assert await call(client, "PING")
