import asyncio
import time
from collections.abc import Callable

import pytest

from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]

DEADLINE_S = 2.0


async def test_with_redis_frozen_every_post_is_answered_503_within_the_deadline(
    ingress_to_break: Bridge, private_redis: RedisServer
) -> None:
    bridge = ingress_to_break
    assert (await bridge.post(bridge.alert())).status == 200
    private_redis.freeze()
    try:
        alerts = [bridge.alert() for _ in range(60)]
        answers = await bridge.send_many(alerts, 60, rate_per_s=30, in_order=False)
    finally:
        private_redis.thaw()
    assert {answer.status for answer in answers} == {503}
    assert {answer.body["error"]["code"] for answer in answers} == {"not_durable"}
    assert {answer.headers["retry-after"] for answer in answers} == {"1"}
    assert max(answer.elapsed_s for answer in answers) < DEADLINE_S + 0.4

    async def is_back() -> bool:
        return (await bridge.post(bridge.alert())).status == 200

    await eventually(is_back, timeout_s=2)


@pytest.mark.alone
async def test_with_redis_killed_posts_are_503_at_once_and_200_within_two_seconds_of_its_return(
    ingress_to_break: Bridge, private_redis: RedisServer
) -> None:
    bridge = ingress_to_break
    before = await bridge.post(bridge.alert(id="before"))
    private_redis.kill()
    for _ in range(3):
        answer = await bridge.post(bridge.alert())
        assert answer.status == 503
        assert answer.elapsed_s < 1
    private_redis.start()
    back_s = time.monotonic()

    async def is_back() -> bool:
        return (await bridge.post(bridge.alert())).status == 200

    await eventually(is_back, timeout_s=2)
    assert time.monotonic() - back_s < 2
    again = await bridge.post(bridge.alert(id="before"))
    assert again.body == {**before.body, "duplicate": True}


async def test_a_503_may_be_sent_again_and_becomes_one_alert(
    ingress_to_break: Bridge, private_redis: RedisServer
) -> None:
    """The call may have been executed although its answer came too late: the resend must not double it."""
    bridge = ingress_to_break
    assert (await bridge.post(bridge.alert("ETHUSDT"))).status == 200
    alert = bridge.alert("BTCUSDT", id="resent")
    private_redis.freeze()
    assert (await bridge.post(alert)).status == 503
    private_redis.thaw()

    async def is_taken() -> bool:
        return (await bridge.post(alert)).status == 200

    await eventually(is_taken, timeout_s=5)
    assert bridge.client.xlen("bascule:{s0}:lane:desk:BTCUSDT") == 1


async def test_health_tells_the_truth_within_a_second(
    ingress_to_break: Bridge, private_redis: RedisServer
) -> None:
    bridge = ingress_to_break
    service = bridge.ingresses[0]
    answer = await http_client.get(f"{service.url}/health")
    assert (answer.status, answer.body) == (200, {"status": "ok", "service": "ingress"})
    private_redis.freeze()

    async def is_degraded() -> bool:
        answer = await http_client.get(f"{service.url}/health")
        assert answer.elapsed_s < 1.5
        return answer.status == 503 and answer.body["status"] == "degraded" and bool(answer.body["reason"])

    await eventually(is_degraded, timeout_s=3)
    assert service.ops("/live")[0] == 200
    assert service.ops("/ready")[0] == 503
    assert service.ops("/started")[0] == 200
    private_redis.thaw()

    async def is_healthy() -> bool:
        return (await http_client.get(f"{service.url}/health")).status == 200

    await eventually(is_healthy, timeout_s=3)


async def test_a_broken_record_of_one_alert_does_not_touch_its_neighbours(ingress: Bridge) -> None:
    ingress.client.rpush("bascule:{s0}:seen:default:id:broken", "not a string")
    ingress.client.expire("bascule:{s0}:seen:default:id:broken", 600)
    alerts = [ingress.alert(id="broken" if number == 5 else None) for number in range(10)]
    answers = await asyncio.gather(*(ingress.post(alert) for alert in alerts))
    assert [answer.status for answer in answers] == [503 if number == 5 else 200 for number in range(10)]


async def test_started_without_redis_it_answers_503_and_opens_when_redis_comes(
    private_redis: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    private_redis.stop()
    bridge = bridge_factory(private_redis, workers=0, reapers=0, is_started=False)
    service = bridge.ingresses[0].start()

    async def status() -> int:
        return (await bridge.post(bridge.alert())).status

    async def is_up() -> bool:
        return await status() == 503

    await eventually(is_up, timeout_s=10)
    assert (service.ops("/live")[0], service.ops("/started")[0]) == (200, 503)
    assert service.metric("bascule_door_open") == 0
    assert (await bridge.post({**bridge.alert(), "secret": "wrong"})).status == 401
    private_redis.start()

    async def is_open() -> bool:
        return await status() == 200

    await eventually(is_open, timeout_s=2)
    await eventually(lambda: service.ops("/started")[0] == 200)


async def test_a_redis_that_keeps_no_promise_ends_the_process_when_it_comes(
    private_redis: RedisServer, bridge_factory: Callable[..., Bridge]
) -> None:
    private_redis.stop()
    bridge = bridge_factory(private_redis, workers=0, reapers=0, is_started=False)
    service = bridge.ingresses[0].start()
    await eventually(lambda: "redis_away" in str(service.log()), timeout_s=10)
    private_redis.options["appendonly"] = "no"
    private_redis.start()
    await eventually(lambda: service.exit_code == 1, timeout_s=10)
    assert service.errors().startswith("ingress: ")
