"""Redis that dies, or stands still, under load."""

import asyncio
import time

import pytest

from tests.e2e.faults import wait_orders, wait_until
from tests.e2e.ledger import assert_nobody_reclaimed, assert_whole_run
from tests.e2e.sender import Sent, send_until_taken
from tests.support.bridge_config import ACCOUNT

LEASE_S = 3.0
CONFIG = {
    "worker": {"lease": f"{LEASE_S:g}s"},
    "accounts": {ACCOUNT: {"request_expiry": "2s"}},
    "webhooks": {"default": {"max_age": "600s"}},
}


@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_redis_away_under_load_loses_nothing_and_takes_no_lane_from_the_living(
    private_redis, venue, bridge_factory, fault
):
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=CONFIG)
    venue.control(delay_ms=50)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(1_200)]
    sent: list[Sent] = []

    sending = asyncio.create_task(send_until_taken(bridge, alerts, 40, rate_per_s=250, sent=sent))
    for away_s in (0.0, LEASE_S + 0.5, 0.0):
        await wait_orders(venue, venue.stats()["executed"] + 100)
        if fault == "killed":
            private_redis.kill()
            await wait_until(time.monotonic() + away_s)
            private_redis.start()
        else:
            private_redis.freeze()
            await wait_until(time.monotonic() + max(away_s, 0.5))
            private_redis.thaw()
    await sending
    await bridge.wait_ended(len(alerts), 30)

    refused = [answer for one in sent for answer in one.answers if answer.status != 200]
    assert refused, "no post met the fault"
    assert {answer.status for answer in refused} == {503}
    assert_nobody_reclaimed(bridge)
    await assert_whole_run(bridge, venue, [one.alert_id for one in sent])
