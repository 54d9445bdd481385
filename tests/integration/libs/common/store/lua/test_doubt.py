"""Heads of which Redis may have forgotten an order: nothing is sent, and nothing ends, before it is looked up."""

from dataclasses import replace
from typing import Any

import pytest

from libs.common.domain.ids import Market, client_order_id
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Head, Moved, Stale
from libs.common.store.order_answers import Noted, TooEarly
from libs.common.store.orders import Doubt
from tests.integration.libs.common.store.lua.rig import RETENTION, START_MS, Hold, Rig
from tests.integration.libs.common.store.lua.test_replay import replay
from tests.support.rollback import Rollback

WINDOW_MS = 6_000


async def come_back(rig: Rig, run_id: str = "b") -> None:
    """Let Redis come back as another start, which may lack its newest writes."""
    await rig.run("incarnate", [], [run_id, "0", "0", str(WINDOW_MS), "", "0", "0"])


def doubt_of(hold: Hold, *, leg: int = 0, plan: bytes = b"") -> Doubt:
    order_id = client_order_id(hold.head.account, hold.head.alert_id, leg)
    return Doubt(hold.held, hold.head.entry_id, order_id, Market(hold.held.lane.split(":")[1]), plan)


async def doubt(rig: Rig, hold: Hold, **options: Any) -> object:
    return await rig.do(rig.orders(hold.holder).doubt.submit(doubt_of(hold, **options)))


async def suspect(rig: Rig) -> Hold:
    """Hold a head that is suspect."""
    await come_back(rig, "a")
    hold = await rig.hold()
    await come_back(rig)
    head = await rig.open(hold.held)
    assert isinstance(head, Head)
    return Hold(hold.held, head, hold.holder)


async def end(rig: Rig, hold: Hold) -> None:
    """Bring a head to its end, so that nothing is left."""
    order = rig.order(hold.order_id)
    attempt = int(order.get("attempt", "1"))
    await rig.settle(hold, attempt=attempt)


async def test_a_head_from_before_is_handed_out_as_suspect_and_one_from_after_is_not(rig: Rig):
    before = await suspect(rig)
    assert before.head.is_suspect
    rig.now_ms -= 3_600_000  # whatever the clock says
    after = await rig.hold("ETH")
    assert not after.head.is_suspect
    await rig.go(after)


async def test_a_suspect_head_is_not_begun(rig: Rig):
    hold = await suspect(rig)
    with rig.nothing_written():
        assert await rig.begin(hold) == Moved()


async def test_an_order_that_was_forgotten_is_not_sent_twice_by_the_begin_that_is_sent_again(rig: Rig):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold)
    await come_back(rig)
    # Same attempt, same nonce: another may have followed it in what is lost.
    assert await rig.begin(hold) == Moved()


async def test_a_suspect_head_does_not_end_before_it_was_looked_up(rig: Rig):
    hold = await suspect(rig)
    with rig.nothing_written():
        settled = await rig.settle(hold, InstructionState.EXPIRED, reason=Reason.TOO_OLD, order=None)
    assert settled == Moved()


async def test_an_end_that_an_older_attempt_met_is_not_believed(rig: Rig):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold)
    await come_back(rig)
    assert await rig.settle(hold, order=OrderState.REJECTED) == Moved()


async def test_a_suspect_head_that_nobody_can_read_ends(rig: Rig):
    hold = await suspect(rig)
    await rig.settle(hold, InstructionState.DEAD, reason=Reason.MALFORMED, order=None)
    assert rig.instruction(hold.head.alert_id)["state"] == "DEAD"


