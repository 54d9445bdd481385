"""The figures of a bridge whose state is known."""

from collections.abc import AsyncIterator

import pytest

from libs.common.store.figures import Figures
from tests.support.eventually import eventually
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as filled:
        yield filled


async def test_an_empty_store_has_figures_too(store: FilledStore) -> None:
    snapshot = await Figures(store.client, store.keys).read()

    assert (snapshot.lanes_ready, snapshot.lanes_held, snapshot.lanes_parked) == (0, 0, 0)
    assert (snapshot.waiting, snapshot.oldest_waiting_ms) == (0, None)
    assert snapshot.workers == ()
    assert snapshot.reaper_pass_ms is None
    assert snapshot.breakers == ()


async def test_lanes_are_ready_held_or_parked(store: FilledStore) -> None:
    await store.admit("PARKED")
    held, _ = await store.take()
    await store.park(held)
    await store.admit("HELD")
    await store.admit("HELD")
    await store.take()
    await store.admit("READY")

    snapshot = await Figures(store.client, store.keys).read()

    assert (snapshot.lanes_ready, snapshot.lanes_held, snapshot.lanes_parked) == (1, 1, 1)
    assert snapshot.waiting == 4
    assert snapshot.oldest_waiting_ms is not None


async def test_the_age_of_the_oldest_that_waits_grows(store: FilledStore) -> None:
    await store.admit("AAA")
    figures = Figures(store.client, store.keys)

    async def is_older() -> bool:
        return ((await figures.read()).oldest_waiting_ms or 0) >= 50

    assert await eventually(is_older)


async def test_workers_are_counted_and_the_reaper_is_none(store: FilledStore) -> None:
    await store.admit()
    await store.take()
    await store.upkeep.promote()
    await store.upkeep.reclaim(lease_ms=6_000)
    await store.upkeep.reclaim(lease_ms=6_000)

    snapshot = await Figures(store.client, store.keys).read()

    [worker] = snapshot.workers
    assert (worker.name, worker.pending, worker.is_live) == ("worker-a", 1, True)
    assert snapshot.reaper_pass_ms is not None
    assert snapshot.reaper_pass_ms < 5_000


async def test_dead_letters_and_open_breakers_are_shown(store: FilledStore) -> None:
    await store.admit("AAA")
    await store.reject()
    await store.open_breaker("paper:AAA")
    await store.open_breaker("paper:BBB", reset_ms=0)

    snapshot = await Figures(store.client, store.keys).read()

    assert snapshot.dead_letters == 1
    assert [(one.scope, one.state) for one in snapshot.breakers] == [
        ("paper:AAA", "open"),
        ("paper:BBB", "half_open"),
    ]


async def test_a_destroyed_group_means_no_workers(store: FilledStore) -> None:
    await store.admit()
    await store.lanes.create_group()
    await store.client.xgroup_destroy(store.keys.ready, "workers")

    assert (await Figures(store.client, store.keys).read()).workers == ()


async def test_parked_lanes_are_counted_by_what_they_wait_for(store: FilledStore) -> None:
    for symbol in ("AAA", "BBB"):
        await store.admit(symbol)
        held, _ = await store.take()
        await store.park(held)

    assert (await Figures(store.client, store.keys).read()).parked_for == {"rate_limit": 2}


async def test_a_suspicion_is_shown_for_as_long_as_a_forgotten_order_may_execute(store: FilledStore) -> None:
    figures = Figures(store.client, store.keys)
    now_ms = (await figures.read()).now_ms
    marks = {"suspect_until": now_ms + 60_000, "suspect_window": 100_000}
    await store.client.hset(store.keys.meta, mapping=marks)
    assert (await figures.read()).suspect_until_ms == now_ms + 60_000

    # The clock has stepped back since.
    await store.client.hset(store.keys.meta, mapping={"suspect_window": 6_000})
    found = await figures.read()
    assert found.suspect_until_ms == found.now_ms + 6_000

    await store.client.hset(store.keys.meta, "suspect_until", str(now_ms - 1))
    assert (await figures.read()).suspect_until_ms is None
