from libs.common.domain.ids import LaneName
from libs.common.store.head import Head
from libs.common.store.upkeep import Promotion
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

HOUR_MS = 3_600_000


async def parked(rig: Rig, *waits_ms: int) -> list[LaneName]:
    lanes = []
    for n, wait_ms in enumerate(waits_ms):
        hold = await rig.hold(f"M{n}")
        await rig.park(hold, wait_ms)
        lanes.append(hold.held.lane)
    return lanes


async def test_lanes_that_are_due_get_a_token_in_the_order_of_their_due_times(rig: Rig):
    lanes = await parked(rig, 300, 100, 200, 5_000)
    rig.now_ms += 300
    assert await rig.do(rig.upkeep.promote()) == Promotion(3, 4_700)
    assert [lane for _, lane in rig.tokens()] == [lanes[1], lanes[2], lanes[0]]
    for token, lane in rig.tokens():
        assert rig.fence(lane) == f"{token}|"
    assert rig.redis.zrange(rig.keys.parked, 0, -1) == [lanes[3]]


async def test_nothing_is_promoted_a_millisecond_early(rig: Rig):
    await parked(rig, 100)
    rig.now_ms += 99
    assert await rig.do(rig.upkeep.promote()) == Promotion(0, 1)
    rig.now_ms += 1
    assert await rig.do(rig.upkeep.promote()) == Promotion(1, None)


async def test_a_promoted_lane_goes_on_with_its_head(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.park(hold, 10)
    rig.now_ms += 10
    await rig.do(rig.upkeep.promote())
    again = await rig.take("b")
    assert isinstance(again.head, Head)
    assert again.head.entry_id == hold.head.entry_id


async def test_at_most_so_many_are_promoted_in_one_pass(rig: Rig):
    await parked(rig, 1, 2, 3)
    rig.now_ms += 10
    assert (await rig.do(rig.upkeep.promote(at_most=2))) == Promotion(2, 0)
    assert (await rig.do(rig.upkeep.promote(at_most=2))) == Promotion(1, None)


async def test_a_lane_that_has_a_token_gets_no_second_one(rig: Rig):
    hold = await rig.hold()
    rig.redis.zadd(rig.keys.parked, {hold.held.lane: START_MS})
    assert await rig.do(rig.upkeep.promote()) == Promotion(0, None)
    assert rig.fence() == f"{hold.held.token}|a"
    assert rig.redis.zcard(rig.keys.parked) == 0


async def test_a_lane_that_is_gone_gets_none(rig: Rig):
    rig.redis.zadd(rig.keys.parked, {"desk:GONE": START_MS})
    assert await rig.do(rig.upkeep.promote()) == Promotion(0, None)
    assert rig.is_at_rest()


async def test_after_the_clock_stepped_back_a_lane_waits_no_longer_than_it_was_told(rig: Rig):
    await parked(rig, 1_000)
    await rig.do(rig.upkeep.promote())
    rig.now_ms -= HOUR_MS
    assert await rig.do(rig.upkeep.promote()) == Promotion(0, 1_000)
    rig.now_ms += 1_000
    assert await rig.do(rig.upkeep.promote()) == Promotion(1, None)


async def test_after_the_clock_stepped_back_an_open_breaker_is_asked_no_later_than_it_was_told(rig: Rig):
    await rig.do(rig.upkeep.promote())
    reset = START_MS + 10_000
    rig.redis.hset(rig.keys.breakers, mapping={"a": f"open|3|{reset}|0", "b": "closed|4|0|0", "c": "junk"})
    rig.now_ms -= HOUR_MS
    await rig.do(rig.upkeep.promote())
    assert rig.redis.hgetall(rig.keys.breakers) == {
        "a": f"open|3|{reset - HOUR_MS}|0",
        "b": "closed|4|0|0",
        "c": "junk",
    }


async def test_re_sent_after_a_lost_reply_it_issues_no_second_token(rig: Rig):
    await parked(rig, 0, 0)

    async def call() -> object:
        return await rig.upkeep.promote()

    await rig.lose_reply("promote", call)
    assert len(rig.tokens()) == 2
    assert rig.redis.hlen(rig.keys.lanes) == 2


async def test_two_reapers_promote_a_lane_once(rig: Rig):
    await parked(rig, 0, 0, 0)
    await rig.do(*[rig.upkeep.promote() for _ in range(4)])
    assert len(rig.tokens()) == 3


async def test_a_holder_from_before_the_wait_is_stale(rig: Rig):
    hold = await rig.hold()
    await rig.park(hold, 0)
    await rig.do(rig.upkeep.promote())
    with rig.nothing_written():
        assert await rig.lanes().renew([hold.held]) == [False]


async def test_at_the_memory_limit_lanes_are_promoted_all_the_same(rig: Rig):
    await parked(rig, 0)
    with rig.memory_limit_reached():
        assert (await rig.do(rig.upkeep.promote())).lanes == 1


async def test_one_lane_of_a_wrong_type_does_not_keep_the_others_waiting(rig: Rig):
    lanes = await parked(rig, 0, 0, 0)
    rig.spoil(rig.keys.lane(LaneName(lanes[1])))
    assert (await rig.do(rig.upkeep.promote())).lanes == 3
    assert await rig.do(rig.upkeep.promote()) == Promotion(0, None)
