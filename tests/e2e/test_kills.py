"""Workers that die in the middle of it."""

import asyncio
import random

from tests.e2e.faults import SHORT_LEASE, Kill, kill_holding, takeovers_ms, wait_orders
from tests.e2e.ledger import all_accepted, assert_whole_run

TAKEOVER_MS = 10_000


async def test_thirty_killed_workers_lose_nothing_double_nothing_and_keep_the_order(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=3, config=SHORT_LEASE)
    venue.control(delay_before_ms=20, delay_ms=50)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(2_000)]
    dice = random.Random(30)
    kills: list[Kill] = []

    sending = asyncio.create_task(bridge.send_many(alerts, 32, rate_per_s=150))
    while len(kills) < 30:
        await wait_orders(venue, venue.stats()["executed"] + 20)
        victim = dice.choice([worker for worker in bridge.workers if bridge.lanes_held_by(worker)])
        kill = await kill_holding(bridge, victim)
        kills += [kill] if kill is not None else []
        victim.start()
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(2_000, 60)

    await assert_whole_run(bridge, venue, alert_ids)
    assert venue.stats()["lookups"] > 0, "no worker died between its request and the record of its answer"
    stood_ms = takeovers_ms(bridge, venue, kills)
    assert max(stood_ms) <= TAKEOVER_MS, f"dead workers' lanes stood still: {stood_ms}"


async def test_the_lanes_of_dead_workers_trade_again_within_ten_seconds_on_the_default_lease(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=4)
    venue.control(delay_ms=200)
    alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(800)]
    kills: list[Kill] = []

    sending = asyncio.create_task(bridge.send_many(alerts, 40))
    alive = list(bridge.workers)
    while len(kills) < 3:
        await wait_orders(venue, venue.stats()["executed"] + 40)
        # Slow lanes stay where they are while nobody has many more than others: one may have none.
        victim = max(alive, key=lambda worker: len(bridge.lanes_held_by(worker)))
        alive.remove(victim)
        kill = await kill_holding(bridge, victim, lanes_at_least=5)
        assert kill is not None, "it handed its last lane back in that very moment"
        kills.append(kill)
    alert_ids = all_accepted(await sending)
    await bridge.wait_ended(800, 30)

    stood_ms = takeovers_ms(bridge, venue, kills)
    assert max(stood_ms) <= TAKEOVER_MS, f"dead workers' lanes stood still: {stood_ms}"
    await assert_whole_run(bridge, venue, alert_ids)
