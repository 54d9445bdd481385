"""Halts in Redis."""

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import EditConflict, StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, Market
from libs.common.policy.halts import EVERYTHING, Halt, HaltMode, Scope
from libs.common.store.client import connect
from libs.common.store.halts import Halts, HaltTable, Lifted, NotSet
from libs.common.store.keys import Keys

DESK = Scope(AccountName("desk"))
NARROW = Scope(AccountName("desk"), "Trend; length=20", Market("BTC/USDT:USDT"))
NOW_MS = 1_780_000_000_000


@pytest.fixture
def halts(client: Redis) -> Halts:
    return Halts(client, Keys(), now_ms=NOW_MS)


async def test_halts_are_read_as_they_were_set(halts: Halts):
    made = [
        await halts.set(EVERYTHING, HaltMode.PAUSE, by="me@host", reason="news"),
        await halts.set(NARROW, HaltMode.CLOSE_ONLY, by="a|b", reason="bad  fills |\n so"),
    ]
    assert made == [
        Halt(EVERYTHING, HaltMode.PAUSE, NOW_MS, "me@host", "news"),
        Halt(NARROW, HaltMode.CLOSE_ONLY, NOW_MS, "a/b", "bad fills | so"),
    ]
    assert await halts.read() == HaltTable(tuple(made))


async def test_lifting_takes_exactly_its_scope(halts: Halts):
    everything = await halts.set(EVERYTHING, HaltMode.PAUSE, by="me", reason="news")
    desk = await halts.set(DESK, HaltMode.REJECT, by="me", reason="news")
    assert await halts.lift(DESK, by="you", reason="over") == Lifted(desk)
    assert await halts.lift(DESK, by="you", reason="over") == NotSet()
    assert await halts.read() == HaltTable((everything,))


async def test_one_that_was_set_while_it_was_lifted_stays(
    halts: Halts, client: Redis, monkeypatch: pytest.MonkeyPatch
):
    await halts.set(DESK, HaltMode.PAUSE, by="me", reason="news")
    hget = client.hget

    async def slow(*args: str) -> object:
        found = await hget(*args)
        await halts.set(DESK, HaltMode.REJECT, by="you", reason="worse")
        return found

    monkeypatch.setattr(client, "hget", slow)
    with pytest.raises(EditConflict):
        await halts.lift(DESK, by="me", reason="over")
    assert [one.mode for one in (await halts.read()).halts] == [HaltMode.REJECT]


async def test_what_cannot_be_read_is_shown_and_can_be_lifted(halts: Halts, client: Redis):
    await client.hset(Keys().halts, DESK.encode(), "junk")
    await client.hset(Keys().halts, b"\xff", "pause|1|me|x")
    found = await halts.read()
    assert found.halts == ()
    assert found.unreadable == (f"{DESK.encode()}: junk", "\\xff: pause|1|me|x")
    assert await halts.lift(DESK, by="me", reason="over") == Lifted(None)
    assert len((await halts.read()).unreadable) == 1


async def test_in_the_place_of_halts_there_is_something_else(halts: Halts, client: Redis):
    await client.set(Keys().halts, "junk")
    for call in (
        halts.read(),
        halts.lift(DESK, by="me", reason="x"),
        halts.set(DESK, HaltMode.PAUSE, by="me", reason="x"),
    ):
        with pytest.raises(StoreCorrupt):
            await call


async def test_without_redis_nothing_is_assumed():
    client = connect("redis://127.0.0.1:1", timeout_s=0.1)
    halts = Halts(client, Keys())
    for call in (
        halts.read(),
        halts.lift(DESK, by="me", reason="x"),
        halts.set(DESK, HaltMode.PAUSE, by="me", reason="x"),
    ):
        with pytest.raises(StoreUnavailable):
            await call
    await client.aclose()
