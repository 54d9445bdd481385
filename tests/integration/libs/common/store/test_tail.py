"""The tail of the journal and of the posts that were not admitted."""

from collections.abc import AsyncIterator

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.store import tail
from libs.common.store.journal import JournalEntry, Outcome, Post
from libs.common.store.readings import Readings
from libs.common.store.shards import Shards
from libs.common.store.streams import PAGE
from libs.common.store.tail import Happened
from tests.support.eventually import eventually
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer
from tests.support.sharded_store import ACCOUNTS, SHARDS, ShardedStore, sharded_store

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as filled:
        yield filled


def words(found: list[Happened]) -> list[str]:
    """Return of each what happened: of a post its outcome, of a change its event."""
    return [one.event.outcome.value if isinstance(one.event, Post) else one.event.event for one in found]


async def read(readings: Readings, count: int) -> list[Happened]:
    """Read on until there are so many."""
    found: list[Happened] = []

    async def read_on() -> bool:
        found.extend(await readings.tail.following())
        return len(found) >= count

    await eventually(read_on)
    return found


async def test_what_happened_before_the_start_is_left_out(
    store: FilledStore, redis_server: RedisServer
) -> None:
    await store.admit("AAA")
    await store.refuse()
    async with Readings.at(redis_server.url) as readings:
        await readings.tail.start()
        alert = await store.admit("BBB")

        post, change = await read(readings, 2)

    assert isinstance(post.event, Post)
    assert isinstance(change.event, JournalEntry)
    assert (post.event.outcome, post.event.alert_id) == (Outcome.ADMITTED, alert)
    assert post.event.raw
    assert post.alert is not None
    assert post.alert.content.symbol == "BBB"


async def test_an_empty_store_is_followed_from_its_first_entry(
    store: FilledStore, redis_server: RedisServer
) -> None:
    async with Readings.at(redis_server.url) as readings:
        await readings.tail.start()
        assert await readings.tail.following() == []
        await store.refuse("too_many", 429)

        assert words(await read(readings, 1)) == ["refused"]


async def test_an_alert_of_several_accounts_is_one_post_and_a_change_each(
    store: FilledStore, redis_server: RedisServer
) -> None:
    async with Readings.at(redis_server.url) as readings:
        await readings.tail.start(0)
        first = await store.admit(accounts=("paper", "desk"), sender_id="same")
        await store.admit(accounts=("paper", "desk"), sender_id="same")
        await store.execute()

        found = await read(readings, 6)

    assert words(found) == ["admitted", "QUEUED", "QUEUED", "duplicate", "SENDING", "EXECUTED"]
    assert {one.event.alert_id for one in found} == {first}
    assert all(one.alert is not None for one in found)


async def test_a_long_past_is_told_in_the_order_of_time_whatever_stream_it_is_in(
    store: FilledStore, redis_server: RedisServer
) -> None:
    async with store.client.pipeline(transaction=False) as pipeline:
        for number in range(2 * PAGE + 10):
            pipeline.xadd(store.keys.journal, {"event": "BREAKER"}, id=f"{1_000 + number}-0")
        for number in range(0, 2 * PAGE, 50):
            pipeline.xadd(store.keys.refused, {"status": "422", "code": "x"}, id=f"{1_000 + number}-0")
        await pipeline.execute()
    async with Readings.at(redis_server.url) as readings:
        await readings.tail.start(0)

        found = await read(readings, 2 * PAGE + 10 + 2 * PAGE // 50)

    times = [one.event.at_ms for one in found]
    assert times == sorted(times)
    assert len(found) == 2 * PAGE + 10 + 2 * PAGE // 50


async def test_nothing_is_lost_or_told_twice_while_redis_is_away(
    store: FilledStore, redis_server: RedisServer
) -> None:
    async with Readings.at(redis_server.url) as readings:
        await readings.tail.start()
        await store.refuse("one")
        assert words(await read(readings, 1)) == ["refused"]
        await store.refuse("two")
        redis_server.kill()
        with pytest.raises(StoreUnavailable):
            await readings.tail.following()
        redis_server.start()
        async with filled_store(redis_server.url) as again:
            await again.refuse("three")

        found = await read(readings, 2)

    assert [one.event.code for one in found if isinstance(one.event, Post)] == ["two", "three"]


class Reach:
    """Readings of four shards of which some are cut off."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shards = Shards.open(url, SHARDS, timeout_s=5)
        self._nowhere = Shards.open("unix:///nowhere/redis.sock", SHARDS, timeout_s=1)
        self._there = list(self.shards)
        self.readings = Readings(self.shards)
        # It is asked again at once: no test waits for a pause.
        monkeypatch.setattr(tail, "AGAIN_AFTER_S", 0.0)

    def cut_off(self, *numbers: int) -> None:
        found = [(self._nowhere if one in numbers else self._there)[one] for one in range(SHARDS)]
        shards = Shards(found)
        self.readings.tail._shards = shards
        self.readings.parts = Readings(shards).parts

    async def aclose(self) -> None:
        await self.shards.aclose()
        await self._nowhere.aclose()


@pytest.fixture
async def reach(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reach]:
    found = Reach(redis_server.url, monkeypatch)
    yield found
    await found.aclose()


@pytest.fixture
async def sharded(redis_server: RedisServer) -> AsyncIterator[ShardedStore]:
    async with sharded_store(redis_server.url) as filled:
        yield filled


def accounts(found: list[Happened]) -> set[str]:
    return {one.event.account for one in found if isinstance(one.event, JournalEntry)}


@pytest.mark.parametrize("away", [0, 2])
async def test_while_a_shard_is_away_the_others_go_on_and_its_own_follows(
    sharded: ShardedStore, reach: Reach, away: int
) -> None:
    following = reach.readings.tail
    await following.start()
    reach.cut_off(away)
    await sharded.admit(accounts=(ACCOUNTS[away],))
    await sharded.next_moment()
    await sharded.admit(accounts=(ACCOUNTS[1],))

    assert accounts(await read(reach.readings, 2)) == {ACCOUNTS[1]}
    assert set(following.away) == {away}

    reach.cut_off()
    found = await read(reach.readings, 2)
    assert accounts(found) == {ACCOUNTS[away]}
    assert all(one.alert is not None for one in found)
    assert following.away == {}


async def test_a_shard_that_is_away_at_the_start_is_read_from_then_on(
    sharded: ShardedStore, reach: Reach
) -> None:
    await sharded.admit("OLD", accounts=(ACCOUNTS[2],))
    await sharded.next_moment()
    reach.cut_off(2)
    await reach.readings.tail.start()
    await sharded.next_moment()
    await sharded.admit("NEW", accounts=(ACCOUNTS[2],))
    reach.cut_off()

    found = await read(reach.readings, 2)

    assert {one.alert.content.symbol for one in found if one.alert is not None} == {"NEW"}


async def test_where_no_shard_answers_the_tail_says_so(sharded: ShardedStore, reach: Reach) -> None:
    await reach.readings.tail.start()
    reach.cut_off(*range(SHARDS))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await reach.readings.tail.following()

    reach.cut_off()
    await sharded.admit(accounts=(ACCOUNTS[3],))

    assert accounts(await read(reach.readings, 2)) == {ACCOUNTS[3]}
