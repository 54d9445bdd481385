import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.following import Absence
from libs.common.store.following import LEASE_MS, FollowedOrder, Following, Kept, Note
from libs.common.store.head import Moved, Stale
from libs.common.wire import codec
from tests.integration.libs.common.store.lua.rig import RETENTION, Rig
from tests.integration.libs.common.store.lua.test_follow import ROOMY, due, followed, rest

HALF = OrderReport(
    order_id="v-1",
    state=OrderState.PARTIAL,
    filled_quantity=Decimal("0.000000000000000001"),
    average_price=Decimal(9),
)
ALL = msgspec.structs.replace(HALF, state=OrderState.FILLED, filled_quantity=Decimal("0.000000000000000003"))


async def claim(rig: Rig, holder: str = "a") -> FollowedOrder:
    [order] = (await followed(rig, holder).claim(ROOMY, at_most=1)).orders
    return order


async def report(rig: Rig, told: Following, holder: str = "a") -> Any:
    return await rig.do(followed(rig, holder).report.submit(told))


def partly_filled(order: FollowedOrder) -> Following:
    return Following(
        order,
        OrderState.PARTIAL,
        2_000,
        report=HALF,
        notes=(Note("FILL", "1 at 9", codec.ORDER_REPORT.encode(HALF)),),
        filled=Decimal("0.000000000000000001"),
    )


def filled(order: FollowedOrder) -> Following:
    return Following(
        order,
        OrderState.FILLED,
        None,
        report=ALL,
        notes=(Note("FILL", "2 at 9"), Note("ORDER_FILLED")),
        filled=Decimal("0.000000000000000002"),
    )


def fills(rig: Rig) -> list[dict[str, str]]:
    return [fields for _, fields in rig.redis.xrange(f"{rig.keys.prefix}fills:desk")]


