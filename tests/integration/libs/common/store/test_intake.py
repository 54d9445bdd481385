"""How admissions travel: two flights, one connection, one order."""

from collections.abc import Iterator
from typing import Any

import pytest
from redis.asyncio.connection import AbstractConnection

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import EventId, WebhookName
from libs.common.store.batch import WORTH_A_FLIGHT
from libs.common.store.client import connect
from libs.common.store.intake import Admitted, Intake, Refusal
from libs.common.store.keys import Keys
from tests.integration.libs.common.store.lua.rig import Rig
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.url) as one:
        yield one


@pytest.mark.leaves_keys("what was admitted is executed by nobody here")
async def test_a_connection_to_what_became_a_replica_is_used_no_more(
    private_redis: RedisServer,
) -> None:
    """Its address may have moved: the next connection leads to the new primary."""
    rig, greeted = Rig(private_redis), 0

    async def greet(_: AbstractConnection) -> None:
        nonlocal greeted
        greeted += 1

    client = connect(private_redis.url, timeout_s=5, connections=1, greet=greet)
    intake = Intake(client, Keys())
    await intake.admissions.submit(rig.admission())
    with private_redis.client() as direct:
        direct.replicaof("127.0.0.1", "1")
    refusal = Refusal(EventId("e"), WebhookName("default"), 422, "code", "field", "detail", "raw")
    for number in range(2, 4):
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await intake.admissions.submit(rig.admission())
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await intake.refusals.submit(refusal)
        assert greeted == 2 * number - 2
    await client.aclose()


@pytest.mark.leaves_keys("what was admitted is executed by nobody here")
async def test_two_flights_go_down_one_connection_in_order(redis_server: RedisServer, proxy: Proxy) -> None:
    rig = Rig(redis_server)
    client = connect(proxy.url, timeout_s=5)
    intake = Intake(client, Keys())
    await intake.learn_clock()
    proxy.black_hole()
    alerts = [rig.admission() for _ in range(1 + 2 * WORTH_A_FLIGHT)]
    flights = [intake.admissions.submit(alerts[0])]
    await eventually(lambda: intake.admissions._aloft == 1 and not intake.admissions._is_boarding)
    flights += [intake.admissions.submit(one) for one in alerts[1:]]
    await eventually(lambda: intake._pipe._line is not None and len(intake._pipe._line.waiting) == 2)
    pool: Any = client.connection_pool
    assert len(pool._in_use_connections) == 1
    proxy.pass_through()
    assert [await flight for flight in flights] == [Admitted(one.alert_id) for one in alerts]
    with redis_server.client() as direct:
        queued = [fields["alert"] for _, fields in direct.xrange(Keys().lane(alerts[0].routed[0].lane))]
    assert queued == [one.alert_id for one in alerts]
    await client.aclose()
