"""A lane is taken and its head begun in one call, as its token told what that is."""

from typing import Any

import pytest
from msgspec.structs import replace

from libs.common.domain.ids import AccountName, AlertId, EntryId, Holder
from libs.common.domain.lifecycle import OrderState
from libs.common.store.head import Closed, Head, Held, Moved, Queued, Stale
from libs.common.store.lanes import Delivered, Reader
from libs.common.store.order_answers import BegunNext, Go, Halted, Wait
from libs.common.store.orders import Taking
from tests.integration.libs.common.store.lua.rig import LEASE_MS, START_MS, Hold, Rig
from tests.integration.libs.common.store.lua.test_doubt import come_back
from tests.integration.libs.common.store.lua.test_halts import halt

FIRST, SECOND = AlertId("alert00001"), AlertId("alert00002")


async def read(rig: Rig, holder: str = "a") -> list[Delivered]:
    return await Reader(rig.client, rig.keys, Holder(holder))._read(">", 16, None)


def expected(one: Delivered, holder: str = "a") -> Hold:
    """Return the head of a lane as its token tells of it."""
    assert one.lane is not None
    assert one.head is not None
    told = one.head
    head = Head(told.entry_id, told.alert_id, told.account, told.version, told.body, 0, 0, b"", 0, 0, ())
    return Hold(Held(one.lane, one.token), head, holder)


def taking(rig: Rig, hold: Hold, **options: Any) -> Taking:
    return Taking(hold.head.alert_id, rig.intent(hold, **options))


async def take(rig: Rig, hold: Hold, **options: Any) -> Any:
    return await rig.do(rig.orders(hold.holder).take.submit(taking(rig, hold, **options)))


async def ready(rig: Rig, *, alerts: int = 1, **options: Any) -> Hold:
    """Admit alerts of one lane, and read its token."""
    for _ in range(alerts):
        await rig.admit(**options)
    [one] = await read(rig)
    return expected(one)


def as_begun(hold: Hold, answer: BegunNext) -> Hold:
    return Hold(hold.held, replace(hold.head, entry_id=answer.entry_id), hold.holder)


async def test_a_token_tells_what_it_was_issued_for(rig: Rig):
    alert = await rig.admit(body=b'{"n":1}')
    await rig.admit()
    [one] = await read(rig)
    assert one.head == Queued(EntryId(""), alert, AccountName("desk"), 1, b'{"n":1}', START_MS + 60_000)
    assert (await Reader(rig.client, rig.keys, Holder("a")).read_own()) == [one]


async def test_a_token_that_is_issued_again_tells_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    [one] = await read(rig)
    assert one.head is None


async def test_a_lane_is_taken_and_its_head_begun(rig: Rig):
    hold = await ready(rig)
    rig.now_ms += 40
    answer = await take(rig, hold)
    assert isinstance(answer, BegunNext)
    assert isinstance(answer.begun, Go)
    assert (answer.now_ms, answer.admitted_at_ms, answer.is_first) == (START_MS + 40, START_MS, True)
    assert rig.fence() == f"{hold.held.token}|a"
    record = rig.instruction(FIRST)
    assert (record["state"], record["running"], record["attempts"]) == ("ACTIVE", hold.held.token, "1")
    assert rig.order(hold.order_id)["state"] == "SENDING"
    assert rig.history(FIRST) == ["QUEUED", "SENDING"]
    assert await rig.settle(as_begun(hold, answer)) == Closed()
    assert rig.is_at_rest()


async def test_what_is_behind_is_told_too(rig: Rig):
    hold = await ready(rig, alerts=2)
    answer = await take(rig, hold, wants_successor=True)
    assert answer.begun.successor.alert_id == SECOND


async def test_sent_again_after_a_lost_reply_it_answers_the_same_go(rig: Rig):
    hold = await ready(rig)
    one = taking(rig, hold, account=(1_000_000, 2))
    answer = await rig.lose_reply("take", lambda: rig.orders().take.submit(one))
    assert isinstance(answer.begun, Go)
    assert not answer.is_first
    assert rig.history(FIRST) == ["QUEUED", "SENDING"]
    bucket = rig.redis.get(rig.keys.account_bucket("desk"))
    assert int(bucket.split("|")[0]) == (START_MS + 1_000) * 1_000


