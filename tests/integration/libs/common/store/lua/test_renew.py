from libs.common.domain.ids import LaneName, Token
from libs.common.store.head import Held
from libs.common.store.upkeep import Reclamation
from tests.integration.libs.common.store.lua.rig import LEASE_MS, Rig


async def idle_ms(rig: Rig, token: str) -> int:
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", token, token, 1)
    return entry["time_since_delivered"]


async def test_a_renewed_lease_starts_afresh_and_counts_no_delivery(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    assert await idle_ms(rig, hold.held.token) >= LEASE_MS
    assert await rig.lanes().renew([hold.held]) == [True]
    assert await idle_ms(rig, hold.held.token) < 5_000
    [entry] = rig.redis.xpending_range(rig.keys.ready, "workers", "-", "+", 5)
    assert (entry["consumer"], entry["times_delivered"]) == ("a", 1)


async def test_a_renewal_that_comes_first_keeps_the_lane(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    await rig.upkeep.reclaim(lease_ms=LEASE_MS)  # the first pass of a reaper grants a grace
    rig.lapse(hold.held.token)
    await rig.lanes().renew([hold.held])
    assert await rig.upkeep.reclaim(lease_ms=LEASE_MS) == Reclamation(0, 0, 0)
    assert rig.fence() == f"{hold.held.token}|a"


async def test_a_holder_takes_the_pending_entry_with_it(rig: Rig):
    # After a fail-over or a group made again the token may be pending to another name.
    hold = await rig.hold()
    await rig.open(hold.held, "b")
    assert await rig.lanes("b").renew([hold.held]) == [True]
    assert rig.pending() == {hold.held.token: "b"}


async def test_re_sent_it_answers_the_same(rig: Rig):
    hold = await rig.hold()
    assert await rig.lose_reply("renew", lambda: rig.lanes().renew([hold.held])) == [True]
    assert rig.pending() == {hold.held.token: "a"}


async def test_a_stale_holder_is_told_so_and_claims_nothing(rig: Rig):
    hold = await rig.hold()
    with rig.nothing_written():
        assert await rig.lanes("b").renew([hold.held]) == [False]
    await rig.do(rig.lanes().yield_.submit(hold.held))
    await rig.take("b")
    with rig.nothing_written():
        assert await rig.lanes().renew([hold.held]) == [False]


async def test_at_the_memory_limit_leases_are_renewed(rig: Rig):
    hold = await rig.hold()
    rig.lapse(hold.held.token)
    with rig.memory_limit_reached():
        assert await rig.lanes().renew([hold.held]) == [True]
    assert await idle_ms(rig, hold.held.token) < 5_000


async def test_one_token_of_junk_in_a_call_does_no_harm_to_the_others(rig: Rig):
    one, two = await rig.hold("A"), await rig.hold("B")
    bad = Held(LaneName("desk:BAD"), Token("junk"))
    rig.redis.hset(rig.keys.lanes, "desk:BAD", "junk|a")
    assert await rig.lanes().renew([one.held, bad, two.held]) == [True, True, True]
    rig.redis.hdel(rig.keys.lanes, "desk:BAD")


async def test_what_cannot_be_told_is_not_taken_for_a_lease(rig: Rig):
    hold = await rig.hold()
    rig.spoil(rig.keys.lanes)
    assert await rig.lanes().renew([hold.held]) == [False]


async def test_with_the_group_gone_the_holder_stays_until_the_audit_decides(rig: Rig):
    hold = await rig.hold()
    rig.redis.xgroup_destroy(rig.keys.ready, "workers")
    assert await rig.lanes().renew([hold.held]) == [True]
