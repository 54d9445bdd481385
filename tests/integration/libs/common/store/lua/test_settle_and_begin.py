"""The end of one instruction and the begin of the next, in one call."""

from typing import Any

import pytest
from msgspec.structs import replace

from libs.common.domain.ids import AccountName, AlertId
from libs.common.domain.reasons import Reason
from libs.common.store.head import Closed, HandedBack, Head, Moved, Queued
from libs.common.store.order_answers import BegunNext, Expired, Go, Halted, OverBudget, Wait
from libs.common.store.orders import GoesBack, Settlement
from tests.integration.libs.common.store.lua.rig import LEASE_MS, START_MS, Hold, Rig
from tests.integration.libs.common.store.lua.test_doubt import come_back
from tests.integration.libs.common.store.lua.test_halts import halt

FIRST, SECOND, THIRD = AlertId("alert00001"), AlertId("alert00002"), AlertId("alert00003")
DESK = AccountName("desk")


async def begun(rig: Rig, *, alerts: int = 2, market: str = "BTC") -> Hold:
    """Hold a lane whose head was begun and has others behind it."""
    hold = await rig.hold(market, alerts=alerts)
    await rig.go(hold)
    return hold


def behind(rig: Rig, hold: Hold) -> Hold:
    """Return the instruction behind the head, as its holder knows it."""
    _, (entry_id, fields), *_ = rig.redis.xrange(rig.keys.lane(hold.held.lane))
    return Hold(
        hold.held, replace(hold.head, entry_id=entry_id, alert_id=fields.get("alert", "none")), hold.holder
    )


def ending(rig: Rig, hold: Hold, *, goes_back: GoesBack = GoesBack.NO, **options: Any) -> Settlement:
    """Return the end of the head, with the intent of what is behind it."""
    intent = rig.intent(behind(rig, hold), **{"nonce": "nonce-2", **options})
    return replace(rig.settlement(hold, goes_back=goes_back), intent=intent)


async def settle(rig: Rig, hold: Hold, **options: Any) -> Any:
    return await rig.do(rig.orders(hold.holder).settle.submit(ending(rig, hold, **options)))


async def test_the_next_instruction_is_begun_with_the_end_of_the_head(rig: Rig):
    hold = await begun(rig)
    following = behind(rig, hold)
    rig.now_ms += 40
    answer = await settle(rig, hold)
    assert isinstance(answer, BegunNext)
    assert isinstance(answer.begun, Go)
    assert (answer.now_ms, answer.admitted_at_ms, answer.is_first) == (START_MS + 40, START_MS, True)
    assert (answer.begun.expires_at_ms, answer.begun.left_ms) == (START_MS + 5_040, 5_000)
    record = rig.instruction(SECOND)
    assert (record["state"], record["running"], record["attempts"]) == ("ACTIVE", hold.held.token, "1")
    assert record["orders"] == following.order_id
    order = rig.order(following.order_id)
    assert (order["state"], order["attempt"], order["nonce"]) == ("SENDING", "1", "nonce-2")
    assert rig.history(FIRST) == ["QUEUED", "SENDING", "EXECUTED"]
    assert rig.history(SECOND) == ["QUEUED", "SENDING"]
    assert await rig.settle(following) == Closed()
    assert rig.is_at_rest()


async def test_what_is_behind_is_told_with_a_go_where_it_is_wanted(rig: Rig):
    hold = await rig.hold(alerts=3, body=b'{"n":1}')
    go = await rig.go(hold, wants_successor=True)
    expected = Queued(
        behind(rig, hold).head.entry_id,
        SECOND,
        DESK,
        1,
        b'{"n":1}',
        START_MS + 60_000,
    )
    assert go.successor == expected
    assert (await rig.go(hold, wants_successor=True)).successor == expected
    assert (await rig.go(hold)).successor is None
    following, unwanted = behind(rig, hold), ending(rig, hold)
    answer = await settle(rig, hold, wants_successor=True)
    assert answer.begun.successor.alert_id == THIRD
    assert (await rig.do(rig.orders().settle.submit(unwanted))).begun.successor is None
    last = behind(rig, following)
    assert (await settle(rig, following, wants_successor=True)).begun.successor is None
    assert await rig.settle(last) == Closed()


async def test_of_an_entry_behind_that_nobody_can_read_nothing_is_told(rig: Rig):
    hold = await rig.hold()
    rig.redis.xadd(rig.keys.lane(hold.held.lane), {"words": "of somebody"})
    assert (await rig.go(hold, wants_successor=True)).successor is None
    assert await settle(rig, hold) == Closed()
    [letter] = rig.letters()
    assert letter["reason"] == "malformed"


