"""What becomes of heads that cannot be executed, and of those that cost workers their lives."""

from collections.abc import Callable
from decimal import Decimal

import pytest

from libs.common.domain.ids import AccountName, ClientOrderId, LaneName
from libs.common.domain.instruction import SCHEMA_VERSION
from services.worker.endings import FOR_OTHERS_MS, HELD_MS
from tests.integration.services.worker.rig import DESK, POISON_LIMIT, Worker, WorkerRig
from tests.support.scripted_broker import ScriptedBroker, lost

# Heads that cannot be executed.


async def test_a_body_that_cannot_be_read_ends_dead_and_its_neighbours_go_on(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    bad, good = await rig.admit(body=b'{"junk'), await rig.admit()
    await worker.run_lane()
    assert rig.ended(bad) == ("DEAD", "malformed")
    assert rig.letters()[0]["body"] == '{"junk'
    assert rig.ended(good) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(good)]


async def test_an_account_that_this_worker_does_not_know_waits_for_one_that_does_and_ends_expired(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    known_elsewhere = await rig.admit(account="new")
    await worker.run_lane()
    assert rig.parked() == {"new:BTC": FOR_OTHERS_MS}
    rig.accounts[AccountName("new")] = rig.account("new")
    await rig.run_to_rest()
    assert rig.ended(known_elsewhere, "new") == ("EXECUTED", "filled")
    unknown = await rig.admit(account="gone", max_age_ms=5_000)
    await rig.run_to_rest()
    assert rig.ended(unknown, "gone") == ("EXPIRED", "unknown_account")
    assert len(broker.requests) == 1


async def test_an_alert_without_a_quantity_takes_the_accounts_or_is_rejected(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    without = await rig.admit(quantity=None)
    await worker.run_lane()
    assert rig.ended(without) == ("REJECTED", "no_quantity")
    rig.accounts[DESK] = rig.account(default_quantity=Decimal("0.5"))
    await rig.admit(quantity=None)
    await worker.run_lane()
    assert [one.plan.quantity for one in broker.requests] == [Decimal("0.5")]


def _garble(rig: WorkerRig, **changes: str) -> None:
    """Change fields of the head where it lies."""
    lane = rig.keys.lane(LaneName("desk:BTC"))
    [(entry, fields)] = rig.redis.xrange(lane)
    rig.redis.delete(lane)
    rig.redis.xadd(lane, {**fields, **changes}, id=entry)


def _spoil_body(rig: WorkerRig) -> None:
    _garble(rig, body="{junk")


def _forget_account(rig: WorkerRig) -> None:
    rig.accounts.clear()


@pytest.mark.parametrize(("spoil", "wait_ms"), [(_spoil_body, HELD_MS), (_forget_account, FOR_OTHERS_MS)])
async def test_a_head_that_cannot_be_read_any_more_is_held_while_its_order_may_still_execute(
    rig: WorkerRig, broker: ScriptedBroker, spoil: Callable[[WorkerRig], None], wait_ms: int
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=True)
    spoil(rig)
    await rig.reclaim()
    await rig.worker("b").run_lane()
    for _ in range(3):
        assert rig.parked() == {"desk:BTC": wait_ms}
        await rig.pass_time(120_000)  # however old it gets
        await rig.worker("b").run_lane()
    assert rig.instruction(alert)["state"] == "ACTIVE"
    assert rig.order_state(alert) == ("SENDING", 1)
    assert rig.letters() == []


@pytest.mark.parametrize("lost_holders", [0, POISON_LIMIT])
async def test_a_head_of_a_newer_version_waits_for_a_newer_worker_until_its_time_is_over(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, lost_holders: int
):
    alert = await rig.admit(max_age_ms=20_000)
    _garble(rig, version=str(SCHEMA_VERSION + 1), body="?")
    rig.lose_holders(alert, lost_holders)
    await worker.run_lane()
    assert rig.parked() == {"desk:BTC": FOR_OTHERS_MS}
    assert rig.instruction(alert)["state"] == "ACTIVE"
    assert ("PARKED", "newer_version") in rig.history(alert)
    assert (broker.requests, rig.letters()) == ([], [])
    await rig.run_to_rest()
    assert rig.ended(alert) == ("EXPIRED", "newer_version")


# Poison.


async def test_a_head_that_lost_as_many_holders_as_the_poison_limit_ends_dead_unsent(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    alert, after = await rig.admit(), await rig.admit()
    rig.lose_holders(alert, POISON_LIMIT)
    await worker.run_lane()
    assert rig.ended(alert) == ("DEAD", "poison")
    assert broker.executed == [rig.order_id(after)]


async def test_a_head_beyond_the_poison_limit_is_not_given_up_while_its_order_is_sending(
    rig: WorkerRig, broker: ScriptedBroker
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=True)
    rig.lose_holders(alert, POISON_LIMIT + 5)
    await rig.reclaim()
    await rig.worker("b").run_lane()
    assert rig.ended(alert) == ("EXECUTED", "filled")
    assert broker.executed == [rig.order_id(alert)]


async def test_a_head_beyond_the_poison_limit_is_given_up_only_once_its_unknown_order_did_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker
):
    broker.then(lost())
    alert = await rig.admit()
    await worker.run_lane()
    rig.lose_holders(alert, POISON_LIMIT)
    rig.redis.zadd(rig.keys.parked, {"desk:BTC": rig.clock.now_ms()})
    await rig.promote()
    await worker.run_lane()
    assert rig.order_state(alert) == ("UNKNOWN", 1)
    await rig.run_to_rest()
    assert rig.ended(alert) == ("DEAD", "poison")
    # It is not sent once more for the look-up's sake: sending it is what may kill.
    assert rig.order_state(alert) == ("NOT_EXECUTED", 1)
    assert len(broker.requests) == 1


async def test_a_suspect_that_was_being_sent_is_looked_up_beside_others_and_sent_again_alone(
    rig: WorkerRig, broker: ScriptedBroker
):
    alert = await rig.admit()
    await rig.worker("a").die_while_placing(arrives=False)
    rig.lose_holders(alert, 2)
    await rig.reclaim()
    b = rig.worker("b")
    was_alone: list[bool] = []

    async def look() -> None:
        was_alone.append(b.solo.is_wanted)

    def looks_up(_: ScriptedBroker, __: ClientOrderId) -> None:
        assert not b.solo.is_wanted

    broker.before_sending = look
    broker.then_find(*[looks_up] * 4)
    await rig.run_to_rest(b)
    assert rig.order_state(alert) == ("FILLED", 2)
    assert was_alone == [True]