async def test_a_fill_is_noted_with_the_venues_words_and_the_order_is_due_again(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    assert await report(rig, partly_filled(order)) == Kept()
    record = rig.order(order.client_order_id)
    assert record["state"] == "PARTIAL"
    assert codec.ORDER_REPORT.decode(record["answer"].encode()) == HALF
    assert record["looked_at"] == str(rig.now_ms)
    assert "follower" not in record
    assert "ended_at" not in record
    assert due(rig, order.client_order_id) == 2_000
    assert rig.history(order.alert_id)[-2:] == ["EXECUTED", "FILL"]
    _, entry = rig.redis.xrange(rig.keys.journal)[-1]
    assert (entry["reason"], entry["detail"]) == (order.client_order_id, "1 at 9")
    assert codec.ORDER_REPORT.decode(entry["note"].encode()) == HALF
    assert fills(rig) == [
        {
            "market": "BTC",
            "order": order.client_order_id,
            "quantity": "0.000000000000000001",
            "at": str(rig.now_ms),
        }
    ]
    assert rig.redis.pttl(rig.keys.order(order.client_order_id)) == -1


async def test_an_ended_order_is_followed_no_more_and_its_record_expires_after_every_dead_letter(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    rig.now_ms += 100
    assert await report(rig, filled(order)) == Kept()
    key = rig.keys.order(order.client_order_id)
    assert rig.redis.zcard(rig.keys.following) == 0
    assert RETENTION.replayable_ms - 5_000 < rig.redis.pttl(key) <= RETENTION.replayable_ms
    record = rig.order(order.client_order_id)
    assert (record["state"], record["ended_at"]) == ("FILLED", str(rig.now_ms))
    assert rig.history(order.alert_id)[-2:] == ["FILL", "ORDER_FILLED"]


@pytest.mark.parametrize("told", [partly_filled, filled])
async def test_a_report_whose_reply_was_lost_counts_once(rig: Rig, told: Any):
    await rest(rig)
    order = await claim(rig)
    one = told(order)
    assert await rig.lose_reply("followed", lambda: followed(rig).report.submit(one)) == Kept()
    events = [event for event, _ in rig.journal()]
    assert events.count("FILL") == 1
    assert len(fills(rig)) == 1
    with rig.nothing_written():
        assert await report(rig, one) == Kept()


async def test_a_stale_follower_writes_nothing(rig: Rig):
    await rest(rig)
    stale = await claim(rig, "a")
    rig.now_ms += LEASE_MS
    await claim(rig, "b")
    with rig.nothing_written():
        assert await report(rig, partly_filled(stale)) == Stale()


async def test_a_follower_that_comes_late_but_first_is_heard(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    rig.now_ms += LEASE_MS * 3
    assert await report(rig, partly_filled(order)) == Kept()


async def test_of_two_followers_of_one_order_one_counts_its_fill(rig: Rig):
    await rest(rig)
    first = await claim(rig, "a")
    rig.now_ms += LEASE_MS
    second = await claim(rig, "b")
    answers = await asyncio.gather(
        report(rig, partly_filled(first), "a"), report(rig, partly_filled(second), "b")
    )
    assert answers == [Stale(), Kept()]
    assert len(fills(rig)) == 1


async def test_an_order_that_has_moved_on_otherwise_is_left(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    rig.redis.hset(rig.keys.order(order.client_order_id), "state", "PARTIAL")
    with rig.nothing_written():
        assert await report(rig, partly_filled(order)) == Moved()


async def test_an_intent_keeps_the_claim_and_what_follows_ends_it(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    intent = Following(
        order,
        OrderState.ACCEPTED,
        LEASE_MS,
        report=order.report,
        notes=(Note("ORDER_CANCELING"),),
        cancelled_at_ms=rig.now_ms,
        keeps_claim=True,
    )
    rig.now_ms += 5_000
    assert await report(rig, intent) == Kept()
    assert rig.order(order.client_order_id)["follower"] == order.claim
    assert due(rig, order.client_order_id) == LEASE_MS
    again = Following(order, OrderState.ACCEPTED, 1_000, cancelled_at_ms=intent.cancelled_at_ms)
    assert await report(rig, again) == Kept()
    rig.now_ms += 1_000
    assert (await claim(rig)).cancelled_at_ms == intent.cancelled_at_ms


async def test_what_is_known_of_an_absence_comes_with_the_next_claim(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    absence = Absence(look_ups=3, since_ms=rig.now_ms - 40_000, is_lost=True)
    await report(
        rig, Following(order, order.state, 1_000, absence=absence, notes=(Note("ORDER_LOST", "words"),))
    )
    assert "looked_at" not in rig.order(order.client_order_id)
    rig.now_ms += 1_000
    assert (await claim(rig)).absence == absence


async def test_an_order_that_outlives_its_instruction_does_not_bring_its_record_back(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    instruction = rig.keys.instruction(order.alert_id, order.account)
    rig.lose(instruction)
    assert await report(rig, filled(order)) == Kept()
    assert not rig.redis.exists(instruction)
    assert rig.journal()[-2:] == [("FILL", order.client_order_id), ("ORDER_FILLED", order.client_order_id)]


async def test_an_instruction_that_has_ended_keeps_its_expiry(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    await report(rig, partly_filled(order))
    assert rig.redis.pttl(rig.keys.instruction(order.alert_id, order.account)) > 0


async def test_an_order_of_an_account_that_is_not_compared_leaves_no_fill_behind(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    await report(rig, replace(partly_filled(order), filled=None))
    assert fills(rig) == []


async def test_an_order_whose_record_cannot_be_used_fails_alone(rig: Rig):
    await rest(rig, "M1")
    broken = await claim(rig)
    await rest(rig, "M2")
    whole = await claim(rig)
    rig.spoil(rig.keys.order(broken.client_order_id))
    submit = followed(rig).report.submit
    answers = await rig.do(submit(partly_filled(broken)), submit(partly_filled(whole)))
    assert isinstance(answers[0], StoreCorrupt)
    assert answers[1] == Kept()


async def test_reports_are_written_when_memory_is_full(rig: Rig):
    await rest(rig)
    order = await claim(rig)
    with rig.memory_limit_reached():
        assert await report(rig, filled(order)) == Kept()
