"""A venue that fails in every way it can, and never deduplicates: what its ledger holds once all has ended."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.e2e.ledger import all_accepted, assert_whole_run, journal, lane_of
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

ALERTS = 20
SYMBOLS = 5
SHARE = 0.5
"""Of the orders that a fault strikes, by seeded dice."""

TIMEOUT_MS = 300
EXPIRY_MS = 600
LAG_MS = 300

CONFIG: Mapping[str, Any] = {
    "worker": {"lease": "2s"},
    "accounts": {
        ACCOUNT: {
            "timeout": f"{TIMEOUT_MS}ms",
            "request_expiry": f"{EXPIRY_MS}ms",
            "look_up_lag": f"{LAG_MS}ms",
        }
    },
    # A breaker that opens would only make everything wait: 10 failures in so short a time are not to be had here.
    "breaker": {"failures": 10_000, "rate": 1, "window": "300ms", "reset": "300ms"},
    "webhooks": {"default": {"max_age": "10min"}},
}

DROPS = {
    "dropped-before": {"drop_before": SHARE},
    "dropped-after": {"drop_after": SHARE},
    "dropped-either-way": {"drop_before": SHARE / 2, "drop_after": SHARE / 2},
}
STATUSES = {
    f"{status}{'-executing' if executes else ''}": {
        "status": status,
        "status_rate": SHARE,
        "status_executes": executes,
    }
    for status in (500, 503, 504)
    for executes in (False, True)
}
THROTTLED = {"429": {"status": 429, "status_rate": SHARE / 2, "retry_after_s": ""}}
GARBAGE = {
    kind: {"garbage": kind, "garbage_rate": SHARE}
    for kind in ("no_order_id", "truncated", "not_json", "empty")
}
SLOW = {
    "answers-beyond-the-time-out": {"delay_ms": 2 * TIMEOUT_MS, "drop_before": SHARE / 2},
    "executes-after-the-time-out": {"delay_before_ms": (TIMEOUT_MS + EXPIRY_MS) / 2, "drop_after": SHARE / 2},
}
LOOK_UPS = {
    "look-ups-that-lag": {"drop_after": SHARE, "drop_before": SHARE / 2, "lookup_lag_ms": LAG_MS},
    "look-ups-that-drop": {"drop_after": SHARE, "drop_before": SHARE / 2, "lookup_drop": SHARE},
    "everything": {
        "drop_before": 0.15,
        "status": 503,
        "status_rate": 0.15,
        "drop_after": 0.15,
        "garbage": "truncated",
        "garbage_rate": 0.15,
        "lookup_drop": 0.15,
        "lookup_lag_ms": LAG_MS,
    },
}


@pytest.mark.parametrize(
    "modes",
    [DROPS, STATUSES, THROTTLED, GARBAGE, SLOW, LOOK_UPS],
    ids=["drops", "statuses", "throttled", "garbage", "slow", "look-ups"],
)
async def test_whatever_a_venue_without_deduplication_does_every_alert_trades_once_and_in_order(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    modes: Mapping[str, Mapping[str, Any]],
) -> None:
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=CONFIG)
    # Each mode has symbols of its own, so that all of them strike side by side; some stay well.
    faults = {f"{mode}-{number}": faults for mode, faults in modes.items() for number in range(SYMBOLS)}
    venue.control(seed=1, symbols=faults)
    symbols = [*faults, *(f"well-{number}" for number in range(SYMBOLS))]
    alerts = [bridge.alert(symbol=symbol) for _ in range(ALERTS // SYMBOLS) for symbol in symbols]

    alert_ids = all_accepted(await bridge.send_many(alerts, 16))
    await bridge.wait_ended(len(alerts), 50)

    assert bridge.state_counts() == {"EXECUTED": len(alerts)}
    struck = {event.lane for event in journal(bridge) if event.event in {"UNKNOWN", "NOT_EXECUTED"}}
    spared = [mode for mode in modes if not any(lane_of(f"{mode}-{n}") in struck for n in range(SYMBOLS))]
    assert not spared, f"these never struck: {spared}"
    await assert_whole_run(bridge, venue, alert_ids)
