"""Workers that are asked to end."""

import asyncio

import pytest

from tests.e2e.faults import name_workers_at, next_orders_ms, now_ms, symbols_of, wait_holding, wait_orders
from tests.e2e.ledger import all_accepted, assert_nobody_reclaimed, assert_whole_run
from tests.support.eventually import eventually

DRAIN_S = 20.0
STOPS_WITHIN_MS = 250


@pytest.mark.alone
async def test_the_lanes_of_a_draining_worker_trade_elsewhere_within_a_second(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=3, is_started=False)
    name_workers_at(bridge, venue)
    bridge.start()
    venue.control(delay_ms=100)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(1_200)]
    leaving = bridge.workers[0]

    sending = asyncio.create_task(bridge.send_many(alerts, 40))
    await wait_orders(venue, 200)
    lanes = await wait_holding(bridge, leaving, 8)
    asked_at_ms = now_ms()
    ended = leaving.terminate()
    elsewhere = await eventually(lambda: _all_of(venue, lanes, asked_at_ms, leaving.label))

    assert ended.code == 0
    assert ended.elapsed_s < DRAIN_S
    assert max(elsewhere.values()) <= 1_000, elsewhere
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(len(alerts), 30)
    await assert_whole_run(bridge, venue, alert_ids)
    # It ended what it had begun and began nothing more: nobody had to ask the venue what became of it.
    own = [trade["executed_at_ms"] for trade in venue.ledger() if trade["book"] == leaving.label]
    assert max(own) <= asked_at_ms + STOPS_WITHIN_MS
    assert venue.stats()["lookups"] == 0
    assert_nobody_reclaimed(bridge)


async def test_a_draining_worker_waits_for_the_answer_to_what_it_sent(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue, workers=1)
    venue.control(delay_ms=1_500)
    alert_ids = all_accepted(await bridge.send_many([bridge.alert(symbol=f"S{n}") for n in range(10)]))
    await wait_orders(venue, 10)

    ended = bridge.workers[0].terminate()

    assert ended.code == 0
    assert bridge.state_counts() == {"EXECUTED": 10}
    await assert_whole_run(bridge, venue, alert_ids)
    assert venue.stats()["lookups"] == 0


def _all_of(venue, lanes, since_ms, but_from):
    symbols = symbols_of(lanes)
    found = next_orders_ms(venue, symbols, since_ms, but_from=but_from)
    assert len(found) == len(symbols), f"not yet: {symbols - found.keys()}"
    return found
