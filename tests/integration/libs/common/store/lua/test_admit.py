import asyncio

import pytest

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.store.head import Closed
from libs.common.store.intake import Admission, Admitted, Conflict, Duplicate
from tests.integration.libs.common.store.lua.rig import START_MS, Rig
from tests.support.eventually import eventually


async def test_an_admitted_alert_is_queued_with_a_token_and_a_record(rig: Rig):
    one = rig.admission(max_age_ms=30_000, body=b'{"quantity":"1"}')
    assert await rig.do(rig.intake.admissions.submit(one)) == Admitted(one.alert_id)
    [(token, lane)] = rig.tokens()
    assert (lane, rig.fence()) == ("desk:BTC", f"{token}|")
    [(_, entry)] = rig.redis.xrange(rig.keys.lane(one.routed[0].lane))
    assert entry == {
        "version": "1",
        "alert": one.alert_id,
        "account": "desk",
        "deadline": str(START_MS + 30_000),
        "body": '{"quantity":"1"}',
    }
    record = rig.instruction(one.alert_id)
    assert record.pop("journal")
    assert record == {
        "state": "QUEUED",
        "reason": "admitted",
        "admitted_at": str(START_MS),
        "deadline": str(START_MS + 30_000),
        "lane": "desk:BTC",
        "market": "BTC",
    }
    assert rig.redis.hgetall(rig.keys.alert(one.alert_id)) == {
        "alert": '{"alert":1}',
        "open": "1",
        "accounts": "desk",
        "admitted_at": str(START_MS),
    }
    assert rig.history(one.alert_id) == ["QUEUED"]
    seen = rig.keys.seen(one.webhook, one.dedup_key)
    assert rig.redis.get(seen) == f"{one.alert_id}|digest"
    assert 0 < rig.redis.pttl(seen) <= 600_000


async def test_records_token_fence_and_entry_are_written_before_the_dedup_key_and_the_journal(rig: Rig):
    one = rig.admission()
    with rig.server.client() as watcher, watcher.monitor() as monitor:
        await rig.do(rig.intake.admissions.submit(one))
        rig.redis.ping()
        written = []
        for command in monitor.listen():
            words = command["command"].split(" ")
            if words[0] == "PING":
                break
            if command["client_type"] == "lua" and words[0] in {"HSET", "XADD", "SET"}:
                written.append(words[1].partition("}:")[2].partition(":")[0])
    # A token without work is harmless; work without a token, or a claim without work, is not.
    assert written == ["alert", "instruction", "ready", "lanes", "lane", "seen", "journal", "instruction"]


@pytest.mark.parametrize(
    ("fired_in_ms", "deadline_in_ms"),
    [
        pytest.param(None, 60_000, id="no fire time"),
        pytest.param(-10_000, 50_000, id="fired before"),
        pytest.param(-90_000, -30_000, id="too old on arrival"),
        pytest.param(5_000, 60_000, id="in the future within the skew"),
        pytest.param(5_001, 60_000, id="in the future beyond the skew"),
    ],
)
async def test_age_counts_from_the_fire_time_and_never_from_the_future(
    rig: Rig, fired_in_ms: int | None, deadline_in_ms: int
):
    fired = None if fired_in_ms is None else START_MS + fired_in_ms
    alert = await rig.admit(fired_at_ms=fired)
    assert rig.instruction(alert)["deadline"] == str(START_MS + deadline_in_ms)


async def test_a_lane_with_a_token_gets_no_second_one(rig: Rig):
    await rig.admit()
    fence = rig.fence()
    await rig.admit()
    assert len(rig.tokens()) == 1
    assert rig.fence() == fence


async def test_a_parked_lane_gets_no_token(rig: Rig):
    hold = await rig.hold()
    await rig.park(hold)
    await rig.admit()
    assert rig.tokens() == []
    assert rig.fence() is None
    assert rig.redis.xlen(rig.keys.lane(hold.held.lane)) == 2


async def test_the_same_id_and_body_again_is_a_duplicate_of_the_first(rig: Rig):
    first = await rig.admit(sender_id="x")
    with rig.nothing_written():
        again = rig.admission(sender_id="x")
        assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(first)


async def test_the_senders_id_with_another_body_is_a_conflict(rig: Rig):
    first = await rig.admit(sender_id="x")
    with rig.nothing_written():
        other = rig.admission(sender_id="x", digest="other")
        assert await rig.do(rig.intake.admissions.submit(other)) == Conflict(first)


async def test_a_key_that_is_not_the_senders_is_never_in_conflict(rig: Rig):
    first = await rig.admit(sender_id="x", is_sender_id=False)
    other = rig.admission(sender_id="x", digest="other", is_sender_id=False)
    assert await rig.do(rig.intake.admissions.submit(other)) == Duplicate(first)


async def test_past_its_window_a_key_is_free_again(rig: Rig):
    await rig.admit(sender_id="x", window_ms=40)
    one = rig.admission(sender_id="x")
    await eventually(lambda: not rig.redis.exists(rig.keys.seen(one.webhook, one.dedup_key)), 2)
    assert await rig.do(rig.intake.admissions.submit(one)) == Admitted(one.alert_id)


async def test_a_flight_that_stood_too_long_admits_nothing_but_knows_what_was_admitted(rig: Rig):
    first = await rig.admit(sender_id="x")
    keys, args = flight(rig, rig.admission("ETH"), not_after_ms=START_MS - 1)
    with rig.nothing_written():
        assert await rig.run("admit", keys, args) == [str(START_MS).encode(), [b"LATE", b""]]
        keys, args = flight(rig, rig.admission(sender_id="x"), not_after_ms=START_MS - 1)
        assert (await rig.run("admit", keys, args))[1] == [b"DUPLICATE", first.encode()]


