"""The lists of venues' markets."""

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.markets import KEPT_MS, MarketStore, VenueMarkets

DESK, FUND = AccountName("desk"), AccountName("fund")
BTC, ETH = Market("BTC/USDT"), Market("ETH/USDT:USDT")


@pytest.fixture
def store(client: Redis) -> MarketStore:
    return MarketStore(client, Keys())


async def test_a_published_list_is_read_as_it_was(store: MarketStore):
    await store.publish(DESK, [BTC, ETH], 1_700_000_000_000)
    assert await store.read(DESK) == VenueMarkets(1_700_000_000_000, (BTC, ETH))


async def test_an_account_without_a_list_has_none(store: MarketStore):
    await store.publish(DESK, [BTC], 1)
    assert await store.read(FUND) is None


async def test_a_newer_list_takes_the_place_of_the_one_before(store: MarketStore):
    await store.publish(DESK, [BTC], 1)
    await store.publish(DESK, [], 2)
    assert await store.read(DESK) == VenueMarkets(2, ())


async def test_a_list_that_nobody_renews_is_forgotten_after_a_week(store: MarketStore, client: Redis):
    await store.publish(DESK, [BTC], 1)
    assert KEPT_MS - 60_000 < await client.pttl(Keys().markets(DESK)) <= KEPT_MS


@pytest.mark.parametrize("body", ["", "[]", '{"at_ms": 1}', b"\xff"])
async def test_what_cannot_be_read_is_told(store: MarketStore, client: Redis, body: str | bytes):
    await client.set(Keys().markets(DESK), body, px=60_000)
    with pytest.raises(StoreCorrupt):
        await store.read(DESK)


async def test_without_redis_nothing_is_assumed():
    client = connect("redis://127.0.0.1:1", timeout_s=0.1)
    with pytest.raises(StoreUnavailable):
        await MarketStore(client, Keys()).publish(DESK, [BTC], 1)
    with pytest.raises(StoreUnavailable):
        await MarketStore(client, Keys()).read(DESK)
    await client.aclose()
