import asyncio
from typing import Any

import msgspec
import pytest

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, EventId, WebhookName
from libs.common.policy.limits import Limit
from libs.common.store.admission import Admission
from libs.common.store.head import Closed
from libs.common.store.intake import KEPT_BYTES, Admitted, Conflict, Duplicate, Refusal, Throttled
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
        "epoch": "0",
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
    seen = rig.keys.seen(one.webhook, one.dedup_keys[0])
    assert rig.redis.get(seen) == f"{one.alert_id}|digest"
    assert 0 < rig.redis.pttl(seen) <= 600_000


async def test_records_token_fence_and_entry_are_written_before_the_dedup_key(rig: Rig):
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
    assert written == ["alert", "journal", "instruction", "ready", "lanes", "lane", "seen"]


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
    before = rig.dump()
    again = rig.admission(sender_id="x")
    assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(first)
    assert written_since(rig, before) == {"refused", "meta"}


async def test_a_duplicate_leaves_a_trace_that_names_the_first(rig: Rig):
    first = await rig.admit(sender_id="x")
    again = rig.admission(sender_id="x")
    await rig.do(rig.intake.admissions.submit(again))
    [(_, trace)] = rig.redis.xrange(rig.keys.refused)
    assert trace == {
        "event": again.alert_id,
        "webhook": "default",
        "status": "200",
        "code": "duplicate",
        "alert": first,
        "size": trace["size"],
    }


def written_since(rig: Rig, before: dict[str, bytes]) -> set[str]:
    """Return the bare names of keys that are not as they were."""
    after = rig.dump()
    return {name.partition("}:")[2] for name in before | after if before.get(name) != after.get(name)}


async def test_the_senders_id_with_another_body_is_a_conflict(rig: Rig):
    first = await rig.admit(sender_id="x")
    with rig.nothing_written():
        other = rig.admission(sender_id="x", digest="other")
        assert await rig.do(rig.intake.admissions.submit(other)) == Conflict(first)


async def test_a_key_that_is_not_the_senders_is_never_in_conflict(rig: Rig):
    first = await rig.admit(sender_id="x", is_sender_id=False)
    other = rig.admission(sender_id="x", digest="other", is_sender_id=False)
    assert await rig.do(rig.intake.admissions.submit(other)) == Duplicate(first, is_same_body=False)


async def test_past_its_window_a_key_is_free_again(rig: Rig):
    await rig.admit(sender_id="x", window_ms=40)
    one = rig.admission(sender_id="x")
    await eventually(lambda: not rig.redis.exists(rig.keys.seen(one.webhook, one.dedup_keys[0])), 2)
    assert await rig.do(rig.intake.admissions.submit(one)) == Admitted(one.alert_id)


async def test_a_flight_that_stood_too_long_admits_nothing_but_knows_what_was_admitted(rig: Rig):
    first = await rig.admit(sender_id="x")
    keys, args = flight(rig, rig.admission("ETH"), not_after_ms=START_MS - 1)
    with rig.nothing_written():
        assert await rig.run("admit", keys, args) == [str(START_MS).encode(), b"0", b"0", [b"LATE", b""]]
    keys, args = flight(rig, rig.admission(sender_id="x"), not_after_ms=START_MS - 1)
    assert (await rig.run("admit", keys, args))[3] == [b"DUPLICATE", first.encode(), b"1"]


async def test_a_flight_in_time_is_admitted_up_to_the_last_millisecond(rig: Rig):
    one = rig.admission()
    keys, args = flight(rig, one, not_after_ms=START_MS)
    assert (await rig.run("admit", keys, args))[3] == [b"ADMITTED", one.alert_id.encode()]


def flight(rig: Rig, one: Admission, *, not_after_ms: int) -> tuple[list[str], list[str | bytes | int]]:
    """Build the call for one admission for one account."""
    [to] = one.routed
    keys = [
        rig.keys.refused,
        rig.keys.alert(one.alert_id),
        rig.keys.seen(one.webhook, one.dedup_keys[0]),
        rig.keys.instruction(one.alert_id, to.account),
        rig.keys.lane(to.lane),
    ]
    terms = [one.webhook, one.dedup_window_ms, "1", 1, "", "", one.max_age_ms, 0, 1, to.account, 1, ""]
    item: list[Any] = [1, one.alert_id, one.digest, one.alert, "", to.market, to.lane, to.body]
    return keys, [not_after_ms, 1_000_000, "", "", "", 1, 1, *terms, *item]


