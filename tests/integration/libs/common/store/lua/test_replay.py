import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import DeadLetterId
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.head import Closed
from libs.common.wire.trace_context import replayed_context, stored_context
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig

DEAD, REJECTED, EXPIRED = InstructionState.DEAD, InstructionState.REJECTED, InstructionState.EXPIRED


async def buried(
    rig: Rig, state: InstructionState = DEAD, *, attempts: int = 0, **options
) -> tuple[Hold, DeadLetterId]:
    """End an instruction with a dead letter, after some attempts that were certainly not executed."""
    hold = await rig.hold(**options)
    for attempt in range(1, attempts + 1):
        await rig.go(hold, attempt=attempt, nonce=f"n{attempt}")
        await rig.resolve(hold, OrderState.NOT_EXECUTED, attempt=attempt, nonce=f"n{attempt}")
    await rig.settle(hold, state, reason=Reason.POISON, order=None)
    return hold, last_letter(rig)


def last_letter(rig: Rig) -> DeadLetterId:
    return DeadLetterId(rig.redis.xrevrange(rig.keys.dead, count=1)[0][0])


async def replay(rig: Rig, letter: str, lane: str = "desk:BTC", max_age_ms: int = 30_000) -> list[bytes]:
    return await rig.run("replay", [rig.keys.lane(lane)], [letter, max_age_ms])


@pytest.mark.parametrize("state", [DEAD, EXPIRED, REJECTED])
async def test_a_replayed_letter_is_queued_again_with_a_new_deadline(rig: Rig, state: InstructionState):
    hold, letter = await buried(rig, state)
    rig.now_ms += 100_000
    assert await replay(rig, letter) == [b"OK", hold.head.alert_id.encode(), b"desk", b"", b""]
    assert rig.letters() == []
    record = rig.instruction(hold.head.alert_id)
    assert (record["state"], record["reason"], record["deadline"]) == (
        "QUEUED",
        "replayed",
        str(START_MS + 130_000),
    )
    assert "ended_at" not in record
    assert rig.redis.ttl(rig.keys.instruction(hold.head.alert_id, "desk")) == -1
    alert = rig.keys.alert(hold.head.alert_id)
    assert rig.redis.hmget(alert, "open", "state") == ["1", None]
    assert rig.redis.ttl(alert) == -1
    assert rig.history(hold.head.alert_id) == ["QUEUED", state, "QUEUED"]
    again = await rig.take("b")
    assert again.head.deadline_ms == START_MS + 130_000
    assert again.head.lost_holders == 0


async def test_it_waits_behind_what_came_since(rig: Rig):
    _, letter = await buried(rig)
    other = await rig.admit()
    await replay(rig, letter)
    assert (await rig.take()).head.alert_id == other
    assert len(rig.tokens()) == 1


async def test_a_parked_lane_gets_no_token_by_a_replay(rig: Rig):
    _, letter = await buried(rig)
    await rig.park(await rig.hold())
    await replay(rig, letter)
    assert rig.tokens() == []


async def test_the_next_attempt_follows_the_last_one(rig: Rig):
    _, letter = await buried(rig, EXPIRED, attempts=2)
    await replay(rig, letter)
    hold = await rig.take()
    [order] = hold.head.orders
    assert (order.state, order.attempt) == (OrderState.NOT_EXECUTED, 2)
    assert rig.redis.ttl(rig.keys.order(hold.order_id)) == -1
    await rig.go(hold, attempt=3, nonce="n3")
    assert await rig.settle(hold, attempt=3) == Closed()
    assert rig.redis.hget(rig.keys.alert(hold.head.alert_id), "state") == "EXECUTED"


