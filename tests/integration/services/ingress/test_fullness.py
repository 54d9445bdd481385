"""An ingress whose Redis, or a lane of it, is full; and one whose Redis breaks a promise later."""

from collections.abc import Callable

import pytest

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.fullness import fill, use_memory
from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]

AT_MOST = 3


def logged(bridge: Bridge, event: str) -> list[dict[str, object]]:
    return [line for line in bridge.ingresses[0].log() if line.get("event") == event]


async def test_a_full_lane_refuses_its_alerts_and_no_others(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    config = {"limits": {"backlog": AT_MOST}}
    bridge = bridge_factory(redis_server, workers=0, reapers=0, config=config)
    [ingress] = bridge.ingresses
    first = await bridge.post(bridge.alert(id="first"))
    for _ in range(AT_MOST - 1):
        assert (await bridge.post(bridge.alert())).status == 200

    answers = [await bridge.post(bridge.alert()) for _ in range(5)]

    for answer in answers:
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.body["error"] == {
            "code": "lane_full",
            "detail": "3 instructions wait in lane desk:BTCUSDT, and at most 3 may: send it again later",
            "field": None,
        }
        assert answer.body["event_id"]
    assert (await bridge.post(bridge.alert(id="first"))).body == {**first.body, "duplicate": True}
    assert (await bridge.post(bridge.alert("ETHUSDT"))).status == 200
    assert (await http_client.get(f"{ingress.url}/health")).status == 200
    assert ingress.metric("bascule_posts_total", status="503", reason="lane_full") == 5
    assert ingress.metric("bascule_door_open") == 1
    assert [line["count"] for line in logged(bridge, "lane_full")] == [1]
    assert not logged(bridge, "alert_not_durable")
    assert bridge.client.xlen("bascule:{s0}:lane:desk:BTCUSDT") == AT_MOST


async def test_a_full_redis_takes_no_alert_until_there_is_room_again(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(
        redis_server, ingresses=2, workers=0, reapers=0, config={"limits": {"memory": 0.7}}
    )
    first = await bridge.post(bridge.alert(id="first"))
    assert first.status == 200
    await fill(bridge, 0.75)

    answers = [await bridge.post(bridge.alert(), ingress=n % 2) for n in range(6)]

    for answer in answers:
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.body["error"]["code"] == "memory_full"
        assert "of its memory, and alerts are taken below 66.5% of it" in answer.body["error"]["detail"]
    again = await bridge.post(bridge.alert(id="first"))
    assert again.body == {**first.body, "duplicate": True}

    async def is_degraded() -> bool:
        health = await http_client.get(f"{bridge.ingresses[0].url}/health")
        return health.status == 503 and "of its memory" in health.body["reason"]

    await eventually(is_degraded, timeout_s=3)
    for ingress in bridge.ingresses:
        assert ingress.metric("bascule_door_open") == 0
        assert ingress.metric("bascule_redis_memory_share") == pytest.approx(0.75, abs=0.04)
        assert ingress.metric("bascule_posts_total", status="503", reason="memory_full") == 3
    assert len(logged(bridge, "memory_full")) == 1
    assert not logged(bridge, "alert_not_durable")

    use_memory(bridge.client, 0.5)
    assert (await bridge.post(bridge.alert())).status == 200
    await eventually(lambda: all(one.ops("/ready")[0] == 200 for one in bridge.ingresses), timeout_s=10)
    assert len(logged(bridge, "memory_free")) == 1


async def test_an_ingress_that_hears_nothing_notices_all_the_same(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(redis_server, workers=0, reapers=0)
    [ingress] = bridge.ingresses
    use_memory(bridge.client, 0.9)
    await eventually(lambda: ingress.metric("bascule_door_open") == 0, timeout_s=15)
    use_memory(bridge.client, 0.5)
    await eventually(lambda: ingress.metric("bascule_door_open") == 1, timeout_s=15)


@pytest.mark.parametrize(
    ("option", "wrong", "right"),
    [("maxmemory-policy", "allkeys-lru", "noeviction"), ("appendfsync", "everysec", "always")],
)
async def test_a_promise_that_redis_breaks_later_closes_the_door_until_it_is_kept_again(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge], option: str, wrong: str, right: str
) -> None:
    bridge = bridge_factory(redis_server, workers=0, reapers=0)
    [ingress] = bridge.ingresses
    bridge.client.config_set(option, wrong)

    async def is_refused() -> bool:
        return (await bridge.post(bridge.alert())).status == 503

    await eventually(is_refused, 15, 0.1)
    health = await http_client.get(f"{ingress.url}/health")
    assert health.status == 503
    assert wrong in health.body["reason"]
    assert "\n" not in health.body["reason"]
    assert len(logged(bridge, "door_closed")) == 1
    bridge.client.config_set(option, right)

    async def is_taken() -> bool:
        return (await bridge.post(bridge.alert())).status == 200

    await eventually(is_taken, 15, 0.1)