async def test_sent_again_after_a_lost_reply_it_answers_the_same_go_and_writes_nothing_twice(rig: Rig):
    hold = await begun(rig, alerts=3)
    settlement = ending(rig, hold, account=(1_000_000, 2), wants_successor=True)
    answer = await rig.lose_reply("settle", lambda: rig.orders().settle.submit(settlement))
    assert isinstance(answer.begun, Go)
    assert answer.begun.successor is not None
    assert answer.begun.successor.alert_id == THIRD
    assert not answer.is_first
    assert rig.history(SECOND) == ["QUEUED", "SENDING"]
    bucket = rig.redis.get(rig.keys.account_bucket("desk"))
    assert int(bucket.split("|")[0]) == (START_MS + 1_000) * 1_000


@pytest.mark.parametrize("goes_back", [GoesBack.ALWAYS, GoesBack.IF_WANTED])
async def test_a_lane_that_goes_back_takes_its_next_instruction_along_untouched(
    rig: Rig, goes_back: GoesBack
):
    hold = await begun(rig)
    following = behind(rig, hold)
    await rig.admit("ETH")
    assert await settle(rig, hold, goes_back=goes_back) == HandedBack()
    assert rig.instruction(SECOND)["state"] == "QUEUED"
    assert rig.order(following.order_id) == {}


async def test_another_one_than_was_expected_is_handed_out_and_not_begun(rig: Rig):
    hold = await begun(rig, alerts=3)
    settlement = ending(rig, hold)
    rig.redis.xdel(rig.keys.lane(hold.held.lane), behind(rig, hold).head.entry_id)
    answer = await rig.do(rig.orders().settle.submit(settlement))
    assert isinstance(answer, Head)
    assert (answer.alert_id, answer.orders) == (THIRD, ())


async def test_what_is_the_last_one_after_all_closes_the_lane(rig: Rig):
    hold = await begun(rig)
    settlement = ending(rig, hold)
    rig.redis.xdel(rig.keys.lane(hold.held.lane), behind(rig, hold).head.entry_id)
    assert await rig.do(rig.orders().settle.submit(settlement)) == Closed()


@pytest.mark.parametrize("has_intent", [True, False])
async def test_a_lane_that_somebody_emptied_meanwhile_is_closed(rig: Rig, has_intent: bool):
    hold = await begun(rig)
    settlement = ending(rig, hold) if has_intent else rig.settlement(hold)
    for entry in rig.redis.xrange(rig.keys.lane(hold.held.lane)):
        rig.redis.xdel(rig.keys.lane(hold.held.lane), entry[0])
    assert await rig.do(rig.orders().settle.submit(settlement)) == Closed()
    assert not rig.redis.exists(rig.keys.lane(hold.held.lane))


@pytest.mark.parametrize(
    ("field", "value"), [("lost_holders", "1"), ("plan", '{"legs":[]}'), ("orders", "another")]
)
async def test_one_of_which_more_is_on_record_is_handed_out_and_not_begun(rig: Rig, field: str, value: str):
    hold = await begun(rig)
    following = behind(rig, hold)
    rig.redis.hset(rig.keys.instruction(SECOND, "desk"), field, value)
    rig.redis.hset(rig.keys.order("another"), mapping={"state": "NOT_EXECUTED", "attempt": "1"})
    answer = await settle(rig, hold)
    assert isinstance(answer, Head)
    assert answer.alert_id == SECOND
    assert rig.order(following.order_id) == {}
    assert rig.instruction(SECOND)["state"] == "ACTIVE"


async def test_one_that_may_have_left_before_redis_came_back_is_handed_out_and_not_begun(rig: Rig):
    hold = await begun(rig)
    following = behind(rig, hold)
    await come_back(rig, "a")
    await come_back(rig)
    rig.redis.hset(rig.keys.instruction(FIRST, "desk"), "epoch", rig.redis.hget(rig.keys.meta, "epoch"))
    answer = await settle(rig, hold)
    assert isinstance(answer, Head)
    assert answer.is_suspect
    assert rig.order(following.order_id) == {}


async def test_a_head_that_cannot_end_yet_has_nothing_begun_behind_it(rig: Rig):
    hold = await begun(rig)
    following = behind(rig, hold)
    settlement = replace(ending(rig, hold), order=None)
    with rig.nothing_written():
        assert await rig.do(rig.orders().settle.submit(settlement)) == Moved()
    assert rig.order(following.order_id) == {}


