import pytest
from msgspec.structs import replace

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, LaneName, Token
from libs.common.domain.lifecycle import OrderState
from libs.common.store.head import Closed, Head, Held, KnownOrder, Stale
from tests.integration.libs.common.store.lua.rig import START_MS, Rig

WHOLE = {"version": "1", "alert": "handmade", "account": "desk", "deadline": str(START_MS + 1), "body": "{}"}
JUNK = [
    pytest.param({"foo": "bar"}, id="no field of ours"),
    *[
        pytest.param({name: WHOLE[name] for name in WHOLE if name != missing}, id=f"no {missing}")
        for missing in WHOLE
    ],
    pytest.param({**WHOLE, "deadline": "soon"}, id="a deadline in words"),
    pytest.param({**WHOLE, "deadline": "0x7fffffff"}, id="a deadline that only Lua can read"),
    pytest.param({**WHOLE, "deadline": "inf"}, id="an endless deadline"),
    pytest.param({**WHOLE, "deadline": "nan"}, id="a deadline that is no number"),
    pytest.param({**WHOLE, "deadline": "9" * 30}, id="a deadline beyond any time"),
    pytest.param({**WHOLE, "deadline": "-5"}, id="a deadline below zero"),
    pytest.param({**WHOLE, "version": "new"}, id="a version in words"),
    pytest.param({**WHOLE, "version": "9" * 40}, id="a version beyond any number"),
    pytest.param({**WHOLE, "alert": ""}, id="an empty alert"),
    pytest.param({**WHOLE, "alert": b"\xff\xfe"}, id="an alert that is not text"),
    pytest.param({**WHOLE, "alert": "a:b"}, id="an alert that would be another key"),
    pytest.param({**WHOLE, "account": b"\xff"}, id="an account that is not text"),
    pytest.param({**WHOLE, "account": "a:b"}, id="an account that would be another key"),
]


def put_by_hand(rig: Rig, lane: str, fields: dict[str, str | bytes]) -> None:
    rig.redis.xadd(rig.keys.lane(LaneName(lane)), fields)


async def test_the_head_comes_with_all_that_is_known_of_it(rig: Rig):
    alert = await rig.admit(body=b'{"n":1}')
    [held] = await rig.read()
    rig.now_ms += 250
    head = await rig.open(held)
    assert head == Head(
        entry_id=rig.redis.xrange(rig.keys.lane(held.lane))[0][0],
        alert_id=alert,
        account=AccountName("desk"),
        version=1,
        body=b'{"n":1}',
        deadline_ms=START_MS + 60_000,
        now_ms=START_MS + 250,
        plan=b"",
        lost_holders=0,
        admitted_at_ms=START_MS,
        orders=(),
        is_first=True,
    )
    assert rig.fence() == f"{held.token}|a"
    record = rig.instruction(alert)
    assert (record["state"], record["running"]) == ("ACTIVE", held.token)


