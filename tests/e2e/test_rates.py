"""Rate limits: who waits, who does not, and what the waiting costs."""

import re
from collections.abc import Sequence

import pytest

from tests.e2e.faults import now_ms
from tests.e2e.ledger import (
    PARKED,
    all_accepted,
    assert_clean,
    assert_executed_once,
    assert_in_order,
    assert_no_failures,
    assert_nobody_reclaimed,
    assert_whole_run,
    journal,
    lane_of,
)
from tests.e2e.monitor import Monitor
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.venue import Venue

OTHERS = 50
EACH = 4
LANES = 1_000
BEGINS_PER_ORDER = 3
LATE_S = 1.0
"""By how much a lane may miss its turn: several workers on a busy machine do not keep step to the millisecond."""


@pytest.mark.alone
async def test_five_hundred_alerts_that_wait_for_a_limit_slow_nobody_else_and_hold_no_slot(
    private_redis, venue, bridge_factory
):
    config = {
        # A single slot: whoever held it while waiting would stop everybody.
        "worker": {"concurrency": 1},
        "accounts": {ACCOUNT: {"limits": {"symbols": {"SLOW": {"rate": "1/s", "burst": 1}}}}},
        "webhooks": {"default": {"max_age": "6s"}},
    }
    bridge = bridge_factory(private_redis, venue=venue, config=config)
    [worker] = bridge.workers

    warm, _ = await _time_others(bridge, venue)
    alone, alone_ms = await _time_others(bridge, venue)
    slow = all_accepted(await bridge.send_many([bridge.alert(symbol="SLOW") for _ in range(500)], 8))
    await eventually(
        lambda: bridge.client.zscore(PARKED, lane_of("SLOW")) is not None, message="it is parked"
    )
    beside, beside_ms = await _time_others(bridge, venue)

    assert beside_ms <= 2 * alone_ms + 500, f"alone {alone_ms} ms, beside the waiting ones {beside_ms} ms"
    await eventually(lambda: worker.metric("bascule_lanes_held") == 0, message="the slot is free")
    others = [*warm, *alone, *beside]
    states = await bridge.wait_ended(len(others) + len(slow))
    traded = [trade["alert_id"] for trade in venue.ledger() if trade["symbol"] == "SLOW"]
    assert 5 <= len(traded) <= 8
    # In their order; the oldest may be too old before their turn comes.
    assert traded == [alert_id for alert_id in slow if alert_id in set(traded)]
    assert states == {"EXECUTED": len(others) + len(traded), "EXPIRED": len(slow) - len(traded)}
    assert_executed_once(bridge, venue, [*others, *traded])
    assert_in_order(bridge, venue, [*others, *slow])
    await assert_clean(bridge)
    assert_no_failures(bridge)


async def _time_others(bridge: Bridge, venue: Venue) -> tuple[list[str], int]:
    """Send a round of alerts on other symbols; return their ids and how long it took until all had traded, ms."""
    alerts = [bridge.alert(symbol=f"S{number % OTHERS}") for number in range(OTHERS * EACH)]
    started_ms = now_ms()
    alert_ids = all_accepted(await bridge.send_many(alerts, 25))

    def traded() -> list[int]:
        trades = [trade for trade in venue.ledger() if trade["alert_id"] in alert_ids]
        assert len(trades) == len(alert_ids), f"{len(trades)} of {len(alert_ids)}"
        return [trade["executed_at_ms"] for trade in trades]

    return alert_ids, max(await eventually(traded)) - started_ms


@pytest.mark.parametrize(
    ("per_s", "burst"),
    [
        pytest.param(200, 20, id="200/s"),
        pytest.param(10, 20, id="10/s", marks=(pytest.mark.slow, pytest.mark.timeout(180))),
        pytest.param(10, 1, id="10/s-without-burst", marks=(pytest.mark.slow, pytest.mark.timeout(180))),
    ],
)
@pytest.mark.alone
async def test_a_thousand_lanes_behind_one_limit_take_few_begins_and_are_served_in_the_order_they_asked(
    private_redis, venue, bridge_factory, per_s, burst
):
    config = {
        "accounts": {ACCOUNT: {"limits": {"account": {"rate": f"{per_s}/s", "burst": burst}}}},
        "webhooks": {"default": {"max_age": "300s"}},
    }
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=config)
    alerts = [bridge.alert(symbol=f"S{number}") for number in range(LANES)]

    async with Monitor(private_redis, ['"slot"']) as monitor:
        started_ms = now_ms()
        alert_ids = all_accepted(await bridge.send_many(alerts, 32, in_order=False))
        await bridge.wait_ended(LANES, 60 + LANES / per_s)

    ledger = venue.ledger()
    took_s = (ledger[-1]["executed_at_ms"] - started_ms) / 1_000
    assert took_s >= (LANES - burst) / per_s * 0.99
    assert took_s <= LANES / per_s + 3
    waits = sum(worker.metric("bascule_waits_total", reason="rate_limit") for worker in bridge.workers)
    assert (waits + LANES) / LANES < BEGINS_PER_ORDER
    begun = [event.alert_id for event in journal(bridge) if event.event == "SENDING"]
    asked = _asked(monitor, begun)
    passed_by = _passed_by(asked, begun)
    assert max(passed_by.values()) <= LATE_S * per_s, passed_by
    await assert_whole_run(bridge, venue, alert_ids, is_sent_in_order=False)
    assert_nobody_reclaimed(bridge)


def _asked(monitor: Monitor, begun: Sequence[str]) -> list[str]:
    """Return the alerts in the order in which they first asked; those that had not to wait were the first."""
    waited: dict[str, None] = {}
    for command in monitor.commands:
        found = re.search(r':instruction:(\w+):\w+" "slot"', command)
        if found:
            waited.setdefault(found[1], None)
    return [*(alert_id for alert_id in begun if alert_id not in waited), *waited]


def _passed_by(asked: Sequence[str], begun: Sequence[str]) -> dict[str, int]:
    """Return how many places later than it asked each alert was served, for those that were."""
    place = {alert_id: index for index, alert_id in enumerate(asked)}
    later = {alert_id: index - place[alert_id] for index, alert_id in enumerate(begun)}
    return {"": 0, **{alert_id: places for alert_id, places in later.items() if places > 0}}
