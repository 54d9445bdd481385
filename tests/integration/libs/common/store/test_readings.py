"""What several shards hold, read as of one."""

from collections.abc import AsyncIterator

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import AccountName, ClientOrderId
from libs.common.domain.lifecycle import InstructionState
from libs.common.policy.halts import EVERYTHING, HaltMode
from libs.common.store.halts import Halts, Lifted, NotSet
from libs.common.store.journal import Outcome, Post
from libs.common.store.readings import Readings
from libs.common.store.shards import Shards
from libs.common.store.streams import PAGE
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.sharded_store import ACCOUNTS, SHARDS, ShardedStore, sharded_store

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[ShardedStore]:
    async with sharded_store(redis_server.url) as filled:
        yield filled


@pytest.fixture
async def readings(store: ShardedStore, redis_server: RedisServer) -> AsyncIterator[Readings]:
    async with Readings.at(redis_server.url) as connected:
        yield connected


async def without(redis_server: RedisServer, number: int) -> Readings:
    """Return readings of which one shard lies where nobody answers."""
    here = Shards.open(redis_server.url, SHARDS, timeout_s=5)
    nowhere = Shards.open("unix:///nowhere/redis.sock", SHARDS, timeout_s=1)
    return Readings(Shards([nowhere[one.number] if one.number == number else one for one in here]))


def test_the_accounts_of_these_tests_lie_on_a_shard_each() -> None:
    shards = Shards.open("redis://127.0.0.1:1/0", SHARDS, timeout_s=1)
    assert [shards.of(AccountName(name)).number for name in ACCOUNTS] == list(range(SHARDS))


async def test_redis_says_how_many_shards_there_are(readings: Readings) -> None:
    assert len(readings.parts) == SHARDS
    assert await readings.noted_shards() == SHARDS


async def test_a_redis_that_says_nothing_has_one_shard(redis_server: RedisServer) -> None:
    async with Readings.at(redis_server.url) as readings:
        assert (len(readings.parts), await readings.noted_shards()) == (1, None)


async def test_a_redis_that_was_used_before_shards_were_noted_has_one(
    store: ShardedStore, redis_server: RedisServer
) -> None:
    first = store.stores[0]
    await first.client.delete(first.keys.meta)
    await first.client.hset(first.keys.meta, "run_id", "some")
    async with Readings.at(redis_server.url) as readings:
        assert (len(readings.parts), await readings.noted_shards()) == (1, 1)


async def test_an_alert_has_the_instructions_of_all_shards_and_its_history_in_order_of_time(
    store: ShardedStore, readings: Readings
) -> None:
    alert_id = await store.admit(accounts=tuple(reversed(ACCOUNTS)))
    await store.of("paper").execute()
    await store.of("gamma").reject()

    record = await readings.alert(alert_id)

    assert record is not None
    assert [one.account for one in record.instructions] == list(reversed(ACCOUNTS))
    assert record.decisive is not None
    assert (record.decisive.account, record.decisive.state) == ("gamma", InstructionState.REJECTED)
    assert await readings.alerts([alert_id]) == [record]
    history = await readings.history(record)
    assert len(history) == len(ACCOUNTS) + 4
    assert [entry.at_ms for entry in history] == sorted(entry.at_ms for entry in history)
    assert [entry.event for entry in history if entry.account == "gamma"] == ["QUEUED", "SENDING", "REJECTED"]


async def test_an_alert_whose_worst_end_is_on_another_shard_has_that(
    store: ShardedStore, readings: Readings
) -> None:
    alert_id = await store.admit(accounts=("main", "scalp"))
    await store.of("main").execute()
    await store.of("scalp").reject()

    found = await readings.newest_alerts(
        limit=5, matches=lambda one: one.decisive is not None and one.decisive.state == "REJECTED"
    )

    assert [one.alert.alert_id for one in found.items] == [alert_id]