async def test_a_token_that_is_no_longer_current_takes_nothing_and_goes(rig: Rig):
    hold = await ready(rig)
    rig.redis.hset(rig.keys.lanes, hold.held.lane, "9-9|")
    assert await take(rig, hold) == Stale()
    assert rig.order(hold.order_id) == {}
    assert rig.pending() == {}


async def test_a_token_that_reached_two_makes_one_order(rig: Rig):
    hold = await ready(rig)
    await take(rig, hold, nonce="of a")
    other = Hold(hold.held, hold.head, "b")
    answer = await take(rig, other, nonce="of b")
    assert answer.begun == Moved()
    head = await rig.open(hold.held, "b")
    [order] = head.orders
    assert (order.state, order.attempt) == (OrderState.SENDING, 1)
    assert rig.order(hold.order_id)["nonce"] == "of a"
    await rig.settle(Hold(hold.held, head, "b"))


async def test_another_head_than_was_expected_is_handed_out(rig: Rig):
    hold = await ready(rig, alerts=2)
    [(first, _), _] = rig.redis.xrange(rig.keys.lane(hold.held.lane))
    rig.redis.xdel(rig.keys.lane(hold.held.lane), first)
    answer = await take(rig, hold)
    assert isinstance(answer, Head)
    assert answer.alert_id == SECOND
    assert rig.order(hold.order_id) == {}
    assert rig.fence() == f"{hold.held.token}|a"


async def test_an_empty_lane_is_closed(rig: Rig):
    hold = await ready(rig)
    rig.redis.delete(rig.keys.lane(hold.held.lane))
    assert await take(rig, hold) == Closed()
    assert rig.tokens() == []


@pytest.mark.parametrize(
    ("field", "value"), [("lost_holders", "1"), ("plan", '{"legs":[]}'), ("orders", "another")]
)
async def test_one_of_which_more_is_on_record_is_handed_out(rig: Rig, field: str, value: str):
    hold = await ready(rig)
    rig.redis.hset(rig.keys.instruction(FIRST, "desk"), field, value)
    rig.redis.hset(rig.keys.order("another"), mapping={"state": "NOT_EXECUTED", "attempt": "1"})
    assert isinstance(await take(rig, hold), Head)
    assert rig.order(hold.order_id) == {}


async def test_one_that_may_have_left_before_redis_came_back_is_handed_out(rig: Rig):
    await come_back(rig, "a")
    hold = await ready(rig)
    await come_back(rig)
    answer = await take(rig, hold)
    assert isinstance(answer, Head)
    assert answer.is_suspect
    assert rig.order(hold.order_id) == {}


async def test_one_that_is_halted_or_must_wait_is_told_so_and_the_lane_is_held(rig: Rig):
    hold = await ready(rig)
    scope = halt(rig, "reject")
    assert (await take(rig, hold)).begun == Halted(f"reject of {scope}: why")
    halt(rig, "pause")
    assert isinstance((await take(rig, hold)).begun, Wait)
    assert rig.instruction(FIRST)["state"] == "ACTIVE"
    assert rig.fence() == f"{hold.held.token}|a"


async def test_an_entry_that_nobody_can_read_is_a_dead_letter_first(rig: Rig):
    hold = await ready(rig)
    lane = rig.keys.lane(hold.held.lane)
    [(_, fields)] = rig.redis.xrange(lane)
    rig.redis.delete(lane)
    rig.redis.xadd(lane, {"words": "of somebody"})
    rig.redis.xadd(lane, fields)
    assert isinstance((await take(rig, hold)).begun, Go)
    [letter] = rig.letters()
    assert letter["reason"] == "malformed"


@pytest.mark.parametrize("is_young", [True, False])
async def test_only_a_lease_that_is_not_young_is_renewed(rig: Rig, is_young: bool):
    hold = await ready(rig)
    rig.redis.xclaim(rig.keys.ready, "workers", "a", 0, [hold.held.token], idle=LEASE_MS - 1_000, justid=True)
    await take(rig, hold, is_lease_young=is_young)
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 1)
    assert (entry["time_since_delivered"] >= LEASE_MS - 1_000) == is_young
