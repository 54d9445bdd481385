"""A venue that hangs for one symbol: what the others feel of it."""

from collections.abc import Callable

import pytest

from tests.e2e.faults import wait_orders
from tests.e2e.ledger import all_accepted, assert_never_twice, journal
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.venue import Venue

OTHERS = 25
EACH = 6
RATE_PER_S = 100
ANSWER_MS = 150
"""Of the healthy symbols. With a venue that answers at once, nothing but the machine's own noise would be compared."""

HANGING = "HANGS"
WAITING = 20
ROUNDS = 3
"""Of each kind; the best of each is compared, for the machine has other work too."""

MOST_SLOWER = 1.2


@pytest.mark.alone
async def test_a_symbol_whose_broker_hangs_adds_less_than_a_fifth_to_the_slowest_of_the_others(
    private_redis: RedisServer,
    venue: Venue,
    bridge_factory: Callable[..., Bridge],
    record_property: Callable[[str, object], None],
) -> None:
    # An order that hangs is over soon and then sent again: workers hang on it over and over.
    config = {"accounts": {ACCOUNT: {"timeout": "500ms", "request_expiry": "500ms", "look_up_lag": "0s"}}}
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=config)
    venue.control(delay_ms=ANSWER_MS, symbols={HANGING: {"delay_before_ms": 600_000}})
    await p99_ms(bridge)
    executed = venue.stats()["executed"]

    alone_ms = [await p99_ms(bridge) for _ in range(ROUNDS)]
    all_accepted(await bridge.send_many([bridge.alert(symbol=HANGING) for _ in range(WAITING)], 4))
    beside_ms = [await p99_ms(bridge) for _ in range(ROUNDS)]

    record_property("p99_ms", {"alone": alone_ms, "beside": beside_ms})
    print(f"p99 of the others, ms: alone {alone_ms}, beside the hanging one {beside_ms}")
    await wait_orders(venue, executed + 2 * ROUNDS * OTHERS * EACH)
    assert_never_twice(venue.ledger())
    hung = [event.event for event in journal(bridge) if event.lane == f"{ACCOUNT}:{HANGING}"]
    assert hung.count("SENDING") > 1
    assert "EXECUTED" not in hung
    assert min(beside_ms) < MOST_SLOWER * min(alone_ms)


async def p99_ms(bridge: Bridge) -> int:
    """Send alerts of the other symbols at a steady pace; return how long 99 of 100 took at most, to their end."""
    alerts = [bridge.alert(symbol=f"S{number % OTHERS}") for number in range(OTHERS * EACH)]
    alert_ids = set(all_accepted(await bridge.send_many(alerts, OTHERS, rate_per_s=RATE_PER_S)))

    def times_ms() -> list[int]:
        at_ms = {
            (event.alert_id, event.event): event.at_ms
            for event in journal(bridge)
            if event.alert_id in alert_ids
        }
        ended = [alert_id for alert_id in alert_ids if (alert_id, "EXECUTED") in at_ms]
        assert len(ended) == len(alert_ids), f"{len(ended)} of {len(alert_ids)} ended"
        return sorted(at_ms[one, "EXECUTED"] - at_ms[one, "QUEUED"] for one in ended)

    took_ms = await eventually(times_ms, 30, 0.1)
    return took_ms[len(took_ms) * 99 // 100]
