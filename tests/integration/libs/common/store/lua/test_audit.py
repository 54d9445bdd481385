from dataclasses import replace

import pytest

from libs.common.domain.ids import AccountName, LaneName, Market
from libs.common.domain.lifecycle import InstructionState
from libs.common.store.head import Stale
from libs.common.store.upkeep import AuditFindings, Touched
from tests.integration.libs.common.store.lua.rig import RETENTION, START_MS, Hold, Rig

NOTHING = AuditFindings(0, 0, 0)
KEEP_MS = RETENTION.replayable_ms


async def audit(rig: Rig) -> AuditFindings:
    """Return the counts of one pass."""
    found = await audit_in_full(rig)
    assert len(found.ended) == min(found.expired, 1_000)
    return replace(found, ended=())


async def audit_in_full(rig: Rig) -> AuditFindings:
    return await rig.do(rig.upkeep.audit(keep_dead_ms=KEEP_MS))


async def executes(rig: Rig, holder: str = "z") -> list[str]:
    """Take every lane that is ready through to its end, and return the alerts that were executed."""
    alerts = []
    while found := await rig.read(holder):
        for held in found:
            following = await rig.open(held, holder)
            while hasattr(following, "alert_id"):
                alerts.append(following.alert_id)
                following = await rig.do(
                    rig.orders(holder).settle.submit(
                        rig.settlement(Hold(held, following, holder), InstructionState.SKIPPED, order=None)
                    )
                )
    return alerts


# Lost tokens.


async def test_where_nothing_is_lost_nothing_is_touched(rig: Rig):
    await rig.hold("A")
    await rig.park(await rig.hold("B"))
    await rig.admit("C")
    with rig.nothing_written():
        assert await audit(rig) == NOTHING


@pytest.mark.parametrize("is_held", [False, True])
async def test_a_token_deleted_by_hand_is_issued_again(rig: Rig, is_held: bool):
    hold = await rig.hold() if is_held else None
    if hold is None:
        await rig.admit()
    [(token, _)] = rig.tokens()
    rig.redis.xdel(rig.keys.ready, token)
    assert await audit(rig) == AuditFindings(1, 0, 0)
    [(again, lane)] = rig.tokens()
    assert again != token
    assert (lane, rig.fence()) == ("desk:BTC", f"{again}|")
    assert ("TOKEN", "reissued") in rig.journal()
    if hold is not None:
        with rig.nothing_written():
            assert await rig.begin(hold) == Stale()
        assert rig.pending() == {}
    assert await audit(rig) == NOTHING
    assert await executes(rig) == ["alert00001"]
    assert rig.is_at_rest()


async def test_a_token_acknowledged_by_hand_is_issued_again(rig: Rig):
    hold = await rig.hold()
    rig.redis.xack(rig.keys.ready, "workers", hold.held.token)
    assert await audit(rig) == AuditFindings(1, 0, 0)
    assert len(rig.tokens()) == 1
    assert await executes(rig) == ["alert00001"]


async def test_tokens_of_a_consumer_deleted_by_hand_are_issued_again(rig: Rig):
    await rig.hold("A")
    await rig.hold("B", holder="b")
    rig.redis.xgroup_delconsumer(rig.keys.ready, "workers", "a")
    assert await audit(rig) == AuditFindings(1, 0, 0)
    assert str(rig.fence("desk:B")).endswith("|b")
    assert await executes(rig) == ["alert00001"]


async def test_with_the_ready_stream_deleted_every_lane_gets_a_new_token(rig: Rig):
    await rig.hold("A")
    await rig.admit("B")
    rig.redis.delete(rig.keys.ready)
    assert await audit(rig) == AuditFindings(2, 0, 0)
    assert sorted(await executes(rig)) == ["alert00001", "alert00002"]
    assert rig.is_at_rest()


async def test_with_the_group_destroyed_it_is_created_and_every_token_delivered_again(rig: Rig):
    await rig.hold("A")
    await rig.admit("B")
    rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    assert await audit(rig) == NOTHING
    assert sorted(await executes(rig)) == ["alert00001", "alert00002"]


