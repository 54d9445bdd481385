from typing import Any

import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Head, Moved, Stale
from libs.common.store.order_answers import Expired, Go, Wait
from tests.integration.libs.common.store.lua.rig import LEASE_MS, START_MS, Hold, Rig


async def test_go_puts_the_intent_on_disk(rig: Rig):
    hold = await rig.hold()
    rig.now_ms += 100
    go = await rig.go(hold, nonce="n", window_ms=5_000)
    assert (go.expires_at_ms, go.wait_ms, go.market_breaker.generation, go.market_breaker.is_probe) == (
        START_MS + 5_100,
        0,
        0,
        False,
    )
    order = rig.order(hold.order_id)
    assert order == {
        "state": "SENDING",
        "attempt": "1",
        "nonce": "n",
        "signed_at": str(START_MS + 100),
        "expires_at": str(START_MS + 5_100),
        "misses": "0",
        "alert": hold.head.alert_id,
        "account": "desk",
        "lane": "desk:BTC",
        "granted": "0|0|0|0|0",
        "market": "BTC",
        "plan": '{"plan":1}',
    }
    assert rig.redis.ttl(rig.keys.order(hold.order_id)) == -1
    record = rig.instruction(hold.head.alert_id)
    assert (record["state"], record["attempts"], record["orders"]) == ("ACTIVE", "1", hold.order_id)
    assert (record["plan"], record["running"]) == ('{"plan":1}', hold.held.token)
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING"]


async def test_an_order_of_which_there_was_a_record_stays_on_record_for_as_long_as_it_is_open(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n1")
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="n1")
    rig.redis.expire(rig.keys.order(hold.order_id), 60)
    await rig.go(hold, attempt=2)
    assert rig.redis.ttl(rig.keys.order(hold.order_id)) == -1


async def test_the_request_expires_with_the_alert_at_the_latest(rig: Rig):
    hold = await rig.hold(max_age_ms=3_000)
    rig.now_ms += 1_000
    assert (await rig.go(hold, window_ms=5_000)).expires_at_ms == START_MS + 3_000


@pytest.mark.parametrize("age_ms", [60_000, 60_001, 10_000_000])
async def test_past_its_deadline_nothing_is_sent_and_nothing_written(rig: Rig, age_ms: int):
    hold = await rig.hold(max_age_ms=60_000)
    rig.now_ms += age_ms
    with rig.nothing_written():
        assert await rig.begin(hold) == Expired()


async def test_one_millisecond_before_its_deadline_it_may_go(rig: Rig):
    hold = await rig.hold(max_age_ms=60_000)
    rig.now_ms += 59_999
    assert (await rig.go(hold)).expires_at_ms == START_MS + 60_000


async def test_what_is_not_the_head_may_not_be_sent(rig: Rig):
    hold = await rig.hold(alerts=2)
    await rig.settle(hold, InstructionState.SKIPPED, order=None)
    with rig.nothing_written():
        assert await rig.begin(hold) == Moved()


@pytest.mark.parametrize("attempt", [2, 3, 0])
async def test_an_attempt_out_of_turn_is_refused(rig: Rig, attempt: int):
    hold = await rig.hold()
    with rig.nothing_written():
        assert await rig.begin(hold, attempt=attempt) == Moved()


@pytest.mark.parametrize("attempt", [1, 2])
async def test_an_order_that_may_be_under_way_is_never_sent_again(rig: Rig, attempt: int):
    hold = await rig.hold()
    await rig.go(hold, nonce="n1")
    for state in (OrderState.SENDING, OrderState.UNKNOWN):
        if state is OrderState.UNKNOWN:
            await rig.resolve(hold, OrderState.UNKNOWN)
        with rig.nothing_written():
            assert await rig.begin(hold, attempt=attempt, nonce="n2") == Moved()