async def test_lists_are_merged_by_time_within_their_limit(store: ShardedStore, readings: Readings) -> None:
    ids = []
    for number in range(8):
        account = ACCOUNTS[number % SHARDS]
        ids.append(await store.admit(f"S{number}", accounts=(account,)))
        await store.of(account).execute()
        await store.next_moment()

    alerts = await readings.newest_alerts(limit=6)
    orders = await readings.newest_orders(limit=6)

    assert [one.alert.alert_id for one in alerts.items] == ids[:1:-1]
    assert [one.alert_id for one in orders.items] == ids[:1:-1]
    assert await readings.alerts_beginning(ids[3]) == [ids[3]]


async def test_a_search_goes_on_page_after_page_on_every_shard(
    store: ShardedStore, readings: Readings
) -> None:
    first = await store.admit(accounts=("main",))
    await store.next_moment()
    second = await store.admit(accounts=("paper",))
    for part in store.stores:
        async with part.client.pipeline(transaction=False) as pipeline:
            for number in range(PAGE + 20):
                pipeline.xadd(part.keys.journal, {"event": "BREAKER", "reason": str(number)})
            await pipeline.execute()

    found = await readings.newest_alerts(limit=5)

    assert [one.alert.alert_id for one in found.items] == [second, first]


async def test_a_post_for_accounts_of_several_shards_is_one_event(
    store: ShardedStore, readings: Readings
) -> None:
    alert_id = await store.admit(accounts=ACCOUNTS)
    await store.next_moment()
    refused = await store.stores[0].refuse()

    found = await readings.newest_posts(limit=10)

    assert [post.event_id for post in found.items] == [refused, alert_id]
    assert found.items[1].raw


async def test_dead_letters_of_all_shards_are_found_and_replayed_where_they_lie(
    store: ShardedStore, readings: Readings
) -> None:
    for account in ("gamma", "scalp"):
        await store.admit(accounts=(account,))
        await store.of(account).reject(with_order=False)
        await store.next_moment()

    found = (await readings.newest_letters(limit=5)).items
    assert [(one.account, one.shard) for one in found] == [("scalp", 3), ("gamma", 1)]

    assert await readings.letters(found[0].letter_id) == [found[0]]
    await readings.replay(found[0], max_age_ms=60_000)
    await readings.discard(found[1])
    assert (await readings.newest_letters(limit=5)).items == []
    assert (await store.of("scalp").take())[1].account == "scalp"


async def test_letters_of_two_shards_may_have_one_id(store: ShardedStore, readings: Readings) -> None:
    for account in ("gamma", "scalp"):
        keys = store.of(account).keys
        await store.of(account).client.xadd(keys.dead, {"account": account, "state": "DEAD"}, id="5-0")

    found = await readings.letters((await readings.newest_letters(limit=1)).items[0].letter_id)

    assert sorted((one.account, one.shard) for one in found) == [("gamma", 1), ("scalp", 3)]


async def test_the_figures_of_all_shards_add_up_on_one_server(
    store: ShardedStore, readings: Readings
) -> None:
    for account in ("main", "scalp"):
        await store.admit(accounts=(account,))
        await store.of(account).take()
    await store.admit(accounts=("gamma",))

    health = await readings.health("always")

    assert (health.snapshot.lanes_held, health.snapshot.lanes_ready, health.snapshot.waiting) == (2, 1, 3)
    assert [(one.name, one.pending) for one in health.snapshot.workers] == [("worker-a", 2)]
    assert health.snapshot.unserved == (1, 2)
    assert [one.shards for one in health.servers] == [(0, 1, 2, 3)]
    assert health.away == {}


async def test_a_shard_that_is_away_is_named_and_the_others_have_figures(
    store: ShardedStore, redis_server: RedisServer
) -> None:
    await store.admit(accounts=("main",))
    readings = await without(redis_server, 2)

    health = await readings.health("always")

    assert list(health.away) == [2]
    assert health.snapshot.waiting == 1
    with pytest.raises(StoreUnavailable, match=r"^shard 2: "):
        await readings.newest_alerts(limit=1)


async def test_an_order_is_found_although_another_shard_is_away(
    store: ShardedStore, redis_server: RedisServer
) -> None:
    await store.admit(accounts=("main",))
    intent = await store.of("main").begin(*await store.of("main").take())
    readings = await without(redis_server, 2)

    [order] = await readings.orders([intent.client_order_id])
    assert order.account == "main"
    with pytest.raises(StoreUnavailable, match=r"^shard 2: "):
        await readings.orders([intent.client_order_id, ClientOrderId("another")])


