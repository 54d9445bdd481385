"""Entries that nobody can read, and the instructions that wait for them."""

from libs.common.domain.ids import LaneName
from libs.common.store.head import Closed, Head
from tests.integration.libs.common.store.lua.rig import Rig


def garble(rig: Rig, lane: str = "desk:BTC") -> None:
    """Put something unreadable in the place of a lane's first entry, under the same names."""
    key = rig.keys.lane(LaneName(lane))
    [(entry, fields)] = rig.redis.xrange(key, count=1)
    rig.redis.xadd(key, {**fields, "version": "one"})
    rig.redis.xdel(key, entry)


async def test_an_instruction_whose_entry_became_unreadable_ends_visibly(rig: Rig):
    alert = await rig.admit()
    garble(rig)
    [held] = await rig.read()
    assert await rig.open(held) == Closed()
    assert rig.instruction(alert)["state"] == "DEAD"
    assert rig.instruction(alert)["reason"] == "malformed"
    assert rig.redis.hget(rig.keys.alert(alert), "state") == "DEAD"
    assert rig.redis.pttl(rig.keys.alert(alert)) > 0
    [(_, letter)] = rig.redis.xrange(rig.keys.dead)
    assert (letter["alert"], letter["reason"]) == (alert, "malformed")


async def test_an_unreadable_entry_does_not_end_an_instruction_that_ended_before(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.go(hold)
    lane = rig.keys.lane(LaneName("desk:BTC"))
    [(_, fields), _] = rig.redis.xrange(lane)
    following = await rig.settle(hold)
    assert isinstance(following, Head)
    rig.redis.xadd(lane, {**fields, "version": "one"})
    await rig.settle(next_hold(hold, following), order=None)
    assert rig.instruction(hold.head.alert_id)["state"] == "EXECUTED"


def next_hold(hold, following):
    return type(hold)(hold.held, following, hold.holder)


async def test_a_late_flight_admits_nothing_and_tells_the_time(rig: Rig):
    one = rig.admission()
    keys = [
        rig.keys.refused,
        rig.keys.alert(one.alert_id),
        rig.keys.seen(one.webhook, one.dedup_keys[0]),
    ]
    to = one.routed[0]
    keys += [rig.keys.instruction(one.alert_id, to.account), rig.keys.lane(to.lane)]
    terms = ["default", 600_000, "1", 1, "", "", 60_000, 5_000, 1, to.account, 1, ""]
    flight = [1, 1, *terms, 1, one.alert_id, "digest", b"{}", "", to.market, to.lane, b"{}"]
    with rig.nothing_written():
        answer = await rig.run("admit", keys, [rig.now_ms - 1, 1_000, "", "", "", *flight])
    assert answer == [str(rig.now_ms).encode(), b"0", b"0", [b"LATE", b""]]
    assert (await rig.run("admit", keys, [rig.now_ms, 1_000, "", "", "", *flight]))[3][0] == b"ADMITTED"


async def test_an_instruction_whose_order_may_have_traded_is_not_ended_by_an_unreadable_entry(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    garble(rig)
    await rig.park(hold)
    assert rig.instruction(hold.head.alert_id)["state"] == "ACTIVE"
    [(_, letter)] = rig.redis.xrange(rig.keys.dead)
    assert (letter["alert"], letter["reason"]) == (hold.head.alert_id, "malformed")
