"""Workers that stand still for longer than their leases and then go on."""

import asyncio
import time

from tests.e2e.faults import (
    SHORT_LEASE,
    fences_of,
    name_workers_at,
    now_ms,
    send_to,
    wait_orders,
    wait_until,
)
from tests.e2e.ledger import BREAKERS, LANES, all_accepted, assert_whole_run
from tests.e2e.monitor import Monitor
from tests.support.eventually import eventually
from tests.support.proxy import Proxy

LEASE_S = 1.5


async def test_a_worker_stalled_for_three_leases_writes_nothing_more_to_the_lanes_it_lost(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=4, config=SHORT_LEASE, is_started=False)
    staying, ending, *_ = bridge.workers
    name_workers_at(bridge, venue)
    with Proxy(venue.url) as line:
        # The line of the two that will stall holds their orders back.
        send_to(staying, line)
        send_to(ending, line)
        bridge.start()
        venue.control(delay_ms=100)
        alerts = [bridge.alert(symbol=f"S{number % 40}") for number in range(1_200)]
        sending = asyncio.create_task(bridge.send_many(alerts[:800], 40, rate_per_s=200))
        await wait_orders(venue, 100)

        line.black_hole()
        since_ms = now_ms()
        lost = {}
        for worker in (staying, ending):
            await eventually(lambda: len(_under_way(bridge, worker, since_ms)) >= 2)  # noqa: B023 - awaited here
            worker.stop()
            lost[worker] = fences_of(bridge, worker)
        stopped_at_s = time.monotonic()
        await eventually(lambda: not fences_of(bridge, staying) and not fences_of(bridge, ending))
        await wait_until(stopped_at_s + 3 * LEASE_S)
        alert_ids = all_accepted(await sending)
        trades_before = len(venue.ledger())

        tokens = [fence.partition("|")[0] for fences in lost.values() for fence in fences.values()]
        names = [next(iter(fences.values())).partition("|")[2] for fences in lost.values()]
        async with Monitor(private_redis, [*tokens, *names]) as monitor:
            ending.signal_terminate()
            ending.cont()
            staying.cont()
            line.pass_through()
            sending = asyncio.create_task(bridge.send_many(alerts[800:], 40))
            await eventually(lambda: venue.stats()["refused_expired"] >= 4, message="late orders are refused")
            await eventually(lambda: ending.exit_code is not None, message="the one told to ends")
            await eventually(lambda: fences_of(bridge, staying), message="the other one works again")
        alert_ids += all_accepted(await sending)
        await bridge.wait_ended(len(alerts), 30)

    # It was they that stood still, and not the venue: nobody else has to wait.
    assert not bridge.client.exists(BREAKERS)
    # They tried, and no script wrote a lost token anywhere.
    assert [call for call in monitor.calls if any(token in call for token in tokens)]
    written = [command for command in monitor.commands if '"XACK"' not in command and '"XDEL"' not in command]
    assert not [command for command in written if any(token in command for token in tokens)], written
    # The one that ended took no lane again and sent nothing; the other sent nothing that it had begun before.
    assert ending.exit_code == 0
    assert not [command for command in written if names[1] in command and f'"{LANES}"' in command], written
    trades = venue.ledger()[trades_before:]
    assert not [trade for trade in trades if trade["book"] == ending.label]
    assert {trade["book"] for trade in venue.refused()} == {staying.label, ending.label}
    late = {trade["alert_id"] for trade in venue.refused()}
    assert not late & {trade["alert_id"] for trade in trades if trade["book"] == staying.label}
    await assert_whole_run(bridge, venue, alert_ids)


def _under_way(bridge, worker, since_ms):
    """Return the orders that a worker began since then and that have no answer."""
    lanes = fences_of(bridge, worker)
    return [
        order
        for order in bridge.orders().values()
        if order["state"] == "SENDING" and order["lane"] in lanes and int(order["signed_at"]) > since_ms
    ]
