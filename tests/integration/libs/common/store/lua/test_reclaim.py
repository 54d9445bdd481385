from dataclasses import replace

import pytest

from libs.common.domain.ids import AccountName, LaneName, Market
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Stale
from libs.common.store.order_answers import Go
from libs.common.store.upkeep import Grace, ReclaimedHead, Reclamation, Touched
from tests.integration.libs.common.store.lua.rig import LEASE_MS, Rig


@pytest.fixture
async def rig(rig: Rig) -> Rig:
    """The reaper has been running."""
    await rig.do(rig.upkeep.reclaim(lease_ms=LEASE_MS))
    return rig


async def reclaim(rig: Rig) -> Reclamation | Grace:
    """Return the counts of one pass."""
    answer = await reclaim_in_full(rig)
    return replace(answer, heads=()) if isinstance(answer, Reclamation) else answer


async def reclaim_in_full(rig: Rig) -> Reclamation | Grace:
    return await rig.do(rig.upkeep.reclaim(lease_ms=LEASE_MS))


async def test_a_lapsed_lease_gives_the_lane_a_new_token_and_fences_the_old_holder_out(rig: Rig):
    hold = await rig.hold(alerts=2)
    rig.lapse(hold.held.token)
    assert await reclaim(rig) == Reclamation(1, 0, 0)
    [(token, lane)] = rig.tokens()
    assert (lane, rig.fence()) == ("desk:BTC", f"{token}|")
    assert token != hold.held.token
    assert rig.pending() == {}
    with rig.nothing_written():
        assert await rig.begin(hold) == Stale()
        assert await rig.settle(hold, InstructionState.DEAD, order=None) == Stale()
        assert await rig.park(hold) == Stale()
        assert await rig.do(rig.lanes().yield_.submit(hold.held)) == Stale()
        assert await rig.lanes().renew([hold.held]) == [False]
    again = await rig.take("b")
    assert again.head.entry_id == hold.head.entry_id


async def test_living_leases_are_never_reclaimed(rig: Rig):
    holds = [await rig.hold(f"M{n}") for n in range(20)]
    for hold in holds[::2]:
        rig.lapse(hold.held.token)
    assert await reclaim(rig) == Reclamation(10, 0, 0)
    assert await rig.lanes().renew([hold.held for hold in holds[1::2]]) == [True] * 10
    assert await rig.lanes().renew([hold.held for hold in holds[::2]]) == [False] * 10


@pytest.mark.parametrize(
    ("idle_ms", "told"),
    [([0, 0], False), ([540_000, 0], False), ([560_000, 0], True), ([555_000, 570_000], True)],
)
async def test_a_lease_that_runs_out_before_the_next_pass_is_told(rig: Rig, idle_ms: list[int], told: bool):
    # Leases age by Redis' own clock meanwhile, so these are long.
    lease_ms, next_in_ms = 600_000, 50_000
    for number, idle in enumerate(idle_ms):
        hold = await rig.hold(f"M{number}")
        rig.lapse(hold.held.token, idle)
    pass_ = await rig.do(rig.upkeep.reclaim(lease_ms=lease_ms, next_in_ms=next_in_ms))
    assert isinstance(pass_, Reclamation)
    assert (pass_.lanes, pass_.next_lapse_ms is not None) == (0, told)
    if told:
        assert pass_.next_lapse_ms is not None
        assert 0 <= pass_.next_lapse_ms <= lease_ms - max(idle_ms)


async def test_an_undelivered_token_is_nobodys_to_lose(rig: Rig):
    await rig.admit()
    before = rig.tokens(), rig.fence()
    assert await reclaim(rig) == Reclamation(0, 0, 0)
    assert (rig.tokens(), rig.fence()) == before


async def test_more_lapsed_leases_than_one_scan_sees_are_all_reclaimed(rig: Rig):
    await rig.admit_each(*[f"M{n}" for n in range(350)])
    held = []
    while found := await rig.read():
        held += found
    for one in held:
        rig.lapse(one.token)
    assert await reclaim(rig) == Reclamation(350, 0, 0)
    assert rig.pending() == {}


async def test_a_pass_is_bounded_and_the_next_goes_on(rig: Rig):
    await rig.admit_each(*[f"M{n}" for n in range(230)])
    while found := await rig.read():
        for one in found:
            rig.lapse(one.token)
    passes = [await rig.do(rig.upkeep.reclaim(lease_ms=LEASE_MS, at_most=100)) for _ in range(3)]
    assert [one.lanes for one in passes] == [100, 100, 30]