async def test_copies_in_one_flight_are_admitted_once(rig: Rig):
    copies = [rig.admission(sender_id="x") for _ in range(20)]
    verdicts = await rig.do(*[rig.intake.admissions.submit(copy) for copy in copies])
    assert verdicts == [Admitted(copies[0].alert_id)] + [Duplicate(copies[0].alert_id)] * 19
    assert rig.redis.xlen(rig.keys.lane(copies[0].routed[0].lane)) == 1


async def test_each_alert_of_a_flight_is_admitted_on_its_own_terms(rig: Rig):
    plain = [rig.admission(market) for market in ("BTC", "ETH")]
    spread = rig.admission(
        "BTC",
        accounts=("fund", "desk", "prop"),
        declined={"desk": ("REJECTED", "not_allowed", "words")},
        max_age_ms=30_000,
        fired_at_ms=START_MS - 1_000,
    )
    of_bars = rig.admission("SOL", dedup_keys=("bar:1", "bar:2"), is_sender_id=False, window_ms=9_000_000)
    limit = Limit(interval_us=60_000_000, burst=1)
    rated = [
        msgspec.structs.replace(rig.admission("XRP", limit=limit), webhook=WebhookName("other"))
        for _ in range(2)
    ]
    failing = rig.admission("junk")
    rig.redis.set(rig.keys.lane(failing.routed[0].lane), "junk")

    # The first flight carries one item, and all others the second.
    submitted = [plain[0], plain[1], failing, spread, rated[0], of_bars, rated[1], rig.admission("ETH")]
    verdicts = await rig.do(*[rig.intake.admissions.submit(one) for one in submitted])

    assert isinstance(verdicts.pop(2), StoreCorrupt)
    assert isinstance(verdicts.pop(5), Throttled)
    assert all(isinstance(verdict, Admitted) for verdict in verdicts)
    assert [rig.redis.xlen(rig.keys.lane(f"desk:{market}")) for market in ("BTC", "ETH", "SOL", "XRP")] == [
        1,
        2,
        1,
        1,
    ]
    found = {account: rig.instruction(spread.alert_id, account) for account in ("fund", "desk", "prop")}
    assert {account: (one["state"], one["market"], one["lane"]) for account, one in found.items()} == {
        "fund": ("QUEUED", "BTC", "fund:BTC"),
        "desk": ("REJECTED", "", "desk:BTC"),
        "prop": ("QUEUED", "BTC", "prop:BTC"),
    }
    assert {one["deadline"] for one in found.values()} == {str(START_MS + 29_000)}
    assert rig.instruction(plain[1].alert_id)["deadline"] == str(START_MS + 60_000)
    record = rig.redis.hgetall(rig.keys.alert(spread.alert_id))
    assert (record["open"], record["accounts"], record["ended"]) == ("2", "fund desk prop", "desk=REJECTED")
    of_webhooks = {
        entry["alert"]: entry["detail"]
        for _, entry in rig.redis.xrange(rig.keys.journal)
        if entry["event"] == "QUEUED"
    }
    assert of_webhooks[of_bars.alert_id] == "default"
    assert of_webhooks[rated[0].alert_id] == "other"
    assert rig.redis.exists(rig.keys.webhook_bucket("other"))
    assert rig.redis.pttl(rig.keys.seen("default", "bar:1")) > 8_000_000
    assert not rig.redis.exists(rig.keys.seen("default", "bar:2"))
    assert rig.redis.pttl(rig.keys.seen("default", plain[0].dedup_keys[0])) <= 600_000


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
    other = rig.admission(sender_id=one.dedup_keys[0].removeprefix("id:"))
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
    seen = rig.keys.seen(bad.webhook, bad.dedup_keys[0])
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


