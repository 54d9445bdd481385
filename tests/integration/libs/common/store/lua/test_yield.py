import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.store.head import Closed, HandedBack, Stale
from tests.integration.libs.common.store.lua.rig import Rig


async def test_a_lane_handed_back_has_a_new_token_at_the_tail(rig: Rig):
    hold = await rig.hold("BTC")
    await rig.admit("ETH")
    assert await rig.do(rig.lanes().yield_.submit(hold.held)) == HandedBack()
    assert [lane for _, lane in rig.tokens()] == ["desk:ETH", "desk:BTC"]
    assert rig.fence() == f"{rig.tokens()[-1][0]}|"
    assert rig.pending() == {}
    record = rig.instruction(hold.head.alert_id)
    assert (record["running"], record["state"]) == ("", "ACTIVE")


async def test_a_lane_that_was_read_but_not_opened_is_handed_back_too(rig: Rig):
    await rig.admit()
    [held] = await rig.read()
    assert await rig.do(rig.lanes().yield_.submit(held)) == HandedBack()
    assert rig.fence() == f"{rig.tokens()[0][0]}|"
    assert rig.tokens()[0][0] != held.token


async def test_an_empty_lane_is_closed_instead(rig: Rig):
    hold = await rig.hold()
    [(entry, _)] = rig.redis.xrange(rig.keys.lane(hold.held.lane))
    rig.redis.xdel(rig.keys.lane(hold.held.lane), entry)
    assert await rig.do(rig.lanes().yield_.submit(hold.held)) == Closed()
    assert rig.is_at_rest()
    rig.lose(rig.keys.instruction(hold.head.alert_id, hold.head.account))
    rig.lose(rig.keys.alert(hold.head.alert_id))


async def test_re_sent_after_a_lost_reply_it_issues_no_second_token(rig: Rig):
    hold = await rig.hold()
    answer = await rig.lose_reply("yield", lambda: rig.lanes().yield_.submit(hold.held))
    assert answer == Stale()  # either way it is ours no longer
    assert len(rig.tokens()) == 1
    assert rig.fence() == f"{rig.tokens()[0][0]}|"


async def test_another_holder_of_the_same_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        assert await rig.do(rig.lanes("b").yield_.submit(hold.held)) == Stale()


async def test_a_holder_of_an_old_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.do(rig.lanes().yield_.submit(hold.held)) == Stale()


async def test_at_the_memory_limit_lanes_are_handed_back_all_the_same(rig: Rig):
    hold = await rig.hold()
    with rig.memory_limit_reached():
        assert await rig.do(rig.lanes().yield_.submit(hold.held)) == HandedBack()
    assert len(rig.tokens()) == 1


@pytest.mark.parametrize("what", ["lane", "instruction"])
async def test_one_bad_lane_in_a_batch_fails_alone_and_keeps_its_token(rig: Rig, what: str):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    bad = holds[1]
    key = {
        "lane": rig.keys.lane(bad.held.lane),
        "instruction": rig.keys.instruction(bad.head.alert_id, bad.head.account),
    }[what]
    rig.spoil(key)
    answers = await rig.do(*[rig.lanes().yield_.submit(hold.held) for hold in holds])
    assert answers[0] == answers[2] == HandedBack()
    assert isinstance(answers[1], StoreCorrupt)
    assert rig.fence(bad.held.lane) == f"{bad.held.token}|a"
    assert rig.pending() == {bad.held.token: "a"}