async def test_a_halt_is_set_everywhere_and_lifted_everywhere(
    store: ShardedStore, readings: Readings
) -> None:
    await readings.halts.set(EVERYTHING, HaltMode.PAUSE, by="me", reason="news")

    for part in store.stores:
        assert (await Halts(part.client, part.keys).read()).halts
    table = await readings.halts.read()
    assert (len(table.halts), table.partial) == (1, ())

    lifted = await readings.halts.lift(EVERYTHING, by="me", reason="over")
    assert all(isinstance(one, Lifted) for one in lifted.answers.values())
    again = await readings.halts.lift(EVERYTHING, by="me", reason="over")
    assert list(again.answers.values()) == [NotSet()] * SHARDS


async def test_a_halt_that_one_shard_did_not_take_is_told_and_set_by_asking_again(
    store: ShardedStore, readings: Readings, redis_server: RedisServer
) -> None:
    cut_off = await without(redis_server, 1)

    spread = await cut_off.halts.set(EVERYTHING, HaltMode.PAUSE, by="me", reason="news")

    assert (sorted(spread.answers), list(spread.failed)) == ([0, 2, 3], [1])
    [partial] = (await readings.halts.read()).partial
    assert partial.missing == (1,)
    first = (await readings.halts.read()).halts[0].at_ms

    await readings.halts.set(EVERYTHING, HaltMode.PAUSE, by="me", reason="news")

    table = await readings.halts.read()
    assert table.partial == ()
    assert table.halts[0].at_ms == first


async def test_a_tail_follows_every_shard_in_order_of_time(store: ShardedStore, readings: Readings) -> None:
    await store.admit("OLD", accounts=("main",))
    await readings.tail.start()
    ids = [await store.admit(f"S{n}", accounts=(ACCOUNTS[n % SHARDS],)) for n in range(12)]
    both = await store.admit("LAST", accounts=ACCOUNTS)

    found = []

    async def all_came() -> bool:
        found.extend(await readings.tail.following())
        return len(found) >= 2 * len(ids) + 1 + len(ACCOUNTS)

    assert await eventually(all_came)
    times = [one.event.at_ms for one in found]
    assert times == sorted(times)
    posts = [one.event for one in found if isinstance(one.event, Post)]
    assert sorted(post.alert_id or "" for post in posts) == sorted([*ids, both])
    assert all(one.alert is not None for one in found)


async def test_a_tail_of_the_past_merges_long_journals(store: ShardedStore, readings: Readings) -> None:
    for shard, part in enumerate(store.stores):
        async with part.client.pipeline(transaction=False) as pipeline:
            for number in range(PAGE * shard // 2 + 3):
                pipeline.xadd(part.keys.journal, {"event": "BREAKER"}, id=f"{1_000 + number * (shard + 1)}-0")
            pipeline.xadd(part.keys.refused, {"status": "422", "code": "x"}, id=f"{1_500 + shard}-0")
            await pipeline.execute()
    await readings.tail.start(0)
    count = sum(PAGE * shard // 2 + 4 for shard in range(SHARDS))

    found = []

    async def all_came() -> bool:
        found.extend(await readings.tail.following())
        return len(found) >= count

    assert await eventually(all_came)
    assert len(found) == count
    times = [one.event.at_ms for one in found]
    assert times == sorted(times)


async def test_a_quiet_tail_of_several_shards_says_nothing(
    store: ShardedStore, readings: Readings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libs.common.store.tail.WAIT_MS", 50)
    await readings.tail.start()
    assert await readings.tail.following() == []


async def test_a_repeated_post_is_told_once(store: ShardedStore, readings: Readings) -> None:
    await readings.tail.start()
    for account in ("main", "paper"):
        part = store.of(account)
        await part.client.xadd(
            part.keys.refused, {"event": "e1", "status": "200", "code": "duplicate", "alert": "a1"}
        )

    found = await readings.tail.following()

    assert [one.event.outcome for one in found if isinstance(one.event, Post)] == [Outcome.DUPLICATE]
    assert [post.event_id for post in (await readings.newest_posts(limit=5)).items] == ["e1"]
