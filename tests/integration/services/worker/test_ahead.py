"""What is behind a head, planned while that ends, and begun with its end."""

import asyncio
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.alert import Action
from libs.common.domain.ids import Market
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.domain.lifecycle import OrderState
from libs.common.policy.symbols import SymbolEntry
from libs.common.store.orders import Settlement
from libs.common.telemetry.spans import KeepingTracer
from services.worker.account import MarketLimits
from services.worker.turn import HAND_BACK_AFTER
from tests.integration.services.worker.rig import DESK, LEASE_MS, WINDOW_MS, Worker, WorkerRig, lose_answers
from tests.support.kept_spans import Kept
from tests.support.scripted_broker import ScriptedBroker, answer_lost, fills, refused, unavailable


@pytest.fixture
async def begins(rig: WorkerRig, worker: Worker) -> list[str]:
    """Return the orders that get a call of their own to be begun, as they come; the symbol table is known."""
    await worker.mapping.refresh()
    seen: list[str] = []
    send = worker.orders.begin._send

    async def watched(items: Any) -> Any:
        seen.extend(one.client_order_id for one in items)
        return await send(items)

    worker.orders.begin._send = watched
    return seen


def as_it_ends(worker: Worker, then: Callable[[], None]) -> None:
    """Do something when the first end of an instruction is under way."""
    send, is_first = worker.orders.settle._send, [True]

    async def watched(items: Sequence[Settlement]) -> Any:
        if is_first:
            is_first.clear()
            then()
        return await send(items)

    worker.orders.settle._send = watched


