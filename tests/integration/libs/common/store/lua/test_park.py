import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.reasons import Reason
from libs.common.store.head import Closed, HandedBack, Stale
from libs.common.store.lanes import Parking
from tests.integration.libs.common.store.lua.rig import START_MS, Rig


async def test_a_parked_lane_has_no_token_no_fence_and_a_due_time(rig: Rig):
    hold = await rig.hold()
    rig.now_ms += 100
    assert await rig.park(hold, 1_500) == HandedBack()
    assert rig.tokens() == []
    assert rig.pending() == {}
    assert rig.fence() is None
    assert rig.redis.zscore(rig.keys.parked, "desk:BTC") == START_MS + 1_600
    assert rig.instruction(hold.head.alert_id)["running"] == ""
    assert rig.history(hold.head.alert_id) == ["QUEUED", "PARKED"]
    assert rig.journal()[-1] == ("PARKED", "back_off")


async def test_the_due_time_may_be_given_as_it_is(rig: Rig):
    hold = await rig.hold()
    await rig.park(hold, wait_ms=None, due_at_ms=START_MS + 77)
    assert rig.redis.zscore(rig.keys.parked, "desk:BTC") == START_MS + 77


async def test_a_lane_that_was_read_but_not_opened_may_be_parked_too(rig: Rig):
    alert = await rig.admit()
    [held] = await rig.read()
    assert await rig.do(rig.lanes().park.submit(Parking(held, 50, 0, Reason.BUSY))) == HandedBack()
    assert rig.instruction(alert)["state"] == "QUEUED"
    assert rig.redis.zcard(rig.keys.parked) == 1


async def test_a_long_wait_for_one_reason_is_one_line_of_history(rig: Rig):
    hold = await rig.hold()
    for reason in (Reason.RATE_LIMIT, Reason.RATE_LIMIT, Reason.RESOLVING, Reason.RESOLVING):
        await rig.park(hold, 0, reason=reason)
        await rig.do(rig.upkeep.promote())
        hold = await rig.take()
    assert rig.history(hold.head.alert_id) == ["QUEUED", "PARKED", "PARKED"]


async def test_a_failure_counts_against_the_head_each_time(rig: Rig):
    hold = await rig.hold()
    for n in (1, 2):
        await rig.park(hold, 0, reason=Reason.FAILED, is_to_blame=True)
        await rig.do(rig.upkeep.promote())
        hold = await rig.take()
        assert hold.head.lost_holders == n
    assert rig.history(hold.head.alert_id) == ["QUEUED", "PARKED", "PARKED"]


async def test_an_empty_lane_is_closed_instead(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    [held] = await rig.read()
    assert await rig.do(rig.lanes().park.submit(Parking(held, 50, 0, Reason.BUSY))) == Closed()
    assert rig.is_at_rest()


async def test_re_sent_after_a_lost_reply_it_blames_once_and_keeps_the_due_time(rig: Rig):
    hold = await rig.hold()
    parking = rig.parking(hold, is_to_blame=True, reason=Reason.FAILED)
    answer = await rig.lose_reply("park", lambda: rig.lanes().park.submit(parking))
    assert answer == Stale()  # either way it is ours no longer
    assert rig.instruction(hold.head.alert_id)["lost_holders"] == "1"
    assert rig.redis.zscore(rig.keys.parked, "desk:BTC") == START_MS + 1_000
    assert rig.history(hold.head.alert_id) == ["QUEUED", "PARKED"]


async def test_another_holder_of_the_same_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        other = rig.lanes("b").park.submit(rig.parking(hold, is_to_blame=True))
        assert await rig.do(other) == Stale()


async def test_a_holder_of_an_old_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.park(hold, 0)
    with rig.nothing_written():
        assert await rig.park(hold, 99_000, is_to_blame=True) == Stale()
    await rig.do(rig.upkeep.promote())
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.park(hold, 99_000, is_to_blame=True) == Stale()


async def test_at_the_memory_limit_lanes_are_parked_all_the_same(rig: Rig):
    hold = await rig.hold()
    with rig.memory_limit_reached():
        assert await rig.park(hold) == HandedBack()
    assert rig.redis.zcard(rig.keys.parked) == 1


@pytest.mark.parametrize("what", ["lane", "instruction"])
async def test_one_bad_lane_in_a_batch_fails_alone_and_keeps_its_token(rig: Rig, what: str):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    bad = holds[1]
    key = {
        "lane": rig.keys.lane(bad.held.lane),
        "instruction": rig.keys.instruction(bad.head.alert_id, bad.head.account),
    }[what]
    rig.spoil(key)
    answers = await rig.do(*[rig.lanes().park.submit(rig.parking(hold)) for hold in holds])
    assert answers[0] == answers[2] == HandedBack()
    assert isinstance(answers[1], StoreCorrupt)
    assert rig.fence(bad.held.lane) == f"{bad.held.token}|a"
    assert rig.redis.zscore(rig.keys.parked, bad.held.lane) is None
