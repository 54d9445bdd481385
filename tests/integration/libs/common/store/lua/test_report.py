from typing import Any

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.reasons import Reason
from libs.common.store.breakers import BreakerReport
from libs.common.store.order_answers import Go, Wait
from tests.integration.libs.common.store.lua.rig import START_MS, Hold, Rig

SCOPE = "desk"
RESET_MS = 10_000
PROBE_MS = 4_000


async def report(rig: Rig, generation: int, *, opens: bool) -> None:
    await rig.do(rig.breakers.report(BreakerReport(SCOPE, generation, opens, RESET_MS)))


def breaker(rig: Rig) -> str:
    return rig.redis.hget(rig.keys.breakers, SCOPE)


async def begin_elsewhere(rig: Rig, market: str, holder: str) -> tuple[Hold, Any]:
    """Begin an order of another lane under the same breaker."""
    hold = await rig.hold(market, holder=holder)
    return hold, await rig.begin(hold, probe_ms=PROBE_MS)


async def test_an_open_breaker_lets_nothing_through_until_its_reset(rig: Rig):
    hold = await rig.hold()
    await report(rig, 0, opens=True)
    assert breaker(rig) == f"open|1|{START_MS + RESET_MS}|0"
    for at_ms in (START_MS, START_MS + RESET_MS - 1):
        rig.now_ms = at_ms
        assert await rig.begin(hold) == Wait(
            START_MS + RESET_MS, Reason.BREAKER_OPEN, at_ms, "of the whole account"
        )
    assert not rig.redis.exists(rig.keys.order(hold.order_id))
    rig.now_ms += 1
    go = await rig.go(hold)
    assert (go.account_breaker.generation, go.account_breaker.is_probe) == (1, True)
    assert ("BREAKER", "open") in rig.journal()


async def test_the_breaker_of_a_market_holds_its_own_lane_and_no_other(rig: Rig):
    await rig.do(rig.breakers.report(BreakerReport("desk:A", 0, opens=True, reset_ms=RESET_MS)))
    one, two = await rig.hold("A"), await rig.hold("B")
    assert await rig.begin(one) == Wait(START_MS + RESET_MS, Reason.BREAKER_OPEN, START_MS)
    await rig.go(two)
    rig.now_ms += RESET_MS
    assert (await rig.go(one, probe_ms=PROBE_MS)).market_breaker.is_probe
    # Its one probe is out: the next attempt waits for what becomes of it.
    await rig.resolve(one, OrderState.NOT_EXECUTED, nonce="nonce-1")
    again = await rig.begin(one, attempt=2, nonce="nonce-2")
    assert (again.reason, again.until_ms) == (Reason.BREAKER_OPEN, rig.now_ms + PROBE_MS)


async def test_a_wait_for_the_breaker_ends_with_the_deadline_at_the_latest(rig: Rig):
    hold = await rig.hold(max_age_ms=3_000)
    await report(rig, 0, opens=True)
    assert await rig.begin(hold) == Wait(
        START_MS + 3_000, Reason.BREAKER_OPEN, START_MS, "of the whole account"
    )