async def test_one_that_must_wait_is_on_record_as_handed_out_and_as_nobodys_fault(rig: Rig):
    hold = await begun(rig)
    limit = (10_000_000, 1)
    other = await rig.hold("ETH", holder="b")
    await rig.go(other, account=limit)
    following = behind(rig, hold)
    answer = await settle(rig, hold, account=limit)
    assert isinstance(answer.begun, Wait)
    assert answer.begun.reason is Reason.RATE_LIMIT
    record = rig.instruction(SECOND)
    assert (record["state"], record["running"]) == ("ACTIVE", "")
    assert rig.order(following.order_id) == {}
    # Its slot is its own.
    rig.now_ms = answer.begun.until_ms
    assert isinstance(await rig.begin(following, account=limit), Go)


async def test_one_that_must_wait_a_moment_has_its_go_and_waits_in_place(rig: Rig):
    hold = await begun(rig)
    limit = (200_000, 1)
    other = await rig.hold("ETH", holder="b")
    await rig.go(other, account=limit)
    # Nothing is reserved, but what left fills the gate.
    bucket = rig.keys.account_bucket("desk")
    _, gate, late, seen = rig.redis.get(bucket).split("|")
    rig.redis.set(bucket, f"0|{gate}|{late}|{seen}", ex=60)
    answer = await settle(rig, hold, account=limit)
    assert isinstance(answer.begun, Go)
    assert answer.begun.wait_ms == 200


async def test_one_that_is_the_probe_of_a_breaker_has_the_time_of_one(rig: Rig):
    hold = await begun(rig, alerts=3)
    rig.redis.hset(rig.keys.breakers, "desk:BTC", f"open|3|{START_MS}|0")
    answer = await settle(rig, hold, probe_ms=700)
    assert (answer.begun.market_breaker.generation, answer.begun.market_breaker.is_probe) == (3, True)
    assert rig.redis.hget(rig.keys.breakers, "desk:BTC") == f"open|3|{START_MS}|{START_MS + 700}"


async def test_one_that_is_halted_refused_or_too_old_is_told_so(rig: Rig):
    hold = await begun(rig)
    scope = halt(rig, "reject")
    assert (await settle(rig, hold)).begun == Halted(f"reject of {scope}: why")
    assert rig.instruction(SECOND)["state"] == "ACTIVE"


async def test_one_that_a_limit_of_the_account_refuses_is_told_so(rig: Rig):
    hold = await begun(rig)
    budgets = b'[{"rule":"orders_a_minute","limit":1,"measure":"minute","base":2,"add":0}]'
    assert (await settle(rig, hold, budgets=budgets)).begun == OverBudget("orders_a_minute", "1", "2")
    assert rig.instruction(SECOND)["state"] == "ACTIVE"


async def test_one_that_is_too_old_by_then_is_told_so(rig: Rig):
    hold = await begun(rig)
    rig.now_ms += 60_000
    assert (await settle(rig, hold)).begun == Expired()
    assert rig.instruction(SECOND)["state"] == "ACTIVE"


async def test_what_fails_as_it_is_begun_is_handed_out(rig: Rig):
    hold = await begun(rig)
    following = behind(rig, hold)
    rig.redis.rpush(rig.keys.order(following.order_id), "no hash")
    answer = await settle(rig, hold)
    assert isinstance(answer, Head)
    assert answer.alert_id == SECOND
    assert rig.history(FIRST) == ["QUEUED", "SENDING", "EXECUTED"]
    rig.redis.delete(rig.keys.order(following.order_id))


@pytest.mark.parametrize("is_young", [True, False])
async def test_only_a_lease_that_is_not_young_is_renewed(rig: Rig, is_young: bool):
    hold = await begun(rig)
    rig.redis.xclaim(rig.keys.ready, "workers", "a", 0, [hold.held.token], idle=LEASE_MS - 1_000, justid=True)
    await settle(rig, hold, is_lease_young=is_young)
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 1)
    assert (entry["time_since_delivered"] >= LEASE_MS - 1_000) == is_young


async def test_each_of_several_gets_the_answer_of_its_own_intent(rig: Rig):
    holds = [await begun(rig, market=market) for market in ("A", "B", "C")]
    settlements = [
        ending(rig, holds[0], window_ms=1_000),
        rig.settlement(holds[1]),
        ending(rig, holds[2], window_ms=3_000),
    ]
    one, two, three = await rig.do(*[rig.orders().settle.submit(each) for each in settlements])
    assert one.begun.expires_at_ms == START_MS + 1_000
    assert isinstance(two, Head)
    assert three.begun.expires_at_ms == START_MS + 3_000