# Who is blamed.


async def test_a_worker_that_died_executing_a_head_counts_against_it(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    rig.lapse(hold.held.token)
    await reclaim(rig)
    again = await rig.take("b")
    assert again.head.lost_holders == 1
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "RECLAIMED"]
    assert rig.journal()[-1] == ("RECLAIMED", "lost_holder")


@pytest.mark.parametrize("what", ["not opened", "waits", "resolving"])
async def test_a_worker_that_was_not_executing_the_head_does_not_count_against_it(rig: Rig, what: str):
    if what == "not opened":
        await rig.admit()
        [held] = await rig.read()
        token = held.token
    else:
        hold = await rig.hold()
        token = hold.held.token
        if what == "waits":
            rig.redis.hset(rig.keys.breakers, "desk:BTC", f"open|1|{rig.now_ms + 10}|0")
            await rig.begin(hold)
        else:
            await rig.go(hold)
            await rig.resolve(hold, OrderState.UNKNOWN)
    rig.lapse(token)
    assert await reclaim(rig) == Reclamation(1, 0, 0)
    assert (await rig.take("b")).head.lost_holders == 0


async def test_the_death_of_an_earlier_holder_is_not_counted_twice(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    await reclaim(rig)
    [held] = await rig.read("b")
    rig.lapse(held.token)  # b read it and died before opening it
    await reclaim(rig)
    assert (await rig.take("c")).head.lost_holders == 1


# Grace.


@pytest.mark.parametrize("gap_ms", [LEASE_MS // 2 + 1, LEASE_MS, 10 * LEASE_MS, 3_600_000])
async def test_after_a_gap_all_leases_start_afresh(rig: Rig, gap_ms: int):
    holds = [await rig.hold(f"M{n}") for n in range(3)]
    for hold in holds:
        rig.lapse(hold.held.token)
    rig.now_ms += gap_ms
    assert await reclaim(rig) == Grace(3)
    assert await reclaim(rig) == Reclamation(0, 0, 0)
    assert rig.pending() == {hold.held.token: "a" for hold in holds}
    assert await rig.lanes().renew([hold.held for hold in holds]) == [True] * 3


async def test_a_gap_of_half_a_lease_is_no_outage(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    rig.now_ms += LEASE_MS // 2
    assert await reclaim(rig) == Reclamation(1, 0, 0)


@pytest.mark.parametrize("back_ms", [1, 3_600_000])
async def test_after_the_clock_went_back_all_leases_start_afresh(rig: Rig, back_ms: int):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    rig.now_ms -= back_ms
    assert await reclaim(rig) == Grace(1)
    assert await reclaim(rig) == Reclamation(0, 0, 0)


async def test_the_first_pass_ever_is_a_grace(rig: Rig):
    rig.redis.delete(rig.keys.meta)
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    assert await reclaim(rig) == Grace(1)


async def test_a_grace_leaves_every_token_with_its_owner_and_counts_no_delivery(rig: Rig):
    one, two = await rig.hold("A", holder="a"), await rig.hold("B", holder="b")
    rig.now_ms += LEASE_MS
    await reclaim(rig)
    found = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 10)
    assert {entry["message_id"]: entry["consumer"] for entry in found} == {
        one.held.token: "a",
        two.held.token: "b",
    }
    assert {entry["times_delivered"] for entry in found} == {1}


async def test_a_grace_covers_more_leases_than_one_page(rig: Rig):
    with rig.redis.pipeline() as pipeline:
        for n in range(1_100):
            pipeline.xadd(rig.keys.ready, {"lane": f"desk:{n}"})
        pipeline.xreadgroup("workers", "a", {rig.keys.ready: ">"}, count=2_000)
        pipeline.execute()
    rig.now_ms += LEASE_MS
    assert await reclaim(rig) == Grace(1_100)
    rig.redis.delete(rig.keys.ready)


# Tokens that are not current.


async def test_a_lapsed_token_that_is_not_current_is_dropped(rig: Rig):
    hold = await rig.hold()
    rig.redis.hset(rig.keys.lanes, hold.held.lane, "1-1|")
    rig.lapse(hold.held.token)
    assert await reclaim(rig) == Reclamation(0, 1, 0)
    assert rig.fence() == "1-1|"
    assert rig.tokens() == []
    assert rig.pending() == {}


async def test_a_lapsed_token_whose_entry_was_deleted_is_dropped(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    rig.redis.xdel(rig.keys.ready, hold.held.token)
    assert isinstance(await reclaim(rig), Reclamation)
    assert rig.pending() == {}


async def test_a_lapsed_token_of_an_empty_lane_closes_it(rig: Rig):
    rig.redis.hset(rig.keys.lanes, "desk:BTC", "x")
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|a")
    await rig.read()
    rig.lapse(token)
    await reclaim(rig)
    assert rig.is_at_rest()


async def test_an_entry_without_a_lane_is_dropped(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"foo": "bar"})
    rig.redis.xreadgroup("workers", "a", {rig.keys.ready: ">"})
    rig.lapse(token)
    assert await reclaim(rig) == Reclamation(0, 1, 0)


@pytest.mark.parametrize("has_stream", [False, True])
async def test_without_a_group_there_is_nothing_to_reclaim_and_no_error(rig: Rig, has_stream: bool):
    await rig.admit()
    if has_stream:
        rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    else:
        rig.redis.delete(rig.keys.ready)
    assert await reclaim(rig) == Reclamation(0, 0, 0)


# Re-sent, memory limit, one bad item.


async def test_re_sent_after_a_lost_reply_it_reclaims_nothing_twice(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    answer = await rig.lose_reply("reclaim", lambda: rig.upkeep.reclaim(lease_ms=LEASE_MS))
    assert answer == Reclamation(0, 0, 0)
    assert len(rig.tokens()) == 1
    assert rig.instruction(hold.head.alert_id)["lost_holders"] == "1"


async def test_at_the_memory_limit_lanes_are_reclaimed_all_the_same(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    with rig.memory_limit_reached():
        assert await reclaim(rig) == Reclamation(1, 0, 0)


@pytest.mark.parametrize("what", ["lane", "instruction"])
async def test_one_bad_lane_does_not_keep_the_others_from_being_reclaimed(rig: Rig, what: str):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    bad = holds[1]
    rig.spoil(
        rig.keys.lane(LaneName(bad.held.lane))
        if what == "lane"
        else rig.keys.instruction(bad.head.alert_id, bad.head.account)
    )
    for hold in holds:
        rig.lapse(hold.held.token)
    assert await reclaim(rig) == Reclamation(2, 0, 1)
    # Its own token is tried again after a lease.
    assert rig.pending() == {bad.held.token: "reaper"}
    assert rig.fence(bad.held.lane) == f"{bad.held.token}|a"
    assert await reclaim(rig) == Reclamation(0, 0, 0)


async def test_a_malformed_head_is_buried_on_the_way(rig: Rig):
    hold = await rig.hold()
    await rig.settle(hold, InstructionState.SKIPPED, order=None)
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|a")
    rig.redis.xadd(rig.keys.lane(LaneName("desk:BTC")), {"foo": "bar"})
    await rig.read()
    rig.lapse(token)
    await reclaim(rig)
    assert rig.is_at_rest()
    assert len(rig.letters()) == 1


async def test_a_begun_order_of_a_reclaimed_lane_is_looked_up_not_sent(rig: Rig):
    hold = await rig.hold()
    go = await rig.go(hold, nonce="first")
    rig.lapse(hold.held.token)
    await reclaim(rig)
    again = await rig.take("b")
    [order] = again.head.orders
    assert (order.state, order.expires_at_ms) == ("SENDING", go.expires_at_ms)
    assert not isinstance(await rig.begin(again, nonce="second"), Go)
    assert (await rig.park(again, reason=Reason.RESOLVING)) is not None


async def test_each_head_of_a_lost_holder_is_told_with_what_it_holds_and_how_old_it_is(rig: Rig):
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    body = b'{"traceparent":"%b"}' % trace.encode()
    hold = await rig.hold("BTC", body=body)
    rig.now_ms += 30
    other = await rig.hold("ETH")
    for one in (hold, other):
        await rig.go(one)
        rig.lapse(one.held.token)
    rig.now_ms += 10
    answer = await reclaim_in_full(rig)
    assert isinstance(answer, Reclamation)
    assert answer.lanes == 2
    desk = AccountName("desk")
    assert set(answer.heads) == {
        ReclaimedHead(Touched(hold.head.alert_id, desk, Market("BTC"), body, 40), 1),
        ReclaimedHead(Touched(other.head.alert_id, desk, Market("ETH"), b"{}", 10), 1),
    }
    assert rig.order(hold.order_id)["traceparent"] == trace
    assert "traceparent" not in rig.order(other.order_id)
