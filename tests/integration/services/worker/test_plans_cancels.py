"""Instructions that cancel what rests."""

from libs.common.domain.alert import Action
from tests.integration.services.worker.plans import BTC, rests
from tests.integration.services.worker.rig import Worker, WorkerRig
from tests.support.scripted_broker import ScriptedBroker


async def test_a_cancel_takes_back_what_rests_in_its_market_and_nothing_else(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.resting = [rests("1"), rests("2"), rests("3", "ETH")]
    alert = await rig.admit(action=Action.CANCEL, quantity=None)
    await worker.run_lane()
    assert broker.cancelled == [(BTC, ("1", "2"))]
    assert rig.ended(alert) == ("EXECUTED", "canceled")
    assert ("PLANNED", "") in rig.history(alert)
    assert broker.requests == []


async def test_a_cancel_that_is_taken_over_cancels_only_what_rested_when_it_was_planned(
    rig: WorkerRig, broker: ScriptedBroker
):
    broker.resting = [rests("1")]
    dying, alert = rig.worker("dies"), await rig.admit(action=Action.CANCEL, quantity=None)

    async def dies() -> None:
        broker.before_sending = None
        raise RuntimeError("killed")

    broker.before_sending = dies
    await dying.run_lane()
    broker.resting.append(rests("2"))  # placed since, by whoever
    await rig.run_to_rest(rig.worker("takes over"))
    assert broker.cancelled == [(BTC, ("1",))]
    assert rig.ended(alert) == ("EXECUTED", "canceled")


async def test_with_nothing_that_rests_a_cancel_is_skipped(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert = await rig.admit(action=Action.CANCEL, quantity=None)
    await worker.run_lane()
    assert rig.ended(alert) == ("SKIPPED", "nothing_to_cancel")
    assert broker.cancelled == []


async def test_a_recorded_cancel_obeys_a_halt_too(rig: WorkerRig, broker: ScriptedBroker):
    broker.resting = [rests("1")]
    alert = await rig.admit(action=Action.CANCEL, quantity=None)

    async def dies() -> None:
        broker.before_sending = None
        raise RuntimeError("killed")

    broker.before_sending = dies
    await rig.worker("dies").run_lane()
    rig.redis.hset(rig.keys.halts, "account=*;strategy=*;symbol=*", "reject|0|ops|why")
    await rig.run_to_rest(rig.worker("takes over"))
    assert rig.ended(alert) == ("REJECTED", "halted")
    assert broker.cancelled == []