async def test_the_same_holder_again_is_told_the_same(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        assert await rig.open(hold.held) == replace(hold.head, is_first=False)


async def test_a_head_says_so_where_it_was_never_handed_out_before(rig: Rig):
    hold = await rig.hold()
    assert hold.head.is_first
    await rig.do(rig.lanes().yield_.submit(hold.held))
    again = await rig.take("b")
    assert not again.head.is_first


async def test_another_holder_of_the_same_token_takes_the_lane_and_the_first_is_stale(rig: Rig):
    # A group created again, or a fail-over that lost a delivery, gives one token to two.
    hold = await rig.hold()
    assert await rig.open(hold.held, "b") == replace(hold.head, is_first=False)
    with rig.nothing_written():
        assert await rig.begin(hold) == Stale()


async def test_the_orders_of_the_head_come_with_their_states(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, window_ms=5_000)
    head = await rig.open(hold.held)
    assert head.plan == b'{"plan":1}'
    assert head.orders == (KnownOrder(hold.order_id, OrderState.SENDING, 1, START_MS + 5_000, 0, b""),)


async def test_a_lane_of_the_second_alert_is_handed_out_in_order(rig: Rig):
    hold = await rig.hold(alerts=3)
    assert hold.head.alert_id == "alert00001"


@pytest.mark.parametrize("fields", JUNK)
async def test_a_malformed_head_ends_as_a_dead_letter_and_its_neighbours_go_on(
    rig: Rig, fields: dict[str, str | bytes]
):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    put_by_hand(rig, "desk:BTC", fields)
    good = await rig.admit()
    other = await rig.admit("ETH")
    held = await rig.read()
    heads = await rig.do(*[rig.lanes().open.submit(one) for one in held])
    assert sorted(head.alert_id for head in heads) == [good, other]
    with rig.server.client(decode_responses=False) as raw:
        [(_, letter)] = raw.xrange(rig.keys.dead)
        assert (letter[b"state"], letter[b"reason"], letter[b"lane"]) == (b"DEAD", b"malformed", b"desk:BTC")
        [(_, entry)] = [e for e in raw.xrange(rig.keys.journal) if e[1][b"event"] == b"DEAD"]
        assert entry[b"reason"] == b"malformed"


async def test_a_lane_of_junk_alone_is_closed(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    for _ in range(5):
        rig.redis.xadd(rig.keys.lane(LaneName("desk:BTC")), {"foo": "bar"})
    [held] = await rig.read()
    assert await rig.open(held) == Closed()
    assert rig.is_at_rest()
    assert len(rig.letters()) == 5


async def test_a_newer_version_is_handed_out_and_not_buried(rig: Rig):
    await rig.admit()
    key = rig.keys.lane(LaneName("desk:BTC"))
    [(entry, fields)] = rig.redis.xrange(key)
    rig.redis.xdel(key, entry)
    rig.redis.xadd(key, {**fields, "version": "7", "more": "fields"})
    hold = await rig.take()
    assert hold.head.version == 7


# Re-sent, stale, memory limit, one bad item.


async def test_re_sent_after_a_lost_reply_it_hands_out_the_same_head(rig: Rig):
    await rig.admit()
    [held] = await rig.read()
    head = await rig.lose_reply("open", lambda: rig.lanes().open.submit(held))
    assert head.alert_id == "alert00001"
    assert rig.fence() == f"{held.token}|a"
    assert rig.instruction("alert00001")["state"] == "ACTIVE"


async def test_closing_an_empty_lane_re_sent_finds_it_gone_and_writes_nothing(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    [held] = await rig.read()
    answer = await rig.lose_reply("open", lambda: rig.lanes().open.submit(held))
    assert answer in (Closed(), Stale())
    assert rig.is_at_rest()


async def test_an_old_token_opens_nothing_and_is_removed(rig: Rig):
    hold = await rig.hold()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    fence = rig.fence()
    before = rig.instruction(hold.head.alert_id)
    assert await rig.open(hold.held) == Stale()
    assert rig.fence() == fence
    assert rig.instruction(hold.head.alert_id) == before
    assert [token for token, _ in rig.tokens()] == [str(fence).removesuffix("|")]


async def test_a_token_of_a_lane_that_has_none_is_removed(rig: Rig):
    rig.redis.xadd(rig.keys.ready, {"lane": "desk:GONE"})
    [held] = await rig.read()
    assert await rig.open(held) == Stale()
    assert rig.is_at_rest()
    assert rig.pending() == {}


async def test_at_the_memory_limit_lanes_are_opened_all_the_same(rig: Rig):
    await rig.admit()
    [held] = await rig.read()
    with rig.memory_limit_reached():
        assert isinstance(await rig.open(held), Head)
    assert rig.fence() == f"{held.token}|a"


async def test_one_bad_lane_in_a_batch_fails_alone(rig: Rig):
    for market in ("A", "BAD", "C"):
        await rig.admit(market)
    rig.redis.set(rig.keys.lane(LaneName("desk:BAD")), "junk")
    held = await rig.read()
    first, bad, last = await rig.do(*[rig.lanes().open.submit(one) for one in held])
    assert isinstance(first, Head)
    assert isinstance(bad, StoreCorrupt)
    assert isinstance(last, Head)


@pytest.mark.parametrize("what", ["type", "lost_holders", "admitted_at"])
async def test_one_record_of_junk_in_a_batch_fails_alone(rig: Rig, what: str):
    for market in ("A", "BAD", "C"):
        await rig.admit(market)
    key = rig.keys.instruction("alert00002", "desk")
    if what == "type":
        rig.spoil(key)
    else:
        rig.redis.hset(key, what, "junk")
    first, bad, last = await rig.do(*[rig.lanes().open.submit(one) for one in await rig.read()])
    assert isinstance(first, Head)
    assert isinstance(bad, StoreCorrupt)
    assert isinstance(last, Head)


@pytest.mark.leaves_keys("a record of junk")
async def test_an_order_whose_record_is_gone_is_never_taken_for_one_that_was_not_sent(rig: Rig):
    hold = await rig.hold("BAD")
    await rig.go(hold)
    rig.lose(rig.keys.order(hold.order_id))
    await rig.admit("GOOD")
    [other] = await rig.read()
    bad, good = await rig.do(*[rig.lanes().open.submit(one) for one in (hold.held, other)])
    assert isinstance(bad, StoreCorrupt)
    assert isinstance(good, Head)


async def test_a_lane_name_of_any_bytes_does_no_harm(rig: Rig):
    rig.redis.xadd(rig.keys.ready, {"lane": b"\xff\xfe"})
    [held] = await rig.read()
    assert await rig.open(held) == Stale()
    assert rig.is_at_rest()


async def test_a_token_of_another_form_does_no_harm(rig: Rig):
    good = await rig.admit()
    [held] = await rig.read()
    bad, head = await rig.do(
        *[rig.lanes().open.submit(one) for one in (Held(LaneName("x"), Token("no token")), held)]
    )
    assert isinstance(bad, StoreCorrupt)
    assert head.alert_id == good
