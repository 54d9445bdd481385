"""What a bridge logs of one outage of Redis."""

from collections.abc import Callable

import pytest

from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.venue import Venue

DUTIES = ("promote", "reclaim", "audit", "census", "look")


def said(service: Service) -> list[str]:
    """Return what a service logged of Redis and of its loops; posts and orders have lines of their own."""
    lines = [line["event"] for line in service.log() if line["level"] != "info" or "redis" in line["event"]]
    return [event for event in lines if event not in {"alert_not_durable", "redis_incarnated"}]


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_each_process_says_once_that_redis_is_lost_and_once_that_it_is_back(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], fault: str
) -> None:
    bridge = bridge_factory(private_redis, venue=venue)
    reaper = bridge.reapers[0]
    assert (await bridge.post(bridge.alert())).status == 200
    await bridge.wait_ended(1)

    private_redis.kill() if fault == "killed" else private_redis.freeze()
    answer = await bridge.post(bridge.alert())
    assert answer.status == 503
    await eventually(lambda: all(said(service) for service in bridge.services))
    await eventually(
        lambda: all(reaper.metric("bascule_duty_failures_total", duty=duty) for duty in DUTIES), 20
    )
    private_redis.start() if fault == "killed" else private_redis.thaw()
    await eventually(lambda: all("redis_back" in said(service) for service in bridge.services), 20)

    assert [said(service) for service in bridge.services] == [["redis_lost", "redis_back"]] * 3
    back = [line for service in bridge.services for line in service.log() if line["event"] == "redis_back"]
    assert all(line["away_ms"] > 0 for line in back)
