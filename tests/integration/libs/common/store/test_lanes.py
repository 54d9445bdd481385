import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import Holder, LaneName, Token
from libs.common.store.client import connect
from libs.common.store.head import Held
from libs.common.store.keys import GROUP, Keys
from libs.common.store.lanes import READ_AT_MOST, Delivered, Lanes, Reader
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

KEYS = Keys()


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[Any]:
    with redis_server.client() as client:
        client.xgroup_create(KEYS.ready, GROUP, "0", mkstream=True)
        yield client


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(redis_server.url, timeout_s=3, connections=1)
    yield client
    await client.aclose()


def reader(client: Redis, holder: str = "a") -> Reader:
    return Reader(client, KEYS, Holder(holder))


def add(direct, count: int) -> list[Delivered]:
    lanes = [LaneName(f"desk:{n}") for n in range(count)]
    return [Delivered(direct.xadd(KEYS.ready, {"lane": lane}), lane) for lane in lanes]


async def blocked(direct) -> None:
    """Wait until a read waits."""
    await eventually(lambda: direct.info("clients")["blocked_clients"] == 1, 2)


async def test_tokens_are_read_in_their_order_each_by_one(direct, client: Redis):
    added = add(direct, 5)
    assert await reader(client).read(3, 10) == added[:3]
    assert await reader(client, "b").read(9, 10) == added[3:]
    assert await reader(client).read(9, 10) == []


async def test_one_read_takes_no_more_than_its_share(direct, client: Redis):
    add(direct, 40)
    assert len(await reader(client).read(64, 10)) == READ_AT_MOST


async def test_a_read_returns_as_soon_as_there_is_a_token(direct, client: Redis):
    waiting = asyncio.create_task(reader(client).read(1, 2_000))
    await blocked(direct)
    [added] = add(direct, 1)
    assert await asyncio.wait_for(waiting, 1) == [added]


async def test_a_token_without_a_lane_says_so(direct, client: Redis):
    token = direct.xadd(KEYS.ready, {"foo": "bar"})
    assert await reader(client).read(1, 10) == [Delivered(token, None)]


async def test_own_tokens_are_all_read_again_and_nobody_elses(direct, client: Redis):
    added = add(direct, 250)
    direct.xreadgroup(GROUP, "a", {KEYS.ready: ">"}, count=230)
    await reader(client, "b").read(16, 10)
    assert await reader(client).read_own() == added[:230]
    assert await reader(client, "b").read_own() == added[230:246]
    assert await reader(client, "c").read_own() == []


async def test_an_own_token_whose_entry_is_gone_names_no_lane(direct, client: Redis):
    one, two = add(direct, 2)
    await reader(client).read(2, 10)
    direct.xdel(KEYS.ready, one.token)
    assert await reader(client).read_own() == [Delivered(one.token, None), two]
    await Lanes(client, KEYS, Holder("a")).drop([one.token])
    assert await reader(client).read_own() == [two]


async def test_reading_own_tokens_starts_their_leases_afresh(direct, client: Redis):
    [(token, *_)] = add(direct, 1)
    await reader(client).read(1, 10)
    direct.xclaim(KEYS.ready, GROUP, "a", 0, [token], idle=60_000, justid=True)
    await reader(client).read_own()
    [entry] = direct.xpending_range(KEYS.ready, GROUP, "-", "+", 1)
    assert entry["time_since_delivered"] < 30_000


async def test_a_read_whose_reply_was_lost_is_found_among_the_own(direct, redis_server: RedisServer):
    added = add(direct, 3)
    with Proxy(redis_server.url) as proxy:
        client = connect(proxy.url, timeout_s=1, connections=1)
        try:
            proxy.lose_next_reply(b"XREADGROUP")
            with pytest.raises(StoreUnavailable):
                await reader(client).read(3, 10)
            assert await reader(client).read_own() == added
        finally:
            await client.aclose()


@pytest.mark.parametrize("what", ["group", "stream"])
async def test_without_group_or_stream_it_is_no_outage_and_the_group_is_made_again(
    direct, client: Redis, what: str
):
    [added] = add(direct, 1)
    if what == "group":
        direct.xgroup_destroy(KEYS.ready, GROUP)
    else:
        direct.delete(KEYS.ready)
    with pytest.raises(StoreCorrupt):
        await reader(client).read(1, 10)
    await Lanes(client, KEYS, Holder("a")).create_group()
    assert await reader(client).read(1, 10) == ([added] if what == "group" else [])


@pytest.mark.parametrize("what", ["group", "stream"])
async def test_a_group_that_goes_while_a_read_waits_ends_the_read_with_an_error(
    direct, client: Redis, what: str
):
    waiting = asyncio.create_task(reader(client).read(1, 500))
    await blocked(direct)
    if what == "group":
        direct.xgroup_destroy(KEYS.ready, GROUP)
    else:
        direct.delete(KEYS.ready)

    async def read() -> None:
        # Redis 6.2 lets a read whose stream was deleted wait to its end; the next one fails.
        await asyncio.wait_for(waiting, 3)
        await reader(client).read(1, 10)

    with pytest.raises((StoreUnavailable, StoreCorrupt)):
        await read()


async def test_the_group_is_created_once_and_at_the_beginning(redis_server: RedisServer, client: Redis):
    with redis_server.client() as direct:
        [added] = add(direct, 1)
        lanes = Lanes(client, KEYS, Holder("a"))
        await asyncio.gather(*[lanes.create_group() for _ in range(3)])
        assert await reader(client).read(1, 10) == [added]
        await lanes.create_group()
        assert await reader(client).read(1, 10) == []


async def test_a_group_on_a_key_of_a_wrong_type_is_corrupt(redis_server: RedisServer, client: Redis):
    with redis_server.client() as direct:
        direct.set(KEYS.ready, "junk")
        with pytest.raises(StoreCorrupt):
            await Lanes(client, KEYS, Holder("a")).create_group()


async def test_renewing_nothing_asks_nothing_of_redis(client: Redis):
    assert await Lanes(client, KEYS, Holder("a")).renew([]) == []


async def test_with_redis_away_renewing_says_so():
    client = connect("unix:///nonexistent/redis.sock", timeout_s=0.2)
    try:
        with pytest.raises(StoreUnavailable):
            await Lanes(client, KEYS, Holder("a")).renew([Held(LaneName("desk:BTC"), Token("1-1"))])
    finally:
        await client.aclose()
