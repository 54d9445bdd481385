"""What is told apart by which return of Redis it was admitted or looked up in, whatever the clock and the address do."""

import pytest

from libs.common.store.client import call, connect
from libs.common.store.incarnation import GRANTED_BEHIND_MS, Incarnations
from libs.common.store.upkeep import Upkeep
from tests.integration.services.worker.rig import DESK, LEASE_MS, Worker, WorkerRig
from tests.integration.services.worker.test_recovery import incarnate, lose_all_since
from tests.support.clock import ManualClock
from tests.support.eventually import eventually_sync
from tests.support.legal_moves import LegalMoves
from tests.support.redis_server import Binary, RedisServer
from tests.support.rollback import Rollback
from tests.support.scripted_broker import ScriptedBroker, refused


async def test_what_was_looked_up_for_one_return_is_looked_up_for_the_next_of_the_same_time(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    alert = await rig.admit()
    first_at_ms = rig.clock.now_ms()
    await incarnate(rig, "b")
    rollback = Rollback(rig.redis)
    send = worker.orders.begin._send

    async def keeping(items: object) -> object:
        rollback.keep()
        return await send(items)  # type: ignore[arg-type]

    worker.orders.begin._send = keeping  # type: ignore[assignment]
    await rig.run_to_rest()
    worker.orders.begin._send = send
    assert broker.executed == [rig.order_id(alert)]
    # The order was cleared, and its intent is lost: by a server whose clock is as far behind.
    rollback.fall_back()
    rig.moves = LegalMoves(rig.redis, rig.keys.prefix)
    passed_ms = rig.clock.now_ms() - first_at_ms
    rig.clock.step_wall(-passed_ms)
    await incarnate(rig, "c")
    rig.clock.step_wall(passed_ms)
    await rig.reclaim()
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")


async def test_what_is_admitted_after_a_return_is_not_suspect_though_the_clock_stepped_back(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    before = await rig.admit("ETH")
    await incarnate(rig, "b")
    rig.clock.step_wall(-3_600_000)
    stepped_at_ms = rig.clock.now_ms()
    after = await rig.admit(max_age_ms=60_000)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(after), rig.order_id(before)]
    assert [event for event, _ in rig.history(after)] == ["QUEUED", "SENDING", "EXECUTED"]
    # Nor does what is suspect wait for an hour.
    assert rig.clock.now_ms() - stepped_at_ms < 10 * LEASE_MS


async def test_an_order_of_a_server_that_took_over_meanwhile_is_not_sent_again_on_the_one_before(
    redis_binary: Binary, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    with RedisServer(redis_binary, tcp=True) as cut_off, RedisServer(redis_binary, tcp=True) as replica:
        rig = WorkerRig(cut_off, clock)
        await rig.start(monkeypatch)
        greeter = Incarnations(
            rig.keys, durability="everysec", lease_ms=LEASE_MS, on_new=lambda _: None, now_ms=clock.now_ms()
        )

        async def meet(server: RedisServer) -> None:
            client = connect(server.url, timeout_s=5, connections=1, greet=greeter.greet)
            await call(client, "PING")
            await client.aclose()

        await meet(cut_off)
        alert = await rig.admit()
        with replica.client() as direct:
            direct.execute_command("REPLICAOF", "127.0.0.1", str(cut_off.port))
            eventually_sync(lambda: direct.exists(rig.keys.ready), 20)
            direct.execute_command("REPLICAOF", "NO", "ONE")
            await meet(replica)
            over_there = rig.worker("b", url=replica.url)
            for _ in range(8):
                if direct.hget(rig.keys.instruction(alert, DESK), "state") == "EXECUTED":
                    break
                await over_there.runner.run(await over_there.take())
                clock.advance(LEASE_MS + GRANTED_BEHIND_MS + 1_000)
                client = connect(replica.url, timeout_s=5)
                await Upkeep(client, rig.keys, now_ms=clock.now_ms()).promote()
                await client.aclose()
        assert rig.broker.executed == [rig.order_id(alert)]
        greeter._now = str(clock.now_ms())
        await meet(cut_off)
        await rig.run_to_rest(rig.worker("c"))
        assert rig.broker.executed == [rig.order_id(alert)]
        assert rig.ended(alert) == ("EXECUTED", "filled")
        await rig.stop()


async def test_a_refused_one_that_was_replayed_in_what_was_lost_is_looked_up_by_the_next_replay(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    await incarnate(rig, "a")
    broker.then(refused())
    alert = await rig.admit()
    await rig.run_to_rest()
    assert rig.ended(alert) == ("REJECTED", "venue_rejected")
    [(letter, _)] = rig.redis.xrange(rig.keys.dead)
    rollback = Rollback(rig.redis)
    rollback.keep()
    await rig.replay(letter)
    await rig.run_to_rest()
    assert broker.executed == [rig.order_id(alert)]
    await lose_all_since(rig, rollback)
    rig.clock.advance(3_600_000)
    await rig.replay(letter)
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(alert)]
    assert rig.ended(alert) == ("EXECUTED", "filled")
