"""Keeping leases, and finding out which are lost."""

import asyncio
from collections.abc import Sequence

import pytest

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.head import Held
from tests.integration.services.worker.rig import LEASE_MS, Worker, WorkerRig
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.scripted_broker import ScriptedBroker

AGED_MS = LEASE_MS - 500
"""The age of a lease that has almost run out."""


def _age(rig: WorkerRig, lane: str = "desk:BTC") -> int:
    """Return how long ago the lease of a lane was renewed, by Redis' clock."""
    token = (rig.fence(lane) or "").partition("|")[0]
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", token, token, 1)
    return int(entry["time_since_delivered"])


def _let_age(rig: WorkerRig, lane: str = "desk:BTC") -> None:
    """Let the lease of a lane run almost out; it ages by Redis' own clock."""
    token = (rig.fence(lane) or "").partition("|")[0]
    rig.redis.xclaim(rig.keys.ready, "workers", "a", 0, [token], idle=AGED_MS, justid=True)


async def test_a_beat_starts_every_lease_afresh_in_redis_and_by_our_own_clock(rig: WorkerRig, worker: Worker):
    await rig.admit()
    lease = await worker.hold()
    _let_age(rig)
    rig.clock.advance(LEASE_MS - 1)
    assert lease.is_ours()
    await worker.heartbeat.beat()
    assert _age(rig) < AGED_MS
    rig.clock.advance(LEASE_MS - 1)
    assert lease.is_ours()
    rig.clock.advance(1)
    assert not lease.is_ours()


async def test_a_lease_that_is_anothers_is_found_lost_and_its_own_keeps_its_age(
    rig: WorkerRig, worker: Worker
):
    await rig.admit()
    lease = await worker.hold()
    await rig.reclaim()
    await rig.worker("b").hold()
    token = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 10)[0]
    rig.redis.xclaim(rig.keys.ready, "workers", "b", 0, [token["message_id"]], idle=3_000, justid=True)
    await worker.heartbeat.beat()
    assert lease.is_lost
    assert not lease.is_ours()
    assert worker.leases.live() == []
    assert _age(rig) >= 3_000


async def test_a_lane_that_is_closed_while_its_lease_is_renewed_is_no_loss(
    rig: WorkerRig, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    await rig.admit()
    lease = await worker.hold()
    renew = worker.lanes.renew

    async def renew_late(held: Sequence[Held]) -> list[bool]:
        await worker.runner.run(lease)
        worker.leases.drop(lease.held)
        return await renew(held)

    monkeypatch.setattr(worker.lanes, "renew", renew_late)
    await worker.heartbeat.beat()
    assert not lease.is_lost
    assert len(worker.leases) == 0


async def test_a_lane_that_was_read_but_not_opened_yet_is_no_loss(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit()
    lease = await worker.take()
    await worker.heartbeat.beat()
    assert not lease.is_lost
    await worker.runner.run(lease)
    assert rig.order_state(alert) == ("FILLED", 1)


async def test_more_leases_than_fit_one_call_are_all_renewed(
    rig: WorkerRig, worker: Worker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.worker.heartbeat.CHUNK", 4)
    for number in range(10):
        await rig.admit(f"S{number}")
    leases = [await worker.hold() for _ in range(10)]
    rig.clock.advance(LEASE_MS - 1)
    await worker.heartbeat.beat()
    rig.clock.advance(LEASE_MS - 1)
    assert all(lease.is_ours() for lease in leases)


async def test_each_beat_checks_the_worker_in(rig: WorkerRig, worker: Worker):
    await worker.heartbeat.beat()
    assert rig.redis.zscore(rig.keys.workers, "a") == rig.clock.now_ms()
    rig.clock.advance(2_000)
    await worker.heartbeat.beat()
    assert rig.redis.zscore(rig.keys.workers, "a") == rig.clock.now_ms()
    await worker.lanes.check_out()
    assert rig.redis.zscore(rig.keys.workers, "a") is None


async def test_while_redis_is_away_leases_run_out_by_our_own_clock_and_beats_go_on(rig: WorkerRig):
    with Proxy(rig.server.url) as proxy:
        worker = rig.worker("p", url=proxy.url)
        await rig.admit()
        lease = await worker.hold()
        proxy.refuse()
        with pytest.raises(StoreUnavailable):
            await worker.heartbeat.beat()
        rig.clock.advance(LEASE_MS)
        assert not lease.is_ours()
        assert not lease.is_lost  # nobody said so: what is known is still to be written
        stopped = asyncio.Event()
        task = asyncio.create_task(worker.heartbeat.run(stopped))
        await eventually(lambda: worker.heartbeat.beat_at_ms == rig.clock.monotonic_ms())
        proxy.pass_through()
        await eventually(lease.is_ours)
        stopped.set()
        await asyncio.wait_for(task, 5)
        await worker.stop()