MINUTE_MS = 60_000
HALF_A_MINUTE = Limit(interval_us=2_000_000, burst=5)


async def offer(rig: Rig, limit: Limit | None, count: int = 1) -> list[object]:
    many = [rig.intake.admissions.submit(rig.admission(limit=limit)) for _ in range(count)]
    verdicts = await rig.do(*many)
    return verdicts if count > 1 else [verdicts]


async def test_a_webhooks_burst_is_admitted_at_once_and_the_rest_told_when_to_come_back(rig: Rig):
    verdicts = await offer(rig, HALF_A_MINUTE, 7)
    assert [type(verdict) for verdict in verdicts] == [Admitted] * 5 + [Throttled] * 2
    assert verdicts[-1] == Throttled(2_000)


async def test_a_refusal_for_the_rate_writes_nothing_and_costs_nothing(rig: Rig):
    await offer(rig, HALF_A_MINUTE, 5)
    with rig.nothing_written():
        await offer(rig, HALF_A_MINUTE, 3)
    rig.now_ms += 2_000
    assert isinstance((await offer(rig, HALF_A_MINUTE))[0], Admitted)


async def test_a_resend_of_what_was_admitted_is_a_duplicate_whatever_the_rate(rig: Rig):
    first = await rig.admit(sender_id="x", limit=HALF_A_MINUTE)
    await offer(rig, HALF_A_MINUTE, 4)
    again = rig.admission(sender_id="x", limit=HALF_A_MINUTE)
    assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(first)


async def test_webhooks_without_a_rate_and_others_are_not_held_back(rig: Rig):
    await offer(rig, HALF_A_MINUTE, 6)
    assert all(isinstance(verdict, Admitted) for verdict in await offer(rig, None, 20))


async def test_in_every_window_at_most_burst_and_rate_are_admitted_and_no_fewer_than_that_less_one(rig: Rig):
    # Offered ten times a second, far above one every two seconds.
    step_ms, steps = 100, 900
    admitted_at: list[int] = []
    for step in range(steps):
        if isinstance((await offer(rig, HALF_A_MINUTE))[0], Admitted):
            admitted_at.append(step * step_ms)
        rig.now_ms += step_ms
    for window_ms in (1_000, 10_000, MINUTE_MS):
        most = 5 + window_ms // 2_000
        for start_ms in range(0, steps * step_ms - window_ms, 500):
            assert sum(start_ms <= at < start_ms + window_ms for at in admitted_at) <= most
    total = 5 + steps * step_ms // 2_000
    assert total - 1 <= len(admitted_at) <= total


async def test_a_clock_that_stepped_back_does_not_close_the_door(rig: Rig):
    await offer(rig, HALF_A_MINUTE, 5)
    rig.now_ms += -3_600_000
    rig.now_ms += 10_000
    assert isinstance((await offer(rig, HALF_A_MINUTE))[0], Admitted)


async def test_as_many_entries_of_a_bar_are_admitted_as_the_webhook_allows(rig: Rig):
    def entry(digest: str) -> Admission:
        return rig.admission(dedup_keys=("bar:1:0", "bar:1:1"), digest=digest, is_sender_id=False)

    entries = [entry("first"), entry("second"), entry("third"), entry("second")]
    first, second, third, again = [await rig.do(rig.intake.admissions.submit(one)) for one in entries]
    assert (first, second) == (Admitted(entries[0].alert_id), Admitted(entries[1].alert_id))
    assert third == Duplicate(entries[0].alert_id, is_same_body=False)
    # A resend is one of its own first post.
    assert again == Duplicate(entries[1].alert_id)


async def test_a_resend_takes_no_place_that_is_free_in_its_bar(rig: Rig):
    keys = ("bar:1:0", "bar:1:1")
    first = await rig.admit(dedup_keys=keys, digest="same", is_sender_id=False)
    again = rig.admission(dedup_keys=keys, digest="same", is_sender_id=False)
    assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(first)