async def test_a_flight_in_time_is_admitted_up_to_the_last_millisecond(rig: Rig):
    one = rig.admission()
    keys, args = flight(rig, one, not_after_ms=START_MS)
    assert (await rig.run("admit", keys, args))[1] == [b"ADMITTED", one.alert_id.encode()]


def flight(rig: Rig, one: Admission, *, not_after_ms: int) -> tuple[list[str], list[str | bytes | int]]:
    """Build the call for one admission for one account."""
    [to] = one.routed
    keys = [
        rig.keys.seen(one.webhook, one.dedup_key),
        rig.keys.alert(one.alert_id),
        rig.keys.instruction(one.alert_id, to.account),
        rig.keys.lane(to.lane),
    ]
    item = [one.alert_id, one.dedup_window_ms, one.digest, "1", one.alert, "", one.max_age_ms, 0, 1, 1]
    return keys, [not_after_ms, *item, to.account, to.market, to.lane, to.body]


async def test_copies_in_one_flight_are_admitted_once(rig: Rig):
    copies = [rig.admission(sender_id="x") for _ in range(20)]
    verdicts = await rig.do(*[rig.intake.admissions.submit(copy) for copy in copies])
    assert verdicts == [Admitted(copies[0].alert_id)] + [Duplicate(copies[0].alert_id)] * 19
    assert rig.redis.xlen(rig.keys.lane(copies[0].routed[0].lane)) == 1


async def test_an_alert_for_several_accounts_is_queued_for_each(rig: Rig):
    alert = await rig.admit(accounts=("desk", "fund"))
    assert sorted(lane for _, lane in rig.tokens()) == ["desk:BTC", "fund:BTC"]
    assert rig.redis.hget(rig.keys.alert(alert), "open") == "2"
    for account in ("desk", "fund"):
        assert rig.instruction(alert, account)["state"] == "QUEUED"
        assert rig.history(alert, account) == ["QUEUED"]


async def test_entries_of_a_lane_stand_in_the_order_of_the_flight(rig: Rig):
    many = [rig.admission() for _ in range(50)]
    await rig.do(*[rig.intake.admissions.submit(one) for one in many])
    entries = rig.redis.xrange(rig.keys.lane(many[0].routed[0].lane))
    assert [fields["alert"] for _, fields in entries] == [one.alert_id for one in many]


# Re-sent, memory limit, one bad item. There is no holder who could be stale.


async def test_re_sent_after_a_lost_reply_it_answers_as_the_first_time_and_queues_nothing_twice(rig: Rig):
    one = rig.admission()
    answer = await rig.lose_reply("admit", lambda: rig.intake.admissions.submit(one))
    assert answer == Admitted(one.alert_id)
    assert rig.redis.xlen(rig.keys.lane(one.routed[0].lane)) == 1
    assert len(rig.tokens()) == 1
    assert rig.history(one.alert_id) == ["QUEUED"]
    other = rig.admission(sender_id=one.dedup_key.removeprefix("id:"))
    assert await rig.do(rig.intake.admissions.submit(other)) == Duplicate(one.alert_id)


async def test_at_the_memory_limit_it_is_refused_as_passing_and_writes_nothing(rig: Rig):
    first = await rig.admit(sender_id="x")
    with rig.memory_limit_reached(), rig.nothing_written():
        with pytest.raises(StoreUnavailable):
            await rig.admit()
        # A resend of what is durable already is told so all the same.
        again = rig.admission(sender_id="x")
        assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(first)


async def test_one_lane_of_a_wrong_type_fails_alone_and_leaves_nothing_behind(rig: Rig):
    rig.redis.set(rig.keys.lane("desk:BAD"), "junk")
    many = [rig.admission("BTC"), rig.admission("BAD"), rig.admission("ETH")]
    first, bad, last = await rig.do(*[rig.intake.admissions.submit(one) for one in many])
    assert first == Admitted(many[0].alert_id)
    assert isinstance(bad, StoreCorrupt)
    assert last == Admitted(many[2].alert_id)
    assert not rig.redis.exists(rig.keys.alert(many[1].alert_id))
    assert not rig.instruction(many[1].alert_id)
    assert rig.fence("desk:BAD") is None


async def test_where_one_account_cannot_be_queued_none_is_since_the_resend_would_trade_it_twice(rig: Rig):
    rig.redis.set(rig.keys.lane("fund:BTC"), "junk")
    with rig.nothing_written(), pytest.raises(StoreCorrupt):
        await rig.admit(accounts=("desk", "fund"))


async def test_a_dedup_key_of_a_wrong_type_fails_alone(rig: Rig):
    bad, good = rig.admission(), rig.admission()
    seen = rig.keys.seen(bad.webhook, bad.dedup_key)
    rig.redis.hset(seen, "a", "b")
    rig.redis.expire(seen, 60)
    answers = await rig.do(*[rig.intake.admissions.submit(one) for one in (bad, good)])
    assert isinstance(answers[0], StoreCorrupt)
    assert answers[1] == Admitted(good.alert_id)


async def test_two_thousand_alerts_of_many_callers_are_each_queued_once(rig: Rig):
    many = [rig.admission(f"S{n % 40}") for n in range(2_000)]
    verdicts = await asyncio.gather(*[rig.intake.admissions.submit(one) for one in many])
    assert verdicts == [Admitted(one.alert_id) for one in many]
    assert sum(rig.redis.xlen(key) for key in rig.redis.keys(f"{rig.keys.prefix}lane:*")) == 2_000
    assert len(rig.tokens()) == 40


async def test_a_token_without_work_is_closed_when_it_is_opened(rig: Rig):
    # What is left of an admission that was cut off after the fence.
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    [held] = await rig.read()
    assert await rig.open(held) == Closed()
    assert rig.is_at_rest()
