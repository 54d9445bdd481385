from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.upkeep import Reclamation, Upkeep
from tests.support.redis_server import RedisServer

KEYS = Keys()
DAY_MS = 86_400_000


@pytest.fixture
def direct(redis_server: RedisServer) -> Iterator[Any]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
async def upkeep(redis_server: RedisServer) -> AsyncIterator[Upkeep]:
    client = connect(redis_server.url, timeout_s=5)
    yield Upkeep(client, KEYS)
    await client.aclose()


@pytest.mark.parametrize("key", [KEYS.journal, KEYS.dead])
async def test_entries_go_when_they_are_older_than_their_retention(direct, upkeep: Upkeep, key: str):
    # Whole nodes of a hundred entries leave the journal; dead letters go one by one.
    for n in range(1_000):
        direct.xadd(key, {"n": n}, id=f"{n * DAY_MS + 1}-0")
    trimmed = await upkeep.trim(journal_ms=7 * DAY_MS, dead_letters_ms=30 * DAY_MS, now_ms=1_000 * DAY_MS)
    kept_days = 7 if key == KEYS.journal else 30
    left = direct.xlen(key)
    assert trimmed == 1_000 - left
    oldest = int(direct.xrange(key, count=1)[0][0].split("-")[0])
    assert left >= kept_days
    if key == KEYS.dead:
        assert oldest >= (1_000 - kept_days) * DAY_MS
    else:
        assert left <= kept_days + 100


@pytest.mark.parametrize("key", [KEYS.journal, KEYS.dead])
async def test_younger_entries_stay_however_many_they_are(direct, upkeep: Upkeep, key: str):
    for n in range(500):
        direct.xadd(key, {"n": n}, id=f"{DAY_MS + n}-0")
    assert await upkeep.trim(journal_ms=DAY_MS, dead_letters_ms=DAY_MS, now_ms=DAY_MS + 500) == 0
    assert direct.xlen(key) == 500


async def test_time_is_redis_own(direct, upkeep: Upkeep):
    before = direct.time()
    now_ms = await upkeep.time_ms()
    after = direct.time()
    assert before[0] * 1_000 + before[1] // 1_000 <= now_ms <= after[0] * 1_000 + after[1] // 1_000


async def test_on_an_empty_server_every_pass_finds_nothing(upkeep: Upkeep):
    assert (await upkeep.promote()).lanes == 0
    reclaimed = await upkeep.reclaim(lease_ms=6_000)
    assert isinstance(reclaimed, Reclamation)
    assert reclaimed.lanes == 0
    assert (await upkeep.audit(keep_dead_ms=DAY_MS)).tokens == 0
    assert await upkeep.retire(idle_ms=60_000) == 0
    assert await upkeep.trim(journal_ms=1, dead_letters_ms=1, now_ms=DAY_MS) == 0


async def test_with_redis_away_every_pass_says_so():
    client = connect("unix:///nonexistent/redis.sock", timeout_s=0.2)
    upkeep = Upkeep(client, KEYS)
    try:
        for one in (
            upkeep.promote(),
            upkeep.reclaim(lease_ms=1),
            upkeep.audit(keep_dead_ms=1),
            upkeep.retire(idle_ms=1),
            upkeep.trim(journal_ms=1, dead_letters_ms=1, now_ms=DAY_MS),
            upkeep.time_ms(),
        ):
            with pytest.raises(StoreUnavailable):
                await one
    finally:
        await client.aclose()


async def test_a_journal_far_beyond_its_retention_is_trimmed_in_one_pass(
    redis_server: RedisServer, upkeep: Upkeep
) -> None:
    with redis_server.client() as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(25_000):
            pipeline.xadd(KEYS.journal, {"a": "b"}, id=f"{1 + number}-0")
        pipeline.execute()
        trimmed = await upkeep.trim(journal_ms=DAY_MS, dead_letters_ms=DAY_MS, now_ms=30 * DAY_MS)
        left = client.xlen(KEYS.journal)
        client.delete(KEYS.journal)
    assert trimmed == 25_000 - left
    assert left < 200
