"""A worker that joins while another holds everything."""

from collections import Counter

import pytest

from tests.e2e.faults import name_workers_at, now_ms, wait_holding
from tests.e2e.ledger import all_accepted, assert_nobody_reclaimed, assert_whole_run

WINDOW_MS = 5_000
LANES = 200


@pytest.mark.alone
async def test_a_second_worker_executes_its_share_of_a_backlog_within_five_seconds(
    private_redis, venue, bridge_factory
):
    # One slot for each lane: the first worker holds them all and has to hand some back.
    config = {"worker": {"concurrency": LANES}}
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=config, is_started=False)
    name_workers_at(bridge, venue)
    first, second = bridge.workers
    for service in (*bridge.ingresses, *bridge.reapers, first):
        service.start()
    for service in (*bridge.ingresses, *bridge.reapers, first):
        service.wait_ready()
    venue.control(delay_ms=400)
    alerts = [bridge.alert(symbol=f"S{number % LANES}") for number in range(24 * LANES)]

    alert_ids = all_accepted(await bridge.send_many(alerts, 50))
    await wait_holding(bridge, first, LANES * 9 // 10)
    second.start().wait_ready()
    joined_at_ms = now_ms()
    await bridge.wait_ended(len(alerts), 30)

    shares = Counter(
        trade["book"]
        for trade in venue.ledger()
        if joined_at_ms <= trade["executed_at_ms"] < joined_at_ms + WINDOW_MS
    )
    assert venue.ledger()[-1]["executed_at_ms"] >= joined_at_ms + WINDOW_MS, "the backlog was too short"
    for worker in (first, second):
        share = shares[worker.label] / shares.total()
        assert 0.3 <= share <= 0.7, shares
        assert worker.metric("bascule_instructions_ended_total", state="EXECUTED") > 0
    await assert_whole_run(bridge, venue, alert_ids)
    assert_nobody_reclaimed(bridge)