async def test_with_the_group_made_again_at_the_end_every_token_before_it_is_issued_again(rig: Rig):
    await rig.hold("A")
    await rig.admit("B")
    rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    rig.redis.xgroup_create(rig.keys.ready, "workers", "$")
    assert await audit(rig) == AuditFindings(2, 0, 0)
    assert sorted(await executes(rig)) == ["alert00001", "alert00002"]


async def test_another_group_on_the_stream_does_not_stand_for_ours(rig: Rig):
    await rig.admit()
    rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    rig.redis.xgroup_create(rig.keys.ready, "others", "$")
    await audit(rig)
    assert await executes(rig) == ["alert00001"]


async def test_a_stream_without_fence_or_parking_gets_a_token(rig: Rig):
    hold = await rig.hold()
    rig.redis.hdel(rig.keys.lanes, hold.held.lane)
    assert await audit(rig) == AuditFindings(1, 0, 0)
    assert ("TOKEN", "issued") in rig.journal()
    assert await executes(rig) == ["alert00001"]
    rig.redis.xtrim(rig.keys.ready, maxlen=0)


async def test_a_fence_of_junk_is_replaced(rig: Rig):
    await rig.admit()
    for junk in ("junk", "", "1-1", "|", "x|y"):
        rig.redis.hset(rig.keys.lanes, "desk:BTC", junk)
        assert await audit(rig) == AuditFindings(1, 0, 0)
        assert rig.fence() == f"{rig.tokens()[-1][0]}|"
    rig.redis.xtrim(rig.keys.ready, maxlen=1)


@pytest.mark.parametrize("is_pending", [False, True])
async def test_a_fence_without_a_lane_goes_and_leaves_no_token(rig: Rig, is_pending: bool):
    hold = await rig.hold()
    rig.lose(rig.keys.lane(hold.held.lane))
    if not is_pending:
        rig.redis.xgroup_delconsumer(rig.keys.ready, "workers", "a")
        assert await audit(rig) == NOTHING
        assert rig.is_at_rest()
    else:
        assert await audit(rig) == NOTHING  # its holder lives and will close it
        assert rig.fence() == f"{hold.held.token}|a"


@pytest.mark.parametrize("has_lane", [True, False])
async def test_a_token_that_is_neither_current_nor_pending_is_removed(rig: Rig, has_lane: bool):
    # Its lane got another, and its consumer was deleted: nobody would ever open it.
    hold = await rig.hold()
    if has_lane:
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "1-1|")
    else:
        rig.redis.xadd(rig.keys.ready, {"foo": "bar"})
        rig.redis.xreadgroup("workers", "a", {rig.keys.ready: ">"})
    rig.redis.xgroup_delconsumer(rig.keys.ready, "workers", "a")
    assert await audit(rig) == AuditFindings(1, 0, 0)
    assert [f"{token}|" for token, _ in rig.tokens() if token != hold.held.token] == [rig.fence()]
    assert hold.held.token not in [token for token, _ in rig.tokens()]


async def test_a_token_that_is_not_current_but_pending_is_left_to_its_consumer(rig: Rig):
    hold = await rig.hold()
    rig.redis.hdel(rig.keys.lanes, "desk:BTC")
    await audit(rig)
    assert rig.pending() == {hold.held.token: "a"}
    assert await rig.open(hold.held) == Stale()
    assert rig.pending() == {}


