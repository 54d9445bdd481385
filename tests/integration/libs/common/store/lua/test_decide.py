import asyncio
from decimal import Decimal
from typing import Any

import orjson
import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import OrderPlan, OrderReport, Side
from libs.common.domain.reasons import Reason
from libs.common.store.decisions import (
    MARGIN_MS,
    Decided,
    Decision,
    Decisions,
    Forgotten,
    NotOpen,
    TooEarly,
    Verdict,
)
from libs.common.store.head import Head, Moved
from libs.common.store.records import Records
from libs.common.wire import codec
from tests.integration.libs.common.store.lua.rig import Hold, Rig

FILLED, NOT_EXECUTED = Verdict.FILLED, Verdict.NOT_EXECUTED
WINDOW_MS = 5_000
PLAN = OrderPlan(side=Side.SELL, quantity=Decimal("0.123456789012345678"))


async def sent(rig: Rig, **options: Any) -> Hold:
    hold = await rig.hold(**options)
    await rig.go(hold, window_ms=WINDOW_MS, plan=codec.ORDER_PLAN.encode(PLAN))
    return hold


async def unknown(rig: Rig, **options: Any) -> Hold:
    """Bring an order to where its outcome can no longer be told."""
    hold = await sent(rig, **options)
    await rig.resolve(hold, OrderState.UNKNOWN)
    rig.now_ms += WINDOW_MS + MARGIN_MS + 1
    return hold


async def decision(rig: Rig, hold: Hold, verdict: Verdict = FILLED, **options: Any) -> Decision:
    [order] = await Records(rig.client, rig.keys).orders([hold.order_id])
    return Decision(order, verdict, "me@host", "seen at the venue", **options)


async def decide(rig: Rig, one: Decision) -> Any:
    return await rig.do(Decisions(rig.client, rig.keys, now_ms=rig.now_ms).decide(one))


async def test_an_order_said_to_be_filled_ends_its_instruction_as_executed(rig: Rig):
    hold = await unknown(rig)
    assert await decide(rig, await decision(rig, hold, price=Decimal("101.5"))) == Decided()
    order = rig.order(hold.order_id)
    report = codec.ORDER_REPORT.decode(order["answer"].encode())
    assert order["state"] == report.state == OrderState.FILLED
    assert (report.order_id, report.filled_quantity) == ("operator", PLAN.quantity)
    assert report.average_price == Decimal("101.5")
    assert report.detail == "seen at the venue (by me@host)"
    await rig.settle(hold)
    assert rig.instruction(hold.head.alert_id)["state"] == "EXECUTED"
    assert rig.is_at_rest()


async def test_a_part_can_be_said_to_be_filled_and_is_no_end_that_another_order_may_follow(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold, quantity=Decimal("0.1")))
    assert rig.order(hold.order_id)["state"] == "CANCELED"
    report = codec.ORDER_REPORT.decode(rig.order(hold.order_id)["answer"].encode())
    assert report.filled_quantity == Decimal("0.1")


async def test_an_order_said_to_be_not_executed_is_sent_again_as_the_next_attempt(rig: Rig):
    hold = await unknown(rig)
    assert await decide(rig, await decision(rig, hold, NOT_EXECUTED)) == Decided()
    assert rig.order(hold.order_id)["state"] == "NOT_EXECUTED"
    assert "answer" not in rig.order(hold.order_id)
    await rig.go(hold, attempt=2, nonce="nonce-2")


async def test_the_lane_that_waits_for_it_is_due_at_once(rig: Rig):
    hold = await unknown(rig)
    await rig.park(hold, 60_000)
    await decide(rig, await decision(rig, hold))
    assert rig.redis.zscore(rig.keys.parked, "desk:BTC") == rig.now_ms
    await rig.do(rig.upkeep.promote())
    [held] = await rig.read("b")
    head = await rig.open(held, "b")
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, codec.ORDER_REPORT.decode(order.answer).order_id) == (OrderState.FILLED, "operator")


async def test_a_lane_that_is_held_is_not_parked_by_it(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold))
    assert rig.redis.zcard(rig.keys.parked) == 0


async def test_the_holder_who_was_looking_it_up_finds_that_it_moved(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold, NOT_EXECUTED))
    assert await rig.resolve(hold, OrderState.UNKNOWN) == Moved()
    assert await rig.settle(hold) == Moved()


async def test_the_history_tells_who_decided_what_and_why(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold, quantity=Decimal("0.1"), price=Decimal(9)))
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "UNKNOWN", "RESOLVED"]
    [_, fields] = rig.redis.xrevrange(rig.keys.journal, count=1)[0]
    assert (fields["reason"], fields["detail"]) == (
        hold.order_id,
        "filled: seen at the venue (by me@host)",
    )
    assert orjson.loads(fields["note"]) == {
        "as": "filled",
        "by": "me@host",
        "reason": "seen at the venue",
        "attempt": 1,
        "filled_quantity": "0.1",
        "average_price": "9",
    }


