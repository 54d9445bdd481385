"""A venue that asks to be left alone for a while."""

import asyncio
from collections.abc import Callable

import pytest

from tests.e2e.ledger import PREFIX, all_accepted, assert_whole_run
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

SYMBOLS = 30
ALERTS = 240
RATE_PER_S = 60
RETRY_AFTER_MS = 2_000
UNDER_WAY_MS = 250
"""An order that was let go before the venue spoke may still arrive after it."""


@pytest.mark.alone
async def test_a_retry_after_is_obeyed_by_every_lane_of_the_account_at_every_worker(
    private_redis: RedisServer, venue: Venue, bridge_factory: Callable[..., Bridge]
) -> None:
    bridge = bridge_factory(private_redis, venue=venue, workers=3)
    alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(ALERTS)]
    sending = asyncio.create_task(bridge.send_many(alerts, SYMBOLS, rate_per_s=RATE_PER_S))
    await eventually(lambda: venue.stats()["executed"] >= RATE_PER_S)

    venue.control(status=429, retry_after_s=f"{RETRY_AFTER_MS // 1_000}", times=1)
    until_ms = await eventually(
        lambda: paused_until_ms(bridge), interval_s=0.005, message="the account waits"
    )
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(ALERTS)

    # Redis' clock and the venue's are this machine's.
    since_ms = until_ms - RETRY_AFTER_MS + UNDER_WAY_MS
    arrived_ms = [entry["received_at_ms"] for entry in venue.ledger()]
    disturbed = [at_ms - until_ms for at_ms in arrived_ms if since_ms < at_ms < until_ms]
    assert not disturbed, f"arrived so long before the end of the wait, ms: {disturbed}"
    assert min(arrived_ms) < since_ms
    assert max(arrived_ms) >= until_ms
    assert venue.stats()["status_429"] == 1
    assert {
        worker.label for worker in bridge.workers if worker.metric("bascule_waits_total", reason="throttled")
    } == {worker.label for worker in bridge.workers}
    await assert_whole_run(bridge, venue, alert_ids)


def paused_until_ms(bridge: Bridge) -> int:
    """Return until when no order of the account may leave; 0 where it was never asked to wait."""
    record: str | None = bridge.client.hget(f"{PREFIX}breakers", f"{ACCOUNT}|pause")
    return 0 if record is None else int(record.split("|")[2])