async def test_a_token_that_is_not_current_but_undelivered_is_left_to_be_delivered(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:GONE"})
    assert await audit(rig) == NOTHING
    assert rig.tokens() == [(token, "desk:GONE")]


async def test_a_parked_lane_is_not_given_a_token(rig: Rig):
    hold = await rig.hold()
    await rig.park(hold)
    assert await audit(rig) == NOTHING
    assert rig.tokens() == []


async def test_undelivered_tokens_are_left_alone_however_long_they_wait(rig: Rig):
    await rig.admit("A")
    before = rig.tokens()
    for _ in range(3):
        rig.now_ms += 100_000
        assert await audit(rig) == NOTHING
    assert rig.tokens() == before


async def test_more_lanes_than_one_pass_looks_at_are_healed_in_the_next(rig: Rig):
    await rig.admit_each(*[f"M{n}" for n in range(700)])
    rig.redis.delete(rig.keys.ready)
    healed = 0
    for _ in range(40):
        healed += (await rig.do(rig.upkeep.audit(keep_dead_ms=KEEP_MS, scan=100))).tokens
        if healed == 700:
            break
    assert healed == 700
    assert len(rig.tokens()) == 700


# What expires behind a head that waits.


async def test_what_expired_behind_a_parked_head_ends_in_place(rig: Rig):
    hold = await rig.hold(max_age_ms=100_000)
    short = [await rig.admit(max_age_ms=1_000) for _ in range(3)]
    long = await rig.admit(max_age_ms=50_000)
    await rig.park(hold, 60_000)
    rig.now_ms += 999
    assert await audit(rig) == NOTHING
    rig.now_ms += 1
    assert await audit(rig) == AuditFindings(0, 3, 0)
    for alert in short:
        record = rig.instruction(alert)
        assert (record["state"], record["reason"]) == ("EXPIRED", "too_old")
        assert record["ended_at"] == str(START_MS + 1_000)
        assert rig.history(alert) == ["QUEUED", "EXPIRED"]
        assert rig.redis.pttl(rig.keys.instruction(alert, "desk")) > 0
        assert rig.redis.pttl(rig.keys.alert(alert)) > 0
    assert [letter["alert"] for letter in rig.letters()] == short
    left = [fields["alert"] for _, fields in rig.redis.xrange(rig.keys.lane(hold.held.lane))]
    assert left == [hold.head.alert_id, long]
    assert await audit(rig) == NOTHING


async def test_the_head_itself_is_left_to_a_worker(rig: Rig):
    hold = await rig.hold(max_age_ms=1_000)
    await rig.park(hold, 60_000)
    rig.now_ms += 5_000
    assert await audit(rig) == NOTHING
    assert rig.instruction(hold.head.alert_id)["state"] == "ACTIVE"


async def test_what_expired_in_a_lane_that_is_held_is_left_to_its_worker(rig: Rig):
    await rig.hold(alerts=2, max_age_ms=1_000)
    rig.now_ms += 5_000
    assert await audit(rig) == NOTHING


async def test_what_expired_in_a_lane_that_was_promoted_meanwhile_is_left_to_its_worker(rig: Rig):
    hold = await rig.hold(max_age_ms=100_000)
    short = await rig.admit(max_age_ms=1_000)
    rig.now_ms += 5_000
    # The script is told of lanes that were parked when its caller looked.
    assert await rig.run("audit", [], [KEEP_MS, 0, "", hold.held.lane]) == [0, 0, 0]
    assert rig.instruction(short)["state"] == "QUEUED"


async def test_malformed_entries_behind_a_parked_head_are_buried(rig: Rig):
    hold = await rig.hold()
    rig.redis.xadd(rig.keys.lane(hold.held.lane), {"foo": "bar"})
    await rig.park(hold)
    await audit(rig)
    assert rig.redis.xlen(rig.keys.lane(hold.held.lane)) == 1
    assert len(rig.letters()) == 1


# Re-sent, memory limit, one bad item. The audit has no holder; who held a healed lane is stale, see above.


async def test_re_sent_after_a_lost_reply_it_heals_nothing_twice(rig: Rig):
    await rig.admit()
    rig.redis.xtrim(rig.keys.ready, maxlen=0)
    answer = await rig.lose_reply("audit", lambda: rig.upkeep.audit(keep_dead_ms=KEEP_MS))
    assert answer == NOTHING
    assert len(rig.tokens()) == 1


async def test_an_expiry_re_sent_ends_nothing_twice(rig: Rig):
    hold = await rig.hold(max_age_ms=100_000)
    short = await rig.admit(max_age_ms=1_000)
    await rig.park(hold, 60_000)
    rig.now_ms += 1_000
    await rig.lose_reply("audit", lambda: rig.upkeep.audit(keep_dead_ms=KEEP_MS))
    assert rig.history(short) == ["QUEUED", "EXPIRED"]
    assert len(rig.letters()) == 1
    assert rig.redis.hget(rig.keys.alert(short), "open") == "0"


async def test_at_the_memory_limit_tokens_are_issued_and_what_expired_ends(rig: Rig):
    hold = await rig.hold(max_age_ms=100_000)
    await rig.admit(max_age_ms=1_000)
    await rig.park(hold, 60_000)
    await rig.admit("ETH", max_age_ms=50_000)
    rig.redis.xtrim(rig.keys.ready, maxlen=0)
    rig.now_ms += 1_000
    with rig.memory_limit_reached():
        assert await audit(rig) == AuditFindings(1, 1, 0)


async def test_each_that_expired_is_told_with_what_it_holds_and_how_old_it_is(rig: Rig):
    hold = await rig.hold(max_age_ms=100_000)
    first = await rig.admit(max_age_ms=1_000, body=b'{"first":1}')
    rig.now_ms += 400
    second = await rig.admit(max_age_ms=1_000, body=b"not even JSON")
    await rig.park(hold, 60_000)
    rig.now_ms += 1_000
    assert (await audit_in_full(rig)).ended == (
        Touched(first, AccountName("desk"), Market("BTC"), b'{"first":1}', 1_400),
        Touched(second, AccountName("desk"), Market("BTC"), b"not even JSON", 1_000),
    )


async def test_of_many_that_expired_a_thousand_are_told_and_all_are_counted(rig: Rig):
    lanes = [f"M{number}" for number in range(11)]
    for hold in [await rig.hold(lane, max_age_ms=100_000) for lane in lanes]:
        await rig.park(hold, 60_000)
    await rig.admit_each(*lanes * 95, max_age_ms=1_000)
    rig.now_ms += 1_000
    found = await audit_in_full(rig)
    assert (found.expired, len(found.ended), found.failed) == (1_045, 1_000, 0)


@pytest.mark.parametrize("what", ["lane", "instruction", "alert"])
async def test_one_bad_lane_does_not_keep_the_others_from_being_looked_after(rig: Rig, what: str):
    shorts = {}
    for market in ("A", "BAD", "C"):
        hold = await rig.hold(market, max_age_ms=100_000)
        shorts[market] = await rig.admit(market, max_age_ms=1_000)
        await rig.park(hold, 60_000)
    await rig.admit("LOST", max_age_ms=50_000)
    rig.redis.xtrim(rig.keys.ready, maxlen=0)
    rig.spoil(
        {
            "lane": rig.keys.lane(LaneName("desk:BAD")),
            "instruction": rig.keys.instruction(shorts["BAD"], "desk"),
            "alert": rig.keys.alert(shorts["BAD"]),
        }[what]
    )
    rig.now_ms += 1_000
    assert await audit(rig) == AuditFindings(1, 2, 1)
    assert rig.instruction(shorts["A"])["state"] == "EXPIRED"
    assert rig.instruction(shorts["C"])["state"] == "EXPIRED"
    if what == "alert":
        assert rig.instruction(shorts["BAD"])["state"] == "QUEUED"


async def test_a_lane_name_of_any_bytes_does_no_harm(rig: Rig):
    rig.redis.hset(rig.keys.lanes, b"\xff\xfe", "1-1|")
    rig.redis.xadd(b"%slane:\xff\xfe" % rig.keys.prefix.encode(), {"foo": "bar"})
    await rig.admit()
    rig.redis.xtrim(rig.keys.ready, maxlen=0)
    assert (await audit(rig)).tokens == 2
    rig.redis.delete(b"%slane:\xff\xfe" % rig.keys.prefix.encode())
    assert await executes(rig) == ["alert00001"]