async def test_what_the_venue_refused_may_be_attempted_again(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    await rig.settle(hold, REJECTED, reason=Reason.VENUE_REJECTED, order=OrderState.REJECTED)
    await replay(rig, last_letter(rig))
    again = await rig.take()
    assert again.head.orders[0].state is OrderState.NOT_EXECUTED
    await rig.go(again, attempt=2, nonce="n2")


async def test_after_an_attempt_whose_record_is_gone_nothing_is_sent_again(rig: Rig):
    hold, letter = await buried(rig, EXPIRED, attempts=1)
    rig.lose(rig.keys.order(hold.order_id))
    with rig.nothing_written():
        assert await replay(rig, letter) == [b"NO_RECORD"]


async def test_after_an_attempt_whose_instruction_is_gone_nothing_is_sent_again(rig: Rig):
    hold, letter = await buried(rig, EXPIRED, attempts=1)
    rig.lose(rig.keys.instruction(hold.head.alert_id, "desk"))
    with rig.nothing_written():
        assert await replay(rig, letter) == [b"NO_RECORD"]


async def test_an_instruction_that_is_not_dead_is_not_replayed(rig: Rig):
    hold, letter = await buried(rig)
    rig.redis.hset(rig.keys.instruction(hold.head.alert_id, "desk"), "state", "QUEUED")
    with rig.nothing_written():
        assert await replay(rig, letter) == [b"STATE", b"QUEUED"]


async def test_a_letter_that_never_was_an_alert_cannot_be_replayed(rig: Rig):
    token = rig.redis.xadd(rig.keys.ready, {"lane": "desk:BTC"})
    rig.redis.hset(rig.keys.lanes, "desk:BTC", f"{token}|")
    rig.redis.xadd(rig.keys.lane("desk:BTC"), {"foo": "bar"})
    [held] = await rig.read()
    await rig.open(held)
    with rig.nothing_written():
        assert await replay(rig, last_letter(rig)) == [b"MALFORMED"]


@pytest.mark.parametrize("missing", ["lane", "attempts", "deadline", "body", "account"])
async def test_a_letter_of_junk_cannot_be_replayed(rig: Rig, missing: str):
    _, letter = await buried(rig)
    fields = rig.letters()[0]
    del fields[missing]
    rig.redis.xdel(rig.keys.dead, letter)
    rig.redis.xadd(rig.keys.dead, fields)
    with rig.nothing_written():
        assert await replay(rig, last_letter(rig)) == [b"MALFORMED"]


async def test_the_replay_of_one_account_leaves_the_others_as_they_are(rig: Rig):
    alert = await rig.admit(accounts=("desk", "fund"))
    for held in await rig.read():
        hold = Hold(held, await rig.open(held), "a")
        await rig.settle(hold, DEAD, order=None)
    letter = next(i for i, fields in rig.redis.xrange(rig.keys.dead) if fields["account"] == "fund")
    await replay(rig, letter, "fund:BTC")
    assert rig.instruction(alert, "desk")["state"] == "DEAD"
    assert rig.redis.hget(rig.keys.alert(alert), "open") == "1"
    hold = await rig.take()
    await rig.settle(hold, InstructionState.SKIPPED, order=None)
    key = rig.keys.alert(alert)
    # One of its instructions is still dead, and so is the alert; its letter may still be replayed.
    assert rig.redis.hget(key, "state") == "DEAD"
    assert rig.redis.pttl(key) > 30 * 86_400_000


# Re-sent, memory limit, a bad key.


async def test_a_letter_is_replayed_once(rig: Rig):
    _, letter = await buried(rig)
    answers = await rig.do(*[replay(rig, letter) for _ in range(5)])
    assert sorted(answer[0] for answer in answers) == [b"GONE"] * 4 + [b"OK"]
    assert rig.redis.xlen(rig.keys.lane("desk:BTC")) == 1


async def test_re_sent_after_a_lost_reply_it_finds_the_letter_gone_and_queues_nothing_twice(rig: Rig):
    _, letter = await buried(rig)
    assert await rig.lose_reply("replay", lambda: replay(rig, letter)) == [b"GONE"]
    assert rig.redis.xlen(rig.keys.lane("desk:BTC")) == 1
    assert len(rig.tokens()) == 1


async def test_the_holder_that_buried_it_is_stale(rig: Rig):
    hold, letter = await buried(rig)
    await replay(rig, letter)
    with rig.nothing_written():
        assert type(await rig.settle(hold, DEAD, order=None)).__name__ == "Stale"


async def test_at_the_memory_limit_letters_are_replayed_all_the_same(rig: Rig):
    _, letter = await buried(rig)
    with rig.memory_limit_reached():
        assert (await replay(rig, letter))[0] == b"OK"


@pytest.mark.parametrize("what", ["lane", "instruction", "alert", "order"])
async def test_a_key_of_a_wrong_type_fails_it_and_the_letter_stays(rig: Rig, what: str):
    hold, letter = await buried(rig, attempts=1)
    rig.spoil(
        {
            "lane": rig.keys.lane("desk:BTC"),
            "instruction": rig.keys.instruction(hold.head.alert_id, "desk"),
            "alert": rig.keys.alert(hold.head.alert_id),
            "order": rig.keys.order(hold.order_id),
        }[what]
    )
    with rig.nothing_written(), pytest.raises(StoreCorrupt):
        await replay(rig, letter)


async def test_a_traced_letter_gets_a_new_trace_and_remembers_the_one_before(rig: Rig):
    first = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    named_like_it = rb'"strategy":"\"traceparent\":\"00-0\""'
    body = b'{"market":"BTC",%b,"traceparent":"%b","symbol":"X"}' % (named_like_it, first.encode())
    _, letter = await buried(rig, body=body)
    seen = [first]
    for _ in range(3):
        answer = [word.decode() for word in await replay(rig, letter)]
        assert answer[4] == seen[-1]
        again = await rig.take()
        context, before = stored_context(again.head.body), replayed_context(again.head.body)
        assert context is not None
        assert before is not None
        assert (context.traceparent, before.traceparent) == (answer[3], seen[-1])
        assert again.head.body.count(b"replay_of") == 1
        assert again.head.body.startswith(b'{"market":"BTC",%b,' % named_like_it)
        assert again.head.body.endswith(b',"symbol":"X"}')
        assert context.is_sampled
        assert context.trace_id not in {one[3:35] for one in seen}
        seen.append(answer[3])
        await rig.settle(again, DEAD, reason=Reason.POISON, order=None)
        letter = last_letter(rig)