async def test_nothing_that_is_plain_gets_a_call_of_its_own(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    alerts = [await rig.admit() for _ in range(HAND_BACK_AFTER)]
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert begins == []
    assert {rig.ended(alert) for alert in alerts} == {("EXECUTED", "filled")}
    assert worker.count("bascule_queue_wait_seconds_count") == len(alerts)
    assert rig.is_at_rest()


async def test_what_depends_on_the_venue_is_planned_once_it_is_the_head(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    broker.positions[Market("BTC")] = Decimal(1)
    alerts = [
        await rig.admit(),
        await rig.admit(action=Action.CLOSE_LONG, quantity=None),
        await rig.admit(),
        await rig.admit(),
    ]
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    # What follows one that had to ask is not looked at before its turn: it is mostly of the same kind.
    assert begins == [rig.order_id(alert) for alert in alerts[1:3]]


@pytest.mark.parametrize("is_draining", [True, False])
async def test_nothing_is_begun_ahead_by_a_worker_that_hands_its_lanes_back(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str], is_draining: bool
):
    async def called_back() -> None:
        worker.recall.is_draining, worker.solo.is_wanted = is_draining, not is_draining

    broker.before_sending = called_back
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert broker.executed == [rig.order_id(first)]
    assert rig.order(second) == {}
    assert rig.waiting() == 1


async def test_what_was_begun_is_sent_though_the_worker_was_told_to_stop_meanwhile(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    def stop() -> None:
        worker.recall.is_draining = True

    as_it_ends(worker, stop)
    alerts = [await rig.admit() for _ in range(3)]
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts[:2]]
    assert rig.order(alerts[2]) == {}
    assert rig.waiting() == 1


async def test_a_lost_reply_neither_loses_nor_doubles_what_was_begun(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    alerts = [await rig.admit() for _ in range(4)]
    lost = lose_answers(worker.orders.settle, 2)
    await worker.run_lane()
    assert len(lost) == 2
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    assert begins == []
    assert rig.is_at_rest()


async def test_one_that_the_venue_does_not_take_at_first_is_tried_again(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    broker.then(fills, unavailable(), fills)
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]
    assert rig.order(second)["attempt"] == "2"
    assert begins == [rig.order_id(second)]


async def test_one_whose_answer_is_lost_is_looked_up(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    broker.then(fills, answer_lost())
    first, second = await rig.admit(), await rig.admit()
    await rig.run_to_rest(worker)
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]
    assert rig.ended(second) == ("EXECUTED", "filled")


async def test_behind_one_that_was_refused_the_next_is_begun_as_well(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    broker.then(refused(), fills)
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert rig.ended(first) == ("REJECTED", "venue_rejected")
    assert rig.ended(second) == ("EXECUTED", "filled")
    assert begins == []


async def test_one_that_must_wait_long_for_its_rate_is_parked_until_then(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    limits = MarketLimits(symbol=(5_000_000, 1), account=(0, 0))
    rig.accounts[DESK] = rig.account(limits_of=lambda _: limits)
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert rig.instruction(second)["state"] == "ACTIVE"
    assert await rig.until_due() == 5_000
    await worker.run_lane()
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]


async def test_a_halt_between_two_instructions_refuses_the_second(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    async def halted() -> None:
        rig.redis.hset(rig.keys.halts, "account=*;strategy=*;symbol=*", "reject|1|ops|why")

    broker.before_sending = halted
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert broker.executed == [rig.order_id(first)]
    assert rig.ended(second) == ("REJECTED", "halted")


@pytest.mark.parametrize("what", ["malformed", "of an unknown account", "of a newer version", "too old"])
async def test_what_cannot_be_executed_is_left_until_it_is_the_head(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str], what: str
):
    first = await rig.admit()
    second = await rig.admit(
        body=b"{}" if what == "malformed" else None, max_age_ms=1 if what == "too old" else 60_000
    )

    if what == "of a newer version":
        lane = rig.keys.lane("desk:BTC")
        [_, (entry_id, fields)] = rig.redis.xrange(lane)
        rig.redis.xdel(lane, entry_id)
        rig.redis.xadd(lane, {**fields, "version": SCHEMA_VERSION + 1})

    async def passes() -> None:
        rig.clock.advance(2)
        if what == "of an unknown account":
            rig.accounts.pop(DESK)

    broker.before_sending = passes
    await worker.run_lane()
    assert broker.executed == [rig.order_id(first)]
    assert rig.order(second) == {}
    expected = {"malformed": "DEAD", "too old": "EXPIRED"}
    assert rig.ended(second)[0] == expected.get(what, "ACTIVE")


async def test_a_symbol_that_means_another_market_by_now_is_not_begun(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    rig.symbols.append(SymbolEntry(symbol="XBT", market=Market("BTC")))
    other = rig.worker("b")
    await other.mapping.refresh()
    first, second = await rig.admit(symbol="XBT"), await rig.admit(symbol="XBT")

    async def changed() -> None:
        other.mapping._configured = (SymbolEntry(symbol="XBT", market=Market("ETH")),)
        other.mapping._revision = None
        await other.mapping.refresh()

    broker.before_sending = changed
    await other.run_lane()
    assert broker.executed == [rig.order_id(first)]
    assert rig.ended(second) == ("REJECTED", "mapping_changed")


async def test_a_lane_lost_meanwhile_begins_nothing(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    async def lapses() -> None:
        await rig.reclaim()

    first, second = await rig.admit(), await rig.admit()
    broker.then(fills)
    broker.before_sending = lapses
    await worker.run_lane()
    assert rig.order(second) == {}
    broker.before_sending = None
    rig.clock.advance(LEASE_MS)
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]


async def test_what_dies_with_its_order_begun_and_unsent_is_sent_once_it_is_over(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    first, second = await rig.admit(), await rig.admit()
    has_begun, lease = asyncio.Event(), await worker.take()
    send = worker.orders.settle._send

    async def never_answers(items: Sequence[Settlement]) -> Any:
        await send(items)
        has_begun.set()
        await asyncio.Event().wait()

    worker.orders.settle._send = never_answers
    task = asyncio.create_task(worker.runner.run(lease))
    await has_begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert rig.order(second)["state"] == OrderState.SENDING
    await rig.reclaim()
    await rig.run_to_rest(rig.worker("b"))
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]


async def test_what_cannot_be_planned_for_an_unexpected_error_is_held_against_itself_alone(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    def breaks(_: object) -> None:
        raise ZeroDivisionError

    async def is_changed() -> None:
        rig.accounts[DESK] = rig.account(limits_of=breaks)

    broker.before_sending = is_changed
    first, second = await rig.admit(), await rig.admit()
    await worker.run_lane()
    assert rig.ended(first) == ("EXECUTED", "filled")
    assert rig.instruction(first).get("lost_holders", "0") == "0"
    assert broker.looked_up == []
    assert rig.instruction(second)["lost_holders"] == "1"


async def test_what_the_end_of_the_one_before_took_counts_once(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    as_it_ends(worker, lambda: rig.clock.advance(900))
    alerts = [await rig.admit(), await rig.admit(), await rig.admit(max_age_ms=1_500)]
    await worker.run_lane()
    assert broker.executed == [rig.order_id(alert) for alert in alerts]
    # Twice, the third one would seem to be too old to be planned.
    assert begins == []


async def test_one_whose_go_comes_when_its_request_is_over_is_not_sent_with_it(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    first, second = await rig.admit(), await rig.admit()
    send = worker.orders.settle._send

    async def comes_late(items: Sequence[Settlement]) -> Any:
        answers = await send(items)
        rig.clock.advance(WINDOW_MS)
        return answers

    worker.orders.settle._send = comes_late
    await worker.run_lane()
    assert [request.client_order_id for request in broker.unsent] == [rig.order_id(second)]
    assert broker.executed == [rig.order_id(first), rig.order_id(second)]
    assert rig.order(second)["attempt"] == "2"


async def test_it_is_measured_as_one_that_was_handed_out(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    await rig.admit()
    await rig.admit()
    as_it_ends(worker, lambda: rig.clock.advance(800))
    lose_answers(worker.orders.settle, 1)
    await worker.run_lane()
    assert worker.count("bascule_alert_to_sent_seconds_sum") == pytest.approx(0.8)
    # What is asked again is not told whether the second was ever handed out.
    assert worker.count("bascule_queue_wait_seconds_count") == 1


async def test_it_has_a_span_of_its_own(
    rig: WorkerRig, worker: Worker, broker: ScriptedBroker, begins: list[str]
):
    kept = Kept()
    worker.runner._tracer = KeepingTracer(kept)
    broker.then(fills, refused())
    posts = ["a" * 32, "b" * 32]
    alerts = [await rig.admit(traceparent=f"00-{post}-{'c' * 16}-01") for post in posts]
    await worker.run_lane()
    assert [span.trace_id for span in kept.spans] == posts
    names = ("alert_id", "market", "attempt", "outcome")
    assert [[span.attributes.get(f"bascule.{name}") for name in names] for span in kept.spans] == [
        [alerts[0], "BTC", 1, "EXECUTED"],
        [alerts[1], "BTC", 1, "REJECTED"],
    ]
