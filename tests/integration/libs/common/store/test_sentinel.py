"""The primary is found by its Sentinels, and another once it has taken over."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.store.client import call, connect, translate
from libs.common.store.keys import Keys
from libs.common.store.pipe import Pipe
from libs.common.store.routing import Node
from libs.common.store.scripts import Script
from libs.common.store.sentinel import Sentinels
from libs.common.store.sentinel_asking import Word
from tests.support.eventually import eventually
from tests.support.redis_sentinel import SERVICE, RedisSentinels
from tests.support.redis_server import Binary, RedisServer

TIMEOUT_S = 1.5
PASSWORD = "watch"

pytestmark = pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)
"""A trio takes seconds to come up."""


@pytest.fixture
def servers(redis_binary: Binary) -> Iterator[RedisSentinels]:
    options = {"min-replicas-to-write": "0"}
    with RedisSentinels(redis_binary, replicas=1, options=options, password=PASSWORD) as servers:
        yield servers


@pytest.fixture
async def client(servers: RedisSentinels) -> AsyncIterator[Redis]:
    client = connect(servers.url, timeout_s=TIMEOUT_S, connections=2)
    yield client
    await client.aclose()


async def write(client: Redis | Pipe) -> bool:
    """Write with a script; False while the store is away."""
    keys = Keys()
    try:
        await Script("refuse").run(
            client,
            [*keys.fixed, keys.refused],
            ["", 10_000, "x", "hook", 400, "code", "", "detail", "raw"],
        )
    except StoreBarred:
        raise
    except StoreUnavailable:
        return False
    return True


def written(server: RedisServer) -> int:
    with server.client() as direct:
        found: int = direct.xlen(Keys().refused)
        return found


def role(server: RedisServer) -> str:
    with server.client() as direct:
        return str(direct.info("replication")["role"])


async def test_a_primary_that_was_replaced_and_runs_on_is_written_to_no_more(
    servers: RedisSentinels, client: Redis
):
    first, pipe = servers.primary, Pipe(client)
    assert await write(pipe)
    assert await write(client)
    servers.fail_over()

    async def has_moved() -> bool:
        await write(pipe)
        await write(client)
        return servers.primary is not first and written(servers.primary) > written(first)

    await eventually(has_moved, 20)
    seen = written(first)
    for _ in range(20):
        assert await write(pipe)
        assert await write(client)
    # Until a Sentinel makes it a replica it would have taken them.
    assert role(first) == "slave" or written(first) == seen


async def problem(url: str) -> Exception | None:
    client = connect(url, timeout_s=TIMEOUT_S)
    try:
        await call(client, "PING")
    except RedisError as error:
        return translate(error)
    finally:
        await client.aclose()
    return None


async def test_who_is_not_let_in_or_names_no_sentinels_is_told_so(servers: RedisSentinels):
    assert await problem(servers.url) is None
    for url, words in (
        (servers.url.partition("?")[0], "does not let us in"),
        (servers.url.replace(PASSWORD, "other"), "does not let us in"),
        (servers.url.replace(f"/{SERVICE}", "/other"), 'watches no service "other"'),
        (f"redis+sentinel://127.0.0.1:{servers.primary.port}/{SERVICE}", "is no Redis Sentinel"),
    ):
        error = await problem(url)
        assert isinstance(error, StoreBarred), (url, error)
        assert words in str(error)


async def test_a_replica_that_the_sentinels_still_take_for_the_primary_is_not_used(redis_binary: Binary):
    with RedisServer(redis_binary, tcp=True) as primary, RedisServer(redis_binary, tcp=True) as replica:
        with replica.client() as direct:
            direct.execute_command("REPLICAOF", "127.0.0.1", primary.port)

        async def ask(_: Node) -> Word:
            return Word(("127.0.0.1", replica.port or 0), 1)

        guide = Sentinels([("a", 1)], ask, timeout_s=TIMEOUT_S)
        client = connect(f"redis+sentinel://a/{SERVICE}", timeout_s=TIMEOUT_S, guide=guide)
        try:
            with pytest.raises(RedisError, match="is no primary"):
                await call(client, "PING")
        finally:
            await client.aclose()