async def test_a_doubted_order_is_found_sending_until_the_last_forgotten_request_is_over(rig: Rig):
    hold = await suspect(rig)
    head = await doubt(rig, hold, plan=b'{"plan":7}')
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, order.attempt, order.expires_at_ms) == (OrderState.SENDING, 1, START_MS + WINDOW_MS)
    assert order.is_cleared
    assert head.plan == b'{"plan":7}'
    record = rig.order(hold.order_id)
    assert (record["nonce"], record["plan"], record["market"]) == ("", '{"plan":7}', "BTC")
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SUSPECTED"]
    # And the rules of such an order hold from here on.
    assert await rig.begin(hold, attempt=2) == Moved()
    assert isinstance(await rig.resolve(hold, None), TooEarly)
    rig.now_ms += WINDOW_MS + 1
    assert await rig.resolve(hold, None) == Noted(1)
    assert await rig.resolve(hold, OrderState.NOT_EXECUTED) == Noted(0)
    await rig.go(hold, attempt=2)


@pytest.mark.parametrize("before", [None, OrderState.SENDING])
async def test_of_what_never_comes_to_an_order_none_is_looked_up(rig: Rig, before: OrderState | None):
    hold = await suspect(rig)
    if before is not None:
        await doubt(rig, hold)
        await come_back(rig, "c")
    impossible = replace(doubt_of(hold), may_exist=False)
    head = await rig.do(rig.orders(hold.holder).doubt.submit(impossible))
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, order.is_cleared) == (OrderState.NOT_EXECUTED, True)
    await rig.settle(hold, InstructionState.EXECUTED, reason=Reason.CANCELED, order=None)
    assert rig.instruction(hold.head.alert_id)["state"] == "EXECUTED"


async def test_a_doubt_told_again_changes_nothing(rig: Rig):
    hold = await suspect(rig)
    head = await rig.lose_reply("doubt", lambda: rig.orders().doubt.submit(doubt_of(hold)))
    assert isinstance(head, Head)
    assert [order.attempt for order in head.orders] == [1]
    assert rig.history(hold.head.alert_id).count("SUSPECTED") == 1


async def test_the_attempt_after_the_last_known_is_doubted(rig: Rig):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold)
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1")
    await come_back(rig)
    assert await rig.begin(hold, attempt=2) == Moved()
    head = await doubt(rig, hold)
    assert isinstance(head, Head)
    assert [(order.state, order.attempt) for order in head.orders] == [(OrderState.SENDING, 2)]


@pytest.mark.parametrize("told_again", [b"", b'{"plan":2}'])
async def test_what_a_first_order_was_that_was_not_executed_is_forgotten(rig: Rig, told_again: bytes):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold)
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1")
    await come_back(rig)
    head = await rig.do(rig.orders(hold.holder).doubt.submit(replace(doubt_of(hold), plan=told_again)))
    # Planned anew in what was lost, another may have left under its id.
    assert isinstance(head, Head)
    assert head.plan == told_again


@pytest.mark.parametrize("state", [OrderState.SENDING, OrderState.UNKNOWN])
async def test_an_order_under_way_keeps_its_attempt_and_nobody_owns_it_any_more(rig: Rig, state: OrderState):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold, window_ms=500)
    if state is OrderState.UNKNOWN:
        await rig.resolve(hold, state)
    await come_back(rig)
    head = await doubt(rig, hold)
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, order.attempt, order.expires_at_ms) == (state, 1, START_MS + WINDOW_MS)
    # "Certainly never sent" was true of its own attempt; another may have followed.
    assert isinstance(await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="nonce-1"), TooEarly)


async def test_an_order_whose_end_is_known_stays_as_it_is(rig: Rig):
    await come_back(rig, "a")
    hold = await rig.hold()
    await rig.go(hold)
    filled = rig.finding(hold, OrderState.FILLED)
    await rig.do(rig.orders().resolve.submit(filled))
    await come_back(rig)
    with_order = rig.order(hold.order_id)
    await doubt(rig, hold)
    assert rig.order(hold.order_id) == with_order
    await end(rig, hold)
    assert rig.instruction(hold.head.alert_id)["state"] == "EXECUTED"


async def test_the_sender_of_what_was_forgotten_may_tell_its_end(rig: Rig):
    hold = await suspect(rig)
    await doubt(rig, hold)
    await end(rig, hold)
    assert rig.order(hold.order_id)["state"] == "FILLED"
    assert rig.instruction(hold.head.alert_id)["state"] == "EXECUTED"


