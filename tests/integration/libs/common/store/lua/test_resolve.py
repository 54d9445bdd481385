import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import OrderState
from libs.common.store.head import Moved, Stale
from libs.common.store.order_answers import Noted, TooEarly
from tests.integration.libs.common.store.lua.rig import Rig

NOT_EXECUTED, UNKNOWN = OrderState.NOT_EXECUTED, OrderState.UNKNOWN
WINDOW_MS = 5_000


async def test_a_time_out_makes_the_order_unknown(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    assert await rig.resolve(hold, UNKNOWN) == Noted(0)
    assert rig.order(hold.order_id)["state"] == "UNKNOWN"
    assert rig.instruction(hold.head.alert_id)["running"] == ""
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "UNKNOWN"]
    assert rig.redis.ttl(rig.keys.order(hold.order_id)) == -1


@pytest.mark.parametrize("state", [NOT_EXECUTED, None])
@pytest.mark.parametrize("is_unknown", [False, True])
async def test_nothing_found_is_not_believed_while_the_request_may_still_execute(
    rig: Rig, state: OrderState | None, is_unknown: bool
):
    hold = await rig.hold()
    go = await rig.go(hold, window_ms=WINDOW_MS)
    if is_unknown:
        await rig.resolve(hold, UNKNOWN)
    for at_ms in (rig.now_ms, go.expires_at_ms, go.expires_at_ms + 500):
        rig.now_ms = at_ms
        with rig.nothing_written():
            early = await rig.resolve(hold, state, margin_ms=500)
            assert early == TooEarly(go.expires_at_ms + 500 - at_ms + 1)
    rig.now_ms += 1
    assert isinstance(await rig.resolve(hold, state, margin_ms=500), Noted)


async def test_its_own_sender_knows_at_once_that_it_never_left(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="mine")
    assert await rig.resolve(hold, NOT_EXECUTED, nonce="mine") == Noted(0)
    assert rig.order(hold.order_id)["state"] == "NOT_EXECUTED"


async def test_anothers_nonce_is_no_reason_to_believe_early(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="mine")
    with rig.nothing_written():
        assert isinstance(await rig.resolve(hold, NOT_EXECUTED, nonce="other"), TooEarly)


async def test_no_nonce_is_nobodys_own(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="")
    assert isinstance(await rig.resolve(hold, NOT_EXECUTED), TooEarly)


async def test_look_ups_that_found_nothing_are_counted_across_holders(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, window_ms=WINDOW_MS)
    rig.now_ms += WINDOW_MS + 1
    assert await rig.resolve(hold, None) == Noted(1)
    assert await rig.resolve(hold, None) == Noted(2)
    await rig.open(hold.held, "b")
    [order] = (await rig.open(hold.held, "b")).orders
    assert order.misses == 2
    assert rig.order(hold.order_id)["state"] == "SENDING"


async def test_the_finding_of_an_earlier_attempt_is_refused(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n1")
    await rig.resolve(hold, NOT_EXECUTED, nonce="n1")
    await rig.go(hold, attempt=2, nonce="n2")
    with rig.nothing_written():
        for state in (UNKNOWN, NOT_EXECUTED, None):
            assert await rig.resolve(hold, state, nonce="n1", attempt=1) == Moved()


@pytest.mark.parametrize("final", [OrderState.FILLED, OrderState.REJECTED, OrderState.ACCEPTED])
async def test_what_is_known_is_not_made_unknown_again(rig: Rig, final: OrderState):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    rig.redis.hset(rig.keys.order(hold.order_id), "state", final)
    rig.now_ms += 1_000_000
    with rig.nothing_written():
        for state in (UNKNOWN, NOT_EXECUTED, None):
            assert await rig.resolve(hold, state, nonce="n") == Moved()
    await rig.settle(hold, order=final)


async def test_not_executed_is_not_made_unknown_again(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    await rig.resolve(hold, NOT_EXECUTED, nonce="n")
    with rig.nothing_written():
        assert await rig.resolve(hold, UNKNOWN) == Moved()


async def test_an_order_nobody_began_cannot_be_resolved(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        for state in (UNKNOWN, NOT_EXECUTED, None):
            assert await rig.resolve(hold, state) == Moved()


# Re-sent, stale, memory limit, one bad item.


@pytest.mark.parametrize("state", [UNKNOWN, NOT_EXECUTED])
async def test_re_sent_after_a_lost_reply_it_is_noted_once(rig: Rig, state: OrderState):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    finding = rig.finding(hold, state, nonce="n")
    assert await rig.lose_reply("resolve", lambda: rig.orders().resolve.submit(finding)) == Noted(0)
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", state]


async def test_a_look_up_told_twice_after_a_lost_reply_counts_once(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, window_ms=WINDOW_MS)
    rig.now_ms += WINDOW_MS + 1
    finding = rig.finding(hold, None)
    assert await rig.lose_reply("resolve", lambda: rig.orders().resolve.submit(finding)) == Noted(1)
    assert await rig.resolve(hold, None) == Noted(2)


@pytest.mark.parametrize("state", [UNKNOWN, NOT_EXECUTED, None])
async def test_a_stale_holder_writes_nothing(rig: Rig, state: OrderState | None):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    rig.now_ms += 1_000_000
    with rig.nothing_written():
        other = rig.orders("b").resolve.submit(rig.finding(hold, state, nonce="n"))
        assert await rig.do(other) == Stale()
    await rig.do(rig.lanes().yield_.submit(hold.held))
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.resolve(hold, state, nonce="n") == Stale()


async def test_at_the_memory_limit_findings_are_noted_all_the_same(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold, nonce="n")
    with rig.memory_limit_reached():
        assert await rig.resolve(hold, UNKNOWN) == Noted(0)
        assert await rig.resolve(hold, NOT_EXECUTED, nonce="n") == Noted(0)
    assert rig.history(hold.head.alert_id) == ["QUEUED", "SENDING", "UNKNOWN", "NOT_EXECUTED"]


async def test_one_bad_order_in_a_batch_fails_alone(rig: Rig):
    holds = [await rig.hold(market) for market in ("A", "BAD", "C")]
    for hold in holds:
        await rig.go(hold)
    rig.spoil(rig.keys.order(holds[1].order_id))
    answers = await rig.do(*[rig.orders().resolve.submit(rig.finding(hold, UNKNOWN)) for hold in holds])
    assert answers[0] == answers[2] == Noted(0)
    assert isinstance(answers[1], StoreCorrupt)


async def test_an_order_without_the_name_of_its_alert_fails_and_stays_as_it_is(rig: Rig):
    hold = await rig.hold()
    await rig.go(hold)
    rig.redis.hdel(rig.keys.order(hold.order_id), "alert")
    with rig.nothing_written(), pytest.raises(StoreCorrupt):
        await rig.resolve(hold, UNKNOWN)