async def test_whoever_was_sending_it_is_not_to_blame_for_what_comes_next(rig: Rig):
    hold = await sent(rig)
    rig.now_ms += WINDOW_MS + MARGIN_MS + 1
    assert rig.instruction(hold.head.alert_id)["running"] == hold.held.token
    await decide(rig, await decision(rig, hold))
    assert rig.instruction(hold.head.alert_id)["running"] == ""


async def test_what_was_filled_counts_in_the_comparison_with_the_venue(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold))
    [(_, fields)] = rig.redis.xrange(f"{rig.keys.prefix}fills:desk")
    assert (fields["market"], fields["order"]) == ("BTC", hold.order_id)
    assert fields["quantity"] == f"-{PLAN.quantity}"


async def test_what_was_not_executed_is_no_fill(rig: Rig):
    hold = await unknown(rig)
    await decide(rig, await decision(rig, hold, NOT_EXECUTED))
    assert not rig.redis.exists(f"{rig.keys.prefix}fills:desk")


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_nothing_is_decided_while_the_request_may_still_execute(rig: Rig, verdict: Verdict):
    hold = await sent(rig)
    expires_at_ms = int(rig.order(hold.order_id)["expires_at"])
    one = await decision(rig, hold, verdict)
    for now_ms in (rig.now_ms, expires_at_ms, expires_at_ms + MARGIN_MS):
        rig.now_ms = now_ms
        with rig.nothing_written():
            assert await decide(rig, one) == TooEarly(expires_at_ms + MARGIN_MS + 1 - now_ms)
    rig.now_ms += 1
    assert await decide(rig, one) == Decided()


@pytest.mark.parametrize(
    "state",
    [state for state in OrderState if state not in {OrderState.SENDING, OrderState.UNKNOWN}],
)
async def test_what_is_known_is_not_decided(rig: Rig, state: OrderState):
    hold = await unknown(rig)
    one = await decision(rig, hold)
    rig.redis.hset(rig.keys.order(hold.order_id), "state", state)
    with rig.nothing_written():
        assert await decide(rig, one) == NotOpen(state, 1)


async def rests_without_plan(rig: Rig, **fields: str) -> Hold:
    """Bring an order to where it rests, and nobody knows what it was."""
    hold = await unknown(rig)
    come_to_rest(rig, hold, **fields)
    return hold


def come_to_rest(rig: Rig, hold: Hold, **fields: str) -> None:
    report = codec.ORDER_REPORT.encode(OrderReport(order_id="venue-1", state=OrderState.ACCEPTED)).decode()
    key = rig.keys.order(hold.order_id)
    rig.redis.hset(key, mapping={"state": "ACCEPTED", "answer": report, **fields})
    rig.redis.hdel(key, "plan")


@pytest.mark.parametrize(
    ("verdict", "options", "state"),
    [(FILLED, {"quantity": Decimal(2)}, OrderState.FILLED), (NOT_EXECUTED, {}, OrderState.CANCELED)],
)
async def test_what_rested_and_nobody_can_follow_is_decided_and_never_sent_again(
    rig: Rig, verdict: Verdict, options: dict[str, Any], state: OrderState
):
    hold = await rests_without_plan(rig)
    assert await decide(rig, await decision(rig, hold, verdict, **options)) == Decided()
    order = rig.order(hold.order_id)
    report = codec.ORDER_REPORT.decode(order["answer"].encode())
    assert order["state"] == report.state == state
    assert report.filled_quantity == options.get("quantity", 0)
    assert await rig.begin(hold, attempt=2) == Moved()


async def test_what_was_filled_of_an_order_before_it_was_cancelled_stays_filled(rig: Rig):
    told = OrderReport(order_id="venue-1", state=OrderState.PARTIAL, filled_quantity=Decimal("0.4"))
    answer = codec.ORDER_REPORT.encode(told).decode()
    hold = await rests_without_plan(rig, state="PARTIAL", answer=answer)
    assert await decide(rig, await decision(rig, hold, NOT_EXECUTED)) == Decided()
    report = codec.ORDER_REPORT.decode(rig.order(hold.order_id)["answer"].encode())
    assert (report.state, report.filled_quantity) == (OrderState.CANCELED, Decimal("0.4"))


@pytest.mark.parametrize("known_by", ["its plan", "who follows it"])
async def test_what_rests_and_is_followed_is_not_decided(rig: Rig, known_by: str):
    hold = await rests_without_plan(rig)
    one = await decision(rig, hold, quantity=Decimal(2))
    if known_by == "its plan":
        rig.redis.hset(rig.keys.order(hold.order_id), "plan", codec.ORDER_PLAN.encode(PLAN))
    else:
        rig.redis.zadd(rig.keys.following, {hold.order_id: rig.now_ms})
    with rig.nothing_written():
        assert await decide(rig, one) == NotOpen(OrderState.ACCEPTED, 1)


