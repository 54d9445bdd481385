"""Positions and balances as workers last read them."""

from decimal import Decimal

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.published import BALANCE_KEPT_MS, Published, PublishedBalance, PublishedPosition

DESK, FUND = AccountName("desk"), AccountName("fund")
BTC, ETH = Market("BTC/USDT:USDT"), Market("ETH")
EXACT = Decimal("-123456789012345678.123456789012345678")


@pytest.fixture
def store(client: Redis) -> Published:
    return Published(client, Keys())


def position(quantity: Decimal = EXACT, **more: Decimal) -> PublishedPosition:
    return PublishedPosition(quantity=quantity, at_ms=1_780_000_000_000, **more)


async def test_positions_are_read_as_they_were_published(store: Published):
    whole = position(last_price=EXACT, expected=EXACT)
    await store.publish_position(DESK, BTC, whole)
    await store.publish_position(DESK, ETH, position(Decimal(0)))
    await store.publish_position(FUND, ETH, position(Decimal(7)))
    assert await store.positions(DESK) == {BTC: whole, ETH: position(Decimal(0))}
    assert await store.positions(AccountName("nobody")) == {}
    assert await store.accounts() == [DESK, FUND]


async def test_the_last_reading_counts(store: Published):
    await store.publish_position(DESK, BTC, position(Decimal(1)))
    await store.publish_position(DESK, BTC, position(Decimal(2)))
    assert (await store.positions(DESK))[BTC].quantity == 2


@pytest.mark.parametrize(
    ("expected", "drift"),
    [
        (None, None),
        (EXACT, Decimal(0)),
        (Decimal(0), EXACT),
        (Decimal("-123456789012345678.123456789012345679"), Decimal("0.000000000000000001")),
    ],
)
def test_drift_is_exact(expected: Decimal | None, drift: Decimal | None):
    assert PublishedPosition(quantity=EXACT, at_ms=1, expected=expected).drift == drift


async def test_a_balance_is_read_as_it_was_published(store: Published, client: Redis):
    balance = PublishedBalance(equity=EXACT, at_ms=5, day_pnl=Decimal("-0.1"), currency="USDT")
    await store.publish_balance(DESK, balance)
    assert await store.balance(DESK) == balance
    assert await store.balance(FUND) is None
    assert BALANCE_KEPT_MS - 60_000 < await client.pttl(Keys().balance(DESK)) <= BALANCE_KEPT_MS


@pytest.mark.parametrize("body", ["", "[]", '{"at_ms": 1}', b"\xff"])
async def test_what_cannot_be_read_is_told(store: Published, client: Redis, body: str | bytes):
    await client.set(Keys().balance(DESK), body, px=60_000)
    await client.hset(Keys().positions(DESK), "BTC", body)
    with pytest.raises(StoreCorrupt):
        await store.balance(DESK)
    with pytest.raises(StoreCorrupt):
        await store.positions(DESK)


async def test_in_the_place_of_positions_there_is_something_else(store: Published, client: Redis):
    await client.set(Keys().positions(DESK), "junk", px=60_000)
    with pytest.raises(StoreCorrupt):
        await store.positions(DESK)
    with pytest.raises(StoreCorrupt):
        await store.publish_position(DESK, BTC, position())


async def test_without_redis_nothing_is_assumed():
    client = connect("redis://127.0.0.1:1", timeout_s=0.1)
    store = Published(client, Keys())
    for call in (
        store.publish_position(DESK, BTC, position()),
        store.publish_balance(DESK, PublishedBalance(equity=EXACT, at_ms=1)),
        store.positions(DESK),
        store.balance(DESK),
        store.accounts(),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await client.aclose()