async def test_what_was_certainly_not_executed_may_be_sent_again_with_a_plan_made_anew(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n1", plan=b"second")
    await rig.resolve(hold, OrderState.NOT_EXECUTED, nonce="n1")
    with rig.nothing_written():
        assert await rig.begin(hold, attempt=1, nonce="n1") == Moved()
    rig.now_ms += 50
    await rig.go(hold, attempt=2, nonce="n2", plan=b"second")
    order = rig.order(hold.order_id)
    assert (order["attempt"], order["nonce"], order["plan"]) == ("2", "n2", "second")
    record = rig.instruction(hold.head.alert_id)
    assert (record["attempts"], record["orders"], record["plan"]) == ("2", hold.order_id, "second")
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "NOT_EXECUTED", "SENDING"]


async def test_misses_of_an_earlier_attempt_do_not_count_for_the_next(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n1", window_ms=100)
    rig.now_ms += 200
    await rig.resolve(hold, None)
    await rig.resolve(hold, OrderState.NOT_EXECUTED)
    await rig.go(hold, attempt=2, nonce="n2")
    assert rig.order(hold.order_id)["misses"] == "0"


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.ACCEPTED, OrderState.REJECTED])
@pytest.mark.parametrize("attempt", [1, 2])
async def test_a_finished_order_is_never_sent_again(rig: Rig, state: OrderState, attempt: int):
    hold = await rig.hold()
    await rig.go(hold)
    rig.redis.hset(rig.keys.order(hold.order_id), "state", state)
    rig.check_moves()
    with rig.nothing_written():
        assert await rig.begin(hold, attempt=attempt, nonce="n2") == Moved()
    await rig.settle(hold, order=state)


async def test_go_starts_the_lease_afresh(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    await rig.go(hold)
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 5)
    assert entry["time_since_delivered"] < 5_000
    rig.lapse(hold.held.token)
    await rig.go(hold)  # re-sent
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 5)
    assert (entry["consumer"], entry["times_delivered"]) == ("a", 1)
    assert entry["time_since_delivered"] < 5_000


async def test_go_leaves_a_young_lease_as_it_is_but_not_when_it_is_asked_for_again(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    await rig.go(hold, is_lease_young=True)
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 5)
    assert entry["time_since_delivered"] >= LEASE_MS
    await rig.go(hold, is_lease_young=True)  # its answer was lost, so time has passed
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 5)
    assert entry["time_since_delivered"] < 5_000


async def test_with_the_group_gone_an_intent_on_disk_is_still_answered_as_such(rig: Rig):
    # An error here would leave the order to be looked up though its worker could have sent it.
    hold = await rig.hold()
    rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    assert isinstance(await rig.begin(hold), Go)
    rig.redis.delete(rig.keys.ready)
    assert isinstance(await rig.begin(hold), Go)


async def test_a_wait_clears_the_blame_that_a_crash_would_bring(rig: Rig):
    hold = await rig.hold()
    rig.redis.hset(rig.keys.breakers, "desk:BTC", f"open|1|{START_MS + 10}|0")
    assert isinstance(await rig.begin(hold), Wait)
    assert rig.instruction(hold.head.alert_id)["running"] == ""


# Re-sent, stale, memory limit, one bad item.


async def test_re_sent_after_a_lost_reply_it_answers_the_same_go_and_charges_nothing_twice(rig: Rig):
    hold = await rig.hold()
    bucket = rig.keys.account_bucket("desk")

    def call():
        return rig.orders().begin.submit(rig.intent(hold, account=(1_000_000, 2)))

    go = await rig.lose_reply("begin", call)
    assert (go.expires_at_ms, go.wait_ms) == (START_MS + 5_000, 0)
    charged = rig.redis.get(bucket)
    rig.now_ms += 700
    assert (await rig.do(call())).expires_at_ms == START_MS + 5_000
    assert rig.redis.get(bucket) == charged
    tat = int(charged.split("|")[0])
    assert tat == START_MS * 1_000 + 1_000_000
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING"]