async def test_what_has_come_to_rest_since_it_was_looked_at_is_not_sent_again(rig: Rig):
    hold = await unknown(rig)
    one = await decision(rig, hold, NOT_EXECUTED)
    come_to_rest(rig, hold)
    with rig.nothing_written():
        assert await decide(rig, one) == NotOpen(OrderState.ACCEPTED, 1)


async def test_a_word_about_an_earlier_attempt_is_not_taken(rig: Rig):
    hold = await sent(rig)
    one = await decision(rig, hold)
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1")
    await rig.go(hold, attempt=2, nonce="nonce-2")
    rig.now_ms += 100_000
    with rig.nothing_written():
        assert await decide(rig, one) == NotOpen(OrderState.SENDING, 2)


async def test_an_order_without_a_record_is_told(rig: Rig):
    hold = await unknown(rig)
    one = await decision(rig, hold)
    rig.lose(rig.keys.order(ClientOrderId(hold.order_id)))
    with rig.nothing_written():
        assert await decide(rig, one) == Forgotten()


async def test_of_two_who_decide_otherwise_one_is_heard(rig: Rig):
    hold = await unknown(rig)
    both = [await decision(rig, hold, verdict) for verdict in Verdict]
    answers = await asyncio.gather(*[decide(rig, one) for one in both])
    assert sorted(type(answer).__name__ for answer in answers) == ["Decided", "NotOpen"]
    assert rig.history(hold.head.alert_id).count("RESOLVED") == 1


@pytest.mark.parametrize("verdict", list(Verdict))
async def test_re_sent_after_a_lost_reply_it_is_decided_once(rig: Rig, verdict: Verdict):
    hold = await unknown(rig)
    one = await decision(rig, hold, verdict)
    assert await rig.lose_reply("decide", lambda: decide(rig, one)) == Decided()
    assert rig.history(hold.head.alert_id).count("RESOLVED") == 1


async def test_told_again_after_the_next_attempt_left_it_changes_nothing(rig: Rig):
    hold = await unknown(rig)
    one = await decision(rig, hold, NOT_EXECUTED)
    await decide(rig, one)
    await rig.go(hold, attempt=2, nonce="nonce-2")
    # Not by what Redis dumps: a long hash may dump in another order at any time.
    before = rig.order(hold.order_id), rig.instruction(hold.head.alert_id), rig.journal()
    assert await decide(rig, one) == Decided()
    assert (rig.order(hold.order_id), rig.instruction(hold.head.alert_id), rig.journal()) == before


async def given_up(rig: Rig) -> Hold:
    hold = await unknown(rig)
    await rig.settle(hold, InstructionState.DEAD, reason=Reason("outcome_unknown"), order=None)
    return hold


async def test_an_order_that_was_given_up_is_decided_and_keeps_its_expiry(rig: Rig):
    hold = await given_up(rig)
    assert await decide(rig, await decision(rig, hold)) == Decided()
    assert rig.order(hold.order_id)["state"] == "FILLED"
    assert rig.redis.pttl(rig.keys.order(hold.order_id)) > 0
    assert rig.instruction(hold.head.alert_id)["state"] == "DEAD"
    assert rig.history(hold.head.alert_id)[-1] == "RESOLVED"


async def test_an_order_whose_instruction_is_forgotten_leaves_no_record_of_it_behind(rig: Rig):
    hold = await given_up(rig)
    one = await decision(rig, hold)
    key = rig.keys.instruction(hold.head.alert_id, hold.head.account)
    rig.lose(key)
    assert await decide(rig, one) == Decided()
    assert not rig.redis.exists(key)
    assert rig.journal()[-1] == ("RESOLVED", hold.order_id)


async def test_at_the_memory_limit_it_is_decided_all_the_same(rig: Rig):
    hold = await unknown(rig)
    one = await decision(rig, hold)
    with rig.memory_limit_reached():
        assert await decide(rig, one) == Decided()


@pytest.mark.parametrize("spoiled", ["order", "instruction", "parked", "fills"])
async def test_with_a_record_that_cannot_be_used_nothing_is_written(rig: Rig, spoiled: str):
    hold = await unknown(rig)
    one = await decision(rig, hold)
    key = {
        "order": rig.keys.order(hold.order_id),
        "instruction": rig.keys.instruction(hold.head.alert_id, hold.head.account),
        "parked": rig.keys.parked,
        "fills": f"{rig.keys.prefix}fills:desk",
    }[spoiled]
    rig.spoil(key)
    with rig.nothing_written(), pytest.raises(StoreCorrupt):
        await decide(rig, one)
