"""Redis that comes back without its newest writes, over a venue that never deduplicates: no order is sent twice."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.faults import wait_orders
from tests.e2e.ledger import all_accepted, assert_never_twice, journal
from tests.e2e.sender import Sent, send_until_taken
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.stored import ENDED
from tests.support.venue import Venue

META: Final = "bascule:{s0}:meta"
SYMBOLS: Final = 24
BACKLOG: Final = 240
ALERTS: Final = 320

CONFIG: Final = {
    "redis": {"durability": "everysec"},
    "worker": {"lease": "2s"},
    "accounts": {ACCOUNT: {"request_expiry": "900ms"}},
    "webhooks": {"default": {"max_age": "600s"}},
}


def log_files(server: RedisServer) -> Path:
    """Return what holds the append-only file: a directory from Redis 7 on."""
    directory = server.directory / "appendonlydir"
    return directory if directory.exists() else server.directory / "appendonly.aof"


def end_of_log(server: RedisServer) -> Callable[[], None]:
    """Remember how long the append-only file is now; returns what cuts it back to that."""
    found = log_files(server)
    path = next(found.glob("*.incr.aof")) if found.is_dir() else found
    size = path.stat().st_size

    def cut() -> None:
        with path.open("r+b") as file:
            file.truncate(size)

    return cut


def snapshot(server: RedisServer) -> Callable[[], None]:
    """Write a snapshot; returns what puts it in its place again."""
    with server.client() as client:
        client.save()
    path, kept = server.directory / "dump.rdb", server.directory / "kept.rdb"
    shutil.copy(path, kept)

    def put_back() -> None:
        shutil.copy(kept, path)

    return put_back


async def settled(bridge: Bridge) -> None:
    """Wait until nothing that is on record is still to end."""

    def have_ended() -> bool:
        states = bridge.state_counts()
        assert states, "nothing is on record"
        assert set(states) <= ENDED, dict(states)
        return True

    await eventually(have_ended, 60, 0.2, "everything on record ends")


async def run_with_lost_tail(
    server: RedisServer, venue: Venue, bridge: Bridge, keep: Callable[[RedisServer], Callable[[], None]]
) -> list[Sent]:
    """Kill Redis under load, and start it as it was some 50 orders earlier; twice."""
    # A backlog, so that what executes in the lost tail was admitted before it.
    venue.control(delay_ms=150)
    alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(ALERTS)]
    all_accepted(await bridge.send_many(alerts[:BACKLOG], SYMBOLS))
    sent: list[Sent] = []
    rest = alerts[BACKLOG:]
    sending = asyncio.create_task(send_until_taken(bridge, rest, SYMBOLS, rate_per_s=20, sent=sent))
    for orders in (60, 150):
        await wait_orders(venue, orders)
        fall_back = keep(server)
        await wait_orders(venue, orders + 50)
        server.kill()
        fall_back()
        server.start()
    await sending
    await settled(bridge)
    return sent


@pytest.mark.parametrize("kind", ["log cut back", "old snapshot"])
async def test_no_order_is_sent_twice_by_a_redis_that_lost_its_newest_writes(
    redis_binary, venue, bridge_factory, kind
):
    is_log = kind == "log cut back"
    options = {"appendfsync": "everysec"} if is_log else {"appendonly": "no"}
    config = {**CONFIG, "redis": {"durability": "everysec" if is_log else "none"}}
    with RedisServer(redis_binary, options=options) as server:
        bridge = bridge_factory(server, venue=venue, workers=2, config=config)
        sent = await run_with_lost_tail(server, venue, bridge, end_of_log if is_log else snapshot)

        ledger = venue.ledger()
        assert_never_twice(ledger)
        suspected = [event for event in journal(bridge) if event.event == "SUSPECTED"]
        assert suspected, "nothing was in doubt"
        # What is on record says what the venue did; what was acknowledged and lost is said by nobody.
        traded = {entry["alert_id"] for entry in ledger}
        states = {name.partition(":")[0]: state for name, state in bridge.instruction_states().items()}
        assert {alert for alert, state in states.items() if state == "EXECUTED"} <= traded
        assert {alert for alert in states if alert in traded and states[alert] != "EXECUTED"} == set()
        starts = [event.reason for event in journal(bridge) if event.event == "INCARNATED"]
        assert starts == ["kept", "suspect", "suspect"]
        assert len(sent) == ALERTS - BACKLOG


async def test_the_reaper_sees_that_a_running_redis_no_longer_fsyncs_each_write(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, config={**CONFIG, "redis": {"durability": "always"}})
    assert bridge.client.hget(META, "keeps_all") == "1"
    bridge.client.config_set("appendfsync", "everysec")
    await eventually(lambda: bridge.client.hget(META, "keeps_all") == "0", 20, 0.1, "it is noted")


async def test_a_killed_redis_that_fsyncs_each_write_makes_nobody_look_anything_up(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, config={**CONFIG, "redis": {"durability": "always"}})
    # Nothing is on its way as Redis is killed: whatever is looked up then is looked up for the restart alone.
    for worker in bridge.workers:
        worker.terminate()
    alerts = [bridge.alert(symbol=f"S{number}") for number in range(40)]
    await bridge.send_many(alerts)
    private_redis.kill()
    private_redis.start()
    for worker in bridge.workers:
        worker.start().wait_ready()
    await bridge.wait_ended(40)
    assert venue.stats()["lookups"] == 0
    assert bridge.client.hexists(META, "epoch") == 0
    assert len(venue.ledger()) == 40
