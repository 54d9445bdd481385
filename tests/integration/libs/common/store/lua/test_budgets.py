"""Account-wide risk limits: what many lanes reserve at one instant is never more than there is."""

import json
from functools import partial

from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.order_answers import Go, OverBudget
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig


def budgets(rule: str, measure: str, *, base: str = "0", limit: str, add: str) -> bytes:
    return json.dumps([{"rule": rule, "measure": measure, "base": base, "limit": limit, "add": add}]).encode()


ORDERS = budgets("max_open_orders", "orders", limit="3", add="1")
VALUE = budgets("max_exposure", "value", base="400", limit="1000", add="250")
MINUTE = budgets("max_orders_per_minute", "minute", limit="2", add="1")


async def ask(rig: Rig, hold: Hold, encoded: bytes, *, read_at_ms: int = START_MS) -> object:
    return await rig.begin(hold, budgets=encoded, read_at_ms=read_at_ms)


async def holds(rig: Rig, count: int) -> list[Hold]:
    return [await rig.hold(f"M{number}") for number in range(count)]


async def test_of_many_lanes_at_one_instant_no_more_go_than_the_limit_has_room_for(rig: Rig):
    lanes = await holds(rig, 8)
    answers = await rig.do(
        *[rig.orders().begin.submit(rig.intent(one, budgets=ORDERS, read_at_ms=START_MS)) for one in lanes]
    )
    assert sum(isinstance(answer, Go) for answer in answers) == 3
    assert {answer for answer in answers if not isinstance(answer, Go)} == {
        OverBudget("max_open_orders", "3", "4")
    }


async def test_values_are_added_to_what_was_read(rig: Rig):
    first, second, third = await holds(rig, 3)
    assert isinstance(await ask(rig, first, VALUE), Go)
    assert isinstance(await ask(rig, second, VALUE), Go)
    assert await ask(rig, third, VALUE) == OverBudget("max_exposure", "1000", "1150")
    assert not rig.order(third.order_id)


async def test_a_call_told_twice_reserves_once(rig: Rig):
    lanes = await holds(rig, 4)
    for hold in lanes[:3]:
        await rig.lose_reply("begin", partial(ask, rig, hold, ORDERS))
    assert await ask(rig, lanes[3], ORDERS) == OverBudget("max_open_orders", "3", "4")


async def test_what_has_ended_counts_until_the_venue_was_read_after_it(rig: Rig):
    *lanes, late = await holds(rig, 4)
    for hold in lanes:
        await ask(rig, hold, ORDERS)
    rig.now_ms += 1_000
    for hold in lanes:
        await rig.settle(hold)
    # Its reading was taken while they were under way, so it may not have seen what they filled.
    assert isinstance(await ask(rig, late, ORDERS, read_at_ms=START_MS + 500), OverBudget)
    rig.now_ms += 1
    assert isinstance(await ask(rig, late, ORDERS, read_at_ms=rig.now_ms), Go)


async def test_an_instruction_that_ends_without_an_order_gives_back_what_it_held(rig: Rig):
    *lanes, late = await holds(rig, 4)
    for hold in lanes:
        await ask(rig, hold, ORDERS)
        await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1")
        await rig.settle(hold, InstructionState.EXPIRED, reason=Reason.TOO_OLD, order=None)
    rig.now_ms += 1
    assert isinstance(await ask(rig, late, ORDERS, read_at_ms=rig.now_ms), Go)


async def test_orders_of_a_minute_are_counted_whatever_became_of_them(rig: Rig):
    first, second, third = await holds(rig, 3)
    for hold in (first, second):
        await ask(rig, hold, MINUTE)
        await rig.settle(hold)
    rig.now_ms += 59_000
    assert await ask(rig, third, MINUTE, read_at_ms=rig.now_ms) == OverBudget(
        "max_orders_per_minute", "2", "3"
    )
    await rig.do(rig.lanes().renew([third.held]))
    rig.now_ms += 1_000
    assert not isinstance(await ask(rig, third, MINUTE, read_at_ms=rig.now_ms), OverBudget)


async def test_reservations_are_forgotten_once_no_reading_is_that_old(rig: Rig):
    first = await rig.hold()
    await ask(rig, first, ORDERS)
    await rig.settle(first)
    rig.now_ms += 121_000
    await ask(rig, await rig.hold("late"), ORDERS, read_at_ms=rig.now_ms)
    assert first.order_id not in rig.redis.hgetall(f"{rig.keys.prefix}risk:desk")


async def test_what_fits_exactly_is_let_through(rig: Rig):
    hold = await rig.hold()
    exact = budgets("max_exposure", "value", base="0.1", limit="0.3", add="0.2")
    assert isinstance(await ask(rig, hold, exact), Go)