async def test_a_wait_re_sent_keeps_its_place(rig: Rig):
    first = await rig.hold("A")
    await rig.go(first, account=(1_000_000, 1))
    hold = await rig.hold("B")

    def call():
        return rig.orders().begin.submit(rig.intent(hold, account=(1_000_000, 1)))

    wait = await rig.lose_reply("begin", call)
    assert wait == Wait(START_MS + 1_000, Reason.RATE_LIMIT, START_MS)
    assert int(rig.redis.get(rig.keys.account_bucket("desk")).split("|")[0]) == (START_MS + 2_000) * 1_000


async def test_another_holder_of_the_same_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        answer = await rig.do(rig.orders("b").begin.submit(rig.intent(hold)))
        assert answer == Stale()


async def test_a_holder_of_an_old_token_writes_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.begin(hold) == Stale()


async def test_a_token_that_was_read_but_not_opened_sends_nothing(rig: Rig):
    hold = await rig.hold()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    [held] = await rig.read()
    unopened = Hold(held, hold.head, "a")
    with rig.nothing_written():
        assert await rig.begin(unopened) == Stale()


async def test_at_the_memory_limit_intents_are_written_all_the_same(rig: Rig):
    hold = await rig.hold()
    with rig.memory_limit_reached():
        await rig.go(hold, account=(1_000_000, 1), symbol=(1_000_000, 1))
    assert rig.order(hold.order_id)["state"] == "SENDING"


async def test_one_bad_item_fails_alone_and_charges_nothing(rig: Rig):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    bad_bucket = rig.keys.account_bucket("desk")
    rig.redis.set(rig.keys.order(holds[1].order_id), "junk", ex=60)
    limits: dict[str, Any] = {"symbol": (1_000, 5), "account": (1_000, 5)}
    first, bad, last = await rig.do(*[rig.orders().begin.submit(rig.intent(h, **limits)) for h in holds])
    assert isinstance(first, Go)
    assert isinstance(bad, StoreCorrupt)
    assert isinstance(last, Go)
    assert int(rig.redis.get(bad_bucket).split("|")[0]) == START_MS * 1_000 + 2_000


async def test_a_bucket_of_a_wrong_type_costs_no_slot_in_the_other(rig: Rig):
    hold = await rig.hold()
    rig.redis.hset(rig.keys.account_bucket("desk"), "a", "b")
    rig.redis.expire(rig.keys.account_bucket("desk"), 60)
    with rig.nothing_written(), pytest.raises(StoreCorrupt):
        await rig.begin(hold, symbol=(1_000_000, 1), account=(1_000_000, 1))


async def test_junk_in_a_breaker_or_a_bucket_does_not_stop_trading(rig: Rig):
    hold = await rig.hold()
    rig.redis.hset(rig.keys.breakers, "desk:BTC", "junk")
    rig.redis.set(rig.keys.account_bucket("desk"), "junk", ex=60)
    assert isinstance(await rig.begin(hold, account=(1_000_000, 1)), Go)


async def test_a_malformed_entry_that_became_the_head_is_buried_on_the_way(rig: Rig):
    hold = await rig.hold()
    key = rig.keys.lane(hold.held.lane)
    rig.redis.xadd(key, {"foo": "bar"})
    await rig.go(hold)
    following = await rig.settle(hold)
    assert not isinstance(following, Head)
    assert rig.is_at_rest()


async def test_an_order_remembers_the_trace_of_its_instruction(rig: Rig):
    trace = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    traced = await rig.hold("BTC", body=b'{"market":"BTC","traceparent":"%b"}' % trace.encode())
    other = await rig.hold("ETH", body=b'{"strategy":"\\"traceparent\\":\\"00-aa\\""}')
    for hold in (traced, other):
        await rig.go(hold)
    assert rig.order(traced.order_id)["traceparent"] == trace
    assert "traceparent" not in rig.order(other.order_id)