async def test_an_account_that_declines_ends_at_once_beside_one_that_takes_the_alert(rig: Rig):
    declined = {"fund": ("REJECTED", "unknown_symbol", "not in the table")}
    alert = await rig.admit(accounts=("desk", "fund"), declined=declined)
    assert rig.instruction(alert)["state"] == "QUEUED"
    ended = rig.instruction(alert, "fund")
    assert (ended["state"], ended["reason"], ended["detail"]) == declined["fund"]
    assert sorted(lane for _, lane in rig.tokens()) == ["desk:BTC"]
    [(_, letter)] = rig.redis.xrange(rig.keys.dead)
    assert (letter["account"], letter["reason"]) == ("fund", "unknown_symbol")


async def test_what_an_account_skips_leaves_no_dead_letter(rig: Rig):
    await rig.admit(accounts=("desk", "fund"), declined={"fund": ("SKIPPED", "not_allowed", "no")})
    assert not rig.redis.exists(rig.keys.dead)


async def test_an_alert_that_one_account_declined_ends_as_the_worst_and_expires_with_all_its_records(
    rig: Rig,
):
    alert = await rig.admit(
        accounts=("desk", "fund"), declined={"fund": ("REJECTED", "unknown_symbol", "not in the table")}
    )
    hold = await rig.take()
    await rig.go(hold)
    await rig.settle(hold)
    record = rig.redis.hgetall(rig.keys.alert(alert))
    assert (record["state"], record["open"]) == ("REJECTED", "0")
    for key in (rig.keys.alert(alert), rig.keys.instruction(alert, AccountName("fund"))):
        assert rig.redis.pttl(key) > 0


async def test_posts_that_were_not_admitted_are_bounded_by_bytes(rig: Rig):
    refusal = Refusal(EventId("e"), WebhookName("default"), 422, "code", "field", "detail", "x" * 1_000)
    for _ in range(40):
        await rig.do(*[rig.intake.refusals.submit(refusal) for _ in range(50)])
    entries = rig.redis.xrange(rig.keys.refused)
    held = sum(int(fields["size"]) for _, fields in entries)
    assert held == int(rig.redis.hget(rig.keys.meta, "refused_bytes"))
    assert KEPT_BYTES * 0.95 < held <= KEPT_BYTES
    assert rig.redis.memory_usage(rig.keys.refused, samples=0) < 1_000_000


def part_of(admission: Admission, alert: AlertId) -> Admission:
    """Return what a shard gets of an alert that another shard owns."""
    return msgspec.structs.replace(
        admission, alert_id=alert, dedup_keys=(f"part:{alert}",), limit=None, is_part=True
    )


async def test_a_part_is_queued_once_under_the_id_that_its_owner_answered(rig: Rig):
    owners = AlertId("owners-id")
    parts = [part_of(rig.admission(accounts=("desk", "fund")), owners) for _ in range(3)]
    assert await rig.do(rig.intake.admissions.submit(parts[0])) == Admitted(owners)
    with rig.nothing_written():
        for again in parts[1:]:
            assert await rig.do(rig.intake.admissions.submit(again)) == Duplicate(owners)
    assert sorted(lane for _, lane in rig.tokens()) == ["desk:BTC", "fund:BTC"]
    assert rig.redis.hget(rig.keys.alert(owners), "accounts") == "desk fund"


async def test_a_part_of_a_shard_whose_accounts_all_decline_ends_at_once_and_expires(rig: Rig):
    declined = {
        "fund": ("REJECTED", "unknown_symbol", "not in the table"),
        "desk": ("SKIPPED", "not_allowed", "no"),
    }
    owners = AlertId("owners-id")
    part = part_of(rig.admission(accounts=("desk", "fund"), declined=declined), owners)
    assert await rig.do(rig.intake.admissions.submit(part)) == Admitted(owners)
    record = rig.redis.hgetall(rig.keys.alert(owners))
    assert (record["state"], record["open"]) == ("REJECTED", "0")
    for key in (
        rig.keys.alert(owners),
        *(rig.keys.instruction(owners, AccountName(name)) for name in ("desk", "fund")),
    ):
        assert rig.redis.pttl(key) > 0
    assert not rig.tokens()
