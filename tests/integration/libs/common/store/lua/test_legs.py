"""Instructions of two orders, and orders that rest when their instruction ends."""

import pytest

from libs.common.domain.ids import ClientOrderId, client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Closed, Head, Moved
from libs.common.store.order_answers import Go, Noted, Wait
from libs.common.store.orders import Finding, OrderOutcome, Settlement
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig


def finding(hold: Hold, state: OrderState, *, filled: str = "") -> Finding:
    return Finding(
        hold.held, hold.order_id, 1, state, None, 0, answer=b'{"r":1}', market="BTC", filled=filled
    )


def second_order(hold: Hold) -> ClientOrderId:
    return client_order_id(hold.head.account, hold.head.alert_id, 1)


async def note(rig: Rig, hold: Hold, state: OrderState, **options: str) -> object:
    return await rig.do(rig.orders().resolve.submit(finding(hold, state, **options)))


async def test_the_second_order_follows_the_first_under_one_plan(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, plan=b"first", whole_plan=b"both")
    assert await note(rig, hold, OrderState.FILLED) == Noted(0)
    await rig.go(hold, client_order_id=second_order(hold), plan=b"second", whole_plan=b"both")
    record = rig.instruction(hold.head.alert_id)
    assert record["plan"] == "both"
    assert record["orders"] == f"{hold.order_id} {second_order(hold)}"
    assert rig.order(hold.order_id)["plan"] == "first"
    assert rig.order(second_order(hold))["plan"] == "second"


async def test_what_the_first_came_to_is_handed_out_with_the_head(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.FILLED)
    head = await rig.open(hold.held)
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, order.answer) == (OrderState.FILLED, b'{"r":1}')


async def test_the_first_is_never_begun_again_once_it_is_filled(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.FILLED)
    assert isinstance(await rig.begin(hold, attempt=2, nonce="other"), Moved)


async def test_a_finding_told_twice_is_written_once(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await rig.lose_reply("resolve", lambda: note(rig, hold, OrderState.FILLED, filled="1"))
    assert rig.journal().count(("ORDER_FILLED", hold.order_id)) == 1
    assert rig.redis.xlen(f"{rig.keys.prefix}fills:desk") == 1


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.CANCELED])
async def test_an_order_that_rested_for_a_while_moves_on_to_its_end(rig: Rig, state: OrderState):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.ACCEPTED)
    assert "ended_at" not in rig.order(hold.order_id)
    assert await note(rig, hold, state) == Noted(0)
    assert rig.order(hold.order_id)["state"] == state
    assert isinstance(await note(rig, hold, OrderState.PARTIAL), Moved)


@pytest.mark.parametrize("state", [OrderState.ACCEPTED, OrderState.REJECTED])
async def test_what_was_filled_in_part_is_not_made_an_order_without_fills_again(rig: Rig, state: OrderState):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.PARTIAL, filled="1")
    # A venue's look-up may lag behind what it said before.
    with rig.nothing_written():
        assert isinstance(await note(rig, hold, state), Moved)


async def test_each_order_has_its_own_slot_under_a_rate_limit(rig: Rig):
    limit = (1_000_000, 1)
    await rig.go(await rig.hold("ETH"), account=limit)
    hold = await rig.hold()
    assert (await rig.begin(hold, account=limit)).until_ms == START_MS + 1_000
    rig.now_ms += 1_000
    await rig.go(hold, account=limit)
    await note(rig, hold, OrderState.FILLED)
    second = {"client_order_id": second_order(hold), "account": limit}
    waits = await rig.begin(hold, **second)
    assert waits == Wait(START_MS + 2_000, Reason.RATE_LIMIT, START_MS + 1_000)
    third = await rig.hold("XRP")
    assert (await rig.begin(third, account=limit)).until_ms == START_MS + 3_000
    rig.now_ms = waits.until_ms
    assert isinstance(await rig.begin(hold, **second), Go)


async def test_an_instruction_does_not_end_while_its_second_order_may_execute(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.FILLED)
    await rig.go(hold, client_order_id=second_order(hold))
    ends = Settlement(hold.held, hold.head.entry_id, InstructionState.REJECTED, Reason.NOT_CONFIRMED, "")
    assert isinstance(await rig.do(rig.orders().settle.submit(ends)), Moved)


@pytest.mark.parametrize("state", [OrderState.ACCEPTED, OrderState.PARTIAL])
async def test_an_order_that_rests_is_followed_from_its_instructions_end_on(rig: Rig, state: OrderState):
    hold = await rig.hold()
    await rig.go(hold)
    await rig.settle(hold, order=state, reason=Reason.ACCEPTED)
    following = f"{rig.keys.prefix}following"
    assert rig.redis.zscore(following, hold.order_id) == START_MS
    assert rig.redis.pttl(rig.keys.order(hold.order_id)) == -1
    assert "ended_at" not in rig.order(hold.order_id)


async def test_a_first_order_that_rests_when_its_instruction_ends_is_followed_too(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await note(rig, hold, OrderState.PARTIAL)
    ends = Settlement(hold.held, hold.head.entry_id, InstructionState.EXPIRED, Reason.NOT_CONFIRMED, "")
    assert await rig.do(rig.orders().settle.submit(ends)) == Closed()
    assert rig.redis.zscore(f"{rig.keys.prefix}following", hold.order_id) == START_MS
    assert rig.redis.pttl(rig.keys.order(hold.order_id)) == -1


async def test_an_order_that_ended_is_not_followed(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await rig.settle(hold)
    assert not rig.redis.exists(f"{rig.keys.prefix}following")
    assert rig.redis.pttl(rig.keys.order(hold.order_id)) > 0


async def test_fills_are_noted_once_where_positions_are_compared(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    outcome = OrderOutcome(hold.order_id, 1, OrderState.FILLED, b"{}", "BTC", "-0.000000000000000001")
    ends = Settlement(hold.held, hold.head.entry_id, InstructionState.EXECUTED, Reason.FILLED, "", outcome)
    await rig.lose_reply("settle", lambda: rig.do(rig.orders().settle.submit(ends)))
    [(_, fields)] = rig.redis.xrange(f"{rig.keys.prefix}fills:desk")
    assert fields == {
        "market": "BTC",
        "order": hold.order_id,
        "quantity": "-0.000000000000000001",
        "at": str(START_MS),
    }


async def test_an_account_may_rather_lose_sight_of_an_order_than_hold_its_lane(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.go(hold)
    await rig.resolve(hold, OrderState.UNKNOWN)
    ends = Settlement(hold.held, hold.head.entry_id, InstructionState.DEAD, Reason.OUTCOME_UNKNOWN, "")
    following = await rig.do(rig.orders().settle.submit(ends))
    assert isinstance(following, Head)
    assert following.alert_id != hold.head.alert_id
    assert rig.order(hold.order_id)["state"] == "UNKNOWN"
    assert rig.redis.xlen(rig.keys.dead) == 1
