"""What the probes of real processes say: a restart is asked for where it would help, and for nothing else."""

import socket
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.commands import run
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT, merge
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

SOON_OPEN = {"breaker": {"failures": 2, "reset": "60s"}}


@pytest.fixture
def mute_collector() -> Iterator[str]:
    """The address of a collector that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def probes(bridge: Bridge) -> dict[str, tuple[int, int]]:
    """Return the status of `/live` and `/ready` of each service."""
    return {one.label: (one.ops("/live")[0], one.ops("/ready")[0]) for one in bridge.services}


def well(bridge: Bridge) -> dict[str, tuple[int, int]]:
    return {one.label: (200, 200) for one in bridge.services}


async def test_no_probe_minds_a_breaker_a_halt_or_a_collector_that_does_not_answer(
    redis_server: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge], mute_collector: str
):
    bridge = bridge_factory(
        redis_server,
        venue=venue,
        config=merge(SOON_OPEN, {"accounts": {ACCOUNT: {"timeout": "300ms", "request_expiry": "400ms"}}}),
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": mute_collector, "OTEL_BSP_SCHEDULE_DELAY": "10"},
    )
    venue.control(drop_before=1)
    for symbol in ("A", "B", "C"):
        assert (await bridge.post(bridge.alert(symbol))).status == 200
    [reaper] = bridge.reapers
    await eventually(lambda: reaper.metric("bascule_breakers", state="open") >= 1, 30)
    await run(bridge, "halt", "--mode", "pause", "--reason", "a test")
    assert (await bridge.post(bridge.alert("ETHUSDT"))).status == 200
    await eventually(lambda: reaper.metric("bascule_halts", mode="pause") == 1, 30)
    assert probes(bridge) == well(bridge)


async def test_a_redis_that_stands_still_makes_services_unready_and_restarts_none(
    private_redis: RedisServer, bridge_factory: Callable[..., Bridge]
):
    bridge = bridge_factory(private_redis)
    private_redis.freeze()
    try:
        unready = {one.label: (200, 503) for one in bridge.services}
        await eventually(lambda: probes(bridge) == unready, 20)
        [reaper] = bridge.reapers
        await eventually(lambda: "bascule_redis_up 0.0" in reaper.ops("/metrics")[1], 20)
        assert "bascule_instructions_waiting " not in reaper.ops("/metrics")[1]
    finally:
        private_redis.thaw()
    await eventually(lambda: probes(bridge) == well(bridge), 30)
    await eventually(lambda: reaper.metric("bascule_redis_up") == 1, 20)


async def test_a_worker_whose_slots_are_all_in_use_notices_too_that_redis_is_away(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
):
    bridge = bridge_factory(
        private_redis,
        venue=venue,
        config={
            "worker": {"concurrency": 1},
            "accounts": {ACCOUNT: {"timeout": "4s", "request_expiry": "4s"}},
        },
    )
    venue.control(delay_ms=5_000)
    assert (await bridge.post(bridge.alert())).status == 200
    await eventually(lambda: venue.stats()["in_flight"], 10)
    [worker] = bridge.workers
    private_redis.freeze()
    try:
        await eventually(lambda: "no lease could be renewed" in worker.ops("/ready")[1], 20)
        assert worker.ops("/live")[0] == 200
    finally:
        private_redis.thaw()
    await eventually(lambda: worker.ops("/ready")[0] == 200, 20)