async def test_a_second_fail_over_puts_it_in_doubt_again(rig: Rig):
    hold = await suspect(rig)
    await doubt(rig, hold)
    rig.now_ms += WINDOW_MS + 1
    await rig.resolve(hold, None)
    await rig.resolve(hold, OrderState.NOT_EXECUTED)
    await come_back(rig, "c")
    assert await rig.begin(hold, attempt=2) == Moved()
    head = await doubt(rig, hold)
    assert isinstance(head, Head)
    [order] = head.orders
    assert (order.state, order.attempt, order.misses) == (OrderState.SENDING, 2, 0)
    assert order.expires_at_ms == rig.now_ms + WINDOW_MS


async def test_a_clock_that_steps_back_does_not_make_a_doubt_longer_than_a_request(rig: Rig):
    hold = await suspect(rig)
    rig.now_ms -= 3_600_000
    head = await doubt(rig, hold)
    assert isinstance(head, Head)
    assert [order.expires_at_ms for order in head.orders] == [rig.now_ms + WINDOW_MS]


async def test_two_returns_at_one_time_both_put_it_in_doubt(rig: Rig):
    hold = await suspect(rig)
    await doubt(rig, hold)
    assert (await rig.begin(hold, attempt=2)) == Moved()
    await come_back(rig, "c")
    head = await rig.open(hold.held)
    assert isinstance(head, Head)
    assert [(order.attempt, order.is_cleared) for order in head.orders] == [(1, False)]


async def test_a_stale_holder_doubts_nothing(rig: Rig):
    hold = await suspect(rig)
    await rig.open(hold.held, "b")
    with rig.nothing_written():
        assert await doubt(rig, hold) == Stale()


async def test_what_is_not_the_head_is_not_doubted(rig: Rig):
    await come_back(rig, "a")
    hold = await rig.hold(alerts=2)
    await rig.go(hold)
    await end(rig, hold)
    await come_back(rig)
    assert await doubt(rig, hold) == Moved()


async def test_what_may_have_traded_does_not_expire_behind_a_waiting_head(rig: Rig):
    await come_back(rig, "a")
    await rig.admit(max_age_ms=3_600_000)
    behind = await rig.admit(max_age_ms=1_000)
    hold = await rig.take()
    await come_back(rig)
    await rig.park(hold)
    rig.now_ms += 2_000
    found = await rig.upkeep.audit(keep_dead_ms=RETENTION.replayable_ms)
    assert found.expired == 0
    assert rig.instruction(behind)["state"] == "QUEUED"


async def test_nor_does_one_whose_known_attempt_another_may_have_followed(rig: Rig):
    await come_back(rig, "a")
    first = await rig.hold()
    await rig.go(first)
    await rig.settle(
        first, InstructionState.REJECTED, reason=Reason.VENUE_REJECTED, order=OrderState.REJECTED
    )
    [(letter, _)] = rig.redis.xrange(rig.keys.dead)
    await rig.admit(max_age_ms=3_600_000)
    await replay(rig, letter, max_age_ms=1_000)
    hold = await rig.take()
    await come_back(rig)
    await rig.park(hold)
    rig.now_ms += 2_000
    found = await rig.upkeep.audit(keep_dead_ms=RETENTION.replayable_ms)
    assert found.expired == 0
    assert rig.instruction(first.head.alert_id)["state"] == "QUEUED"


async def test_an_order_that_executed_in_what_was_lost_is_not_sent_again(rig: Rig):
    rollback = Rollback(rig.redis)
    await come_back(rig, "a")
    hold = await rig.hold()
    rollback.keep()
    await rig.go(hold)
    await rig.settle(hold)
    rollback.fall_back()
    rig.look_anew()
    await come_back(rig)
    # The head again, which was executed: the same holder, with the same right to begin.
    assert await rig.begin(hold, nonce="nonce-2") == Moved()
