from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.common.domain.ids import LaneName
from libs.common.store import lane_heads
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer


@pytest_asyncio.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[FilledStore]:
    async with filled_store(redis_server.url) as store:
        yield store


async def test_each_lane_is_told_with_its_length_and_oldest_entry_however_many_round_trips_it_takes(
    store: FilledStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(lane_heads, "_CHUNK", 2)
    lanes = [LaneName(f"desk:{market}") for market in "ABCDE"]
    for lane, alerts in zip(lanes, (2, 1, 0, 3, 0), strict=True):
        for number in range(alerts):
            await store.client.xadd(store.keys.lane(lane), {"alert": f"{lane}-{number}"})
    found = [one async for one in lane_heads.lane_heads(store.client, store.keys, lanes)]
    told = [(lane, waiting, None if head is None else head.fields["alert"]) for lane, waiting, head in found]
    assert told == [
        ("desk:A", 2, "desk:A-0"),
        ("desk:B", 1, "desk:B-0"),
        ("desk:C", 0, None),
        ("desk:D", 3, "desk:D-0"),
        ("desk:E", 0, None),
    ]
    await store.client.delete(*[store.keys.lane(lane) for lane in lanes])
