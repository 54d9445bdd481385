"""What one shard needs of a worker, while its Redis is not there yet and then is."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from libs.common.domain.ids import Holder
from libs.common.runtime.settings import RedisSettings, Settings
from libs.common.store.shards import Shards
from libs.common.store.tables import TableStore
from libs.common.telemetry.spans import OFF
from libs.common.telemetry.worker_metrics import WorkerMetrics
from services.worker.mapping import MappingCheck
from services.worker.solo import Solo
from services.worker.unit import Unit
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.redis_server import Binary, RedisServer


@pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)
async def test_a_unit_whose_redis_is_away_at_the_start_does_not_count_as_stuck(
    redis_binary: Binary, clock: ManualClock
):
    server = RedisServer(redis_binary)
    settings = Settings(redis=RedisSettings(url=server.url))
    shards, reading = (Shards.open(server.url, 1, timeout_s=5) for _ in range(2))
    unit = Unit(
        shards.first,
        reading.first,
        settings=settings,
        brokers={},
        mapping=MappingCheck(TableStore(shards.first.client, shards.first.keys), ()),
        holder=Holder("a"),
        solo=Solo(),
        clock=clock,
        metrics=WorkerMetrics(CollectorRegistry()),
        tracer=OFF,
    )
    stopping = asyncio.Event()
    running = asyncio.create_task(unit.run(asyncio.Event(), stopping))
    await asyncio.sleep(0)
    clock.advance(3_600_000)
    assert unit.stands_ms() == {}
    with server:
        await eventually(lambda: unit.consumer.is_connected)
        assert unit.stands_ms() == {"consumer": 0, "heartbeat": 0, "follower": 0}
        stopping.set()
        await running
    await reading.aclose()
    await shards.aclose()