async def test_after_the_reset_one_probe_goes_and_the_others_wait_for_it(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    holds = [await rig.hold(f"M{n}") for n in range(5)]
    orders = rig.orders()
    begun = await rig.do(*[orders.begin.submit(rig.intent(h, probe_ms=PROBE_MS)) for h in holds])
    assert [type(one) for one in begun] == [Go, Wait, Wait, Wait, Wait]
    assert begun[0].account_breaker.is_probe
    assert {one.until_ms for one in begun[1:]} == {rig.now_ms + PROBE_MS}
    rig.now_ms += PROBE_MS - 1
    _, still = await begin_elsewhere(rig, "M9", "b")
    assert isinstance(still, Wait)


async def test_the_probe_that_was_answered_closes_the_breaker(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    _, probe = await begin_elsewhere(rig, "A", "a")
    await report(rig, probe.account_breaker.generation, opens=False)
    assert breaker(rig) == "closed|2|0|0"
    _, go = await begin_elsewhere(rig, "B", "b")
    assert (go.account_breaker.generation, go.account_breaker.is_probe) == (2, False)


async def test_the_probe_that_failed_opens_it_again_for_a_whole_reset(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    _, probe = await begin_elsewhere(rig, "A", "a")
    rig.now_ms += 500
    await report(rig, probe.account_breaker.generation, opens=True)
    assert breaker(rig) == f"open|2|{rig.now_ms + RESET_MS}|0"


async def test_a_probe_whose_worker_died_is_followed_by_another(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    _, first = await begin_elsewhere(rig, "A", "a")
    rig.now_ms += PROBE_MS
    _, second = await begin_elsewhere(rig, "B", "b")
    assert (first.account_breaker.is_probe, second.account_breaker.is_probe) == (True, True)


async def test_a_probe_re_sent_is_the_same_probe(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    hold = await rig.hold()
    first = await rig.go(hold, probe_ms=PROBE_MS)
    rig.now_ms += 100
    again = await rig.go(hold, probe_ms=PROBE_MS)
    assert (again.account_breaker.is_probe, again.account_breaker.generation) == (
        True,
        first.account_breaker.generation,
    )
    assert breaker(rig).endswith(f"|{START_MS + RESET_MS + PROBE_MS}")


async def test_no_probe_is_granted_to_what_waits_for_its_rate_limit(rig: Rig):
    first = await rig.hold("A")
    await rig.go(first, account=(1_000_000, 1))
    await report(rig, 0, opens=True)
    rig.redis.hset(rig.keys.breakers, SCOPE, f"open|1|{START_MS}|0")
    second = await rig.hold("B")
    waits = await rig.begin(second, account=(1_000_000, 1))
    assert waits.reason is Reason.RATE_LIMIT
    assert breaker(rig) == f"open|1|{START_MS}|0"


async def test_a_breaker_that_is_open_costs_no_slot_of_the_limit(rig: Rig):
    await report(rig, 0, opens=True)
    hold = await rig.hold()
    await rig.begin(hold, account=(1_000_000, 1))
    assert not rig.redis.exists(rig.keys.account_bucket("desk"))


async def test_breakers_of_other_scopes_are_not_touched(rig: Rig):
    await rig.do(rig.breakers.report(BreakerReport("desk:BTC", 0, opens=True, reset_ms=RESET_MS)))
    hold = await rig.hold("ETH")
    assert isinstance(await rig.begin(hold), Go)


async def test_re_sent_after_a_lost_reply_it_moves_nothing_twice(rig: Rig):
    one = BreakerReport(SCOPE, 0, opens=True, reset_ms=RESET_MS)
    await rig.lose_reply("report", lambda: rig.breakers.report(one))
    assert breaker(rig).startswith("open|1|")
    assert rig.journal().count(("BREAKER", "open")) == 1


async def test_a_late_report_is_dropped(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += 5_000
    with rig.nothing_written():
        await report(rig, 0, opens=True)  # a call made before it opened keeps it open no longer
        await report(rig, 0, opens=False)  # nor does it close it
    rig.now_ms += RESET_MS
    _, probe = await begin_elsewhere(rig, "A", "a")
    await report(rig, probe.account_breaker.generation, opens=False)
    with rig.nothing_written():
        await report(rig, probe.account_breaker.generation, opens=True)


async def test_at_the_memory_limit_it_is_moved_all_the_same(rig: Rig):
    with rig.memory_limit_reached():
        await report(rig, 0, opens=True)
    assert breaker(rig).startswith("open|1|")


async def test_one_bad_item_fails_alone(rig: Rig):
    rig.redis.hset(rig.keys.breakers, "bad", "open|x|y|z")
    answers = await rig.run(
        "report", [], ["one", "0", "OPEN", "10", "bad", "x", "OPEN", "10", "two", "0", "OPEN", "10"]
    )
    assert [answer[0] for answer in answers] == [b"OK", b"ERROR", b"OK"]


async def test_junk_in_one_breaker_fails_its_item_alone_in_begin(rig: Rig):
    rig.redis.hset(rig.keys.breakers, "desk:A", "open|x|y|z")
    one, two = await rig.hold("A"), await rig.hold("B")
    orders = rig.orders()
    bad, good = await rig.do(orders.begin.submit(rig.intent(one)), orders.begin.submit(rig.intent(two)))
    assert isinstance(bad, StoreCorrupt)
    assert isinstance(good, Go)
    await rig.resolve(two, OrderState.NOT_EXECUTED, nonce="nonce-1")


async def test_a_freed_probe_goes_to_the_next_order_and_moves_nothing_else(rig: Rig):
    await report(rig, 0, opens=True)
    rig.now_ms += RESET_MS
    first, second = await rig.hold("A"), await rig.hold("B")
    go = await rig.go(first, probe_ms=PROBE_MS)
    assert isinstance(await rig.begin(second), Wait)
    freed = BreakerReport(
        SCOPE, go.account_breaker.generation, opens=True, reset_ms=RESET_MS, frees_probe=True
    )
    await rig.lose_reply("report", lambda: rig.breakers.report(freed))
    again = await rig.go(second, probe_ms=PROBE_MS)
    assert again.account_breaker == go.account_breaker


async def test_a_probe_of_an_opening_that_redis_lost_opens_nothing_when_it_is_freed(rig: Rig):
    await report(rig, 0, opens=True)
    known_to_the_replica = breaker(rig)
    rig.now_ms += RESET_MS
    await report(rig, 1, opens=True)
    rig.now_ms += RESET_MS
    _, lost = await begin_elsewhere(rig, "A", "a")
    # The replica that takes over has not heard of the second opening.
    rig.redis.hset(rig.keys.breakers, SCOPE, known_to_the_replica)
    _, probe = await begin_elsewhere(rig, "B", "b")
    await report(rig, probe.account_breaker.generation, opens=False)
    assert lost.account_breaker.generation == 2
    with rig.nothing_written():
        await rig.do(rig.breakers.report(BreakerReport(SCOPE, 2, opens=True, reset_ms=0, frees_probe=True)))
    assert breaker(rig) == "closed|2|0|0"
