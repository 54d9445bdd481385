import asyncio
from decimal import Decimal

import pytest

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, ClientOrderId, Holder, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderType, Side
from libs.common.policy.following import Absence
from libs.common.store.following import LEASE_MS, FollowedOrder, FollowedOrders, Resting
from libs.common.wire import codec
from tests.integration.libs.common.store.lua.rig import RETENTION, START_MS, Rig

DESK = AccountName("desk")
ROOMY = {DESK: 100}
PLAN = OrderPlan(
    side=Side.BUY, quantity=Decimal("0.000000000000000003"), type=OrderType.LIMIT, limit_price=Decimal(9)
)
REPORT = OrderReport(order_id="v-1", state=OrderState.ACCEPTED)


def followed(rig: Rig, holder: str = "a") -> FollowedOrders:
    return rig._part(
        FollowedOrders,
        holder,
        lambda: FollowedOrders(rig.client, rig.keys, Holder(holder), RETENTION, now_ms=0),
    )


async def rest(rig: Rig, market: str = "BTC", *, account: str = "desk", due_ms: int | None = None) -> str:
    """Let an order rest, as an alert's does; return its id."""
    hold = await rig.hold(market, accounts=(account,))
    await rig.go(hold, plan=codec.ORDER_PLAN.encode(PLAN))
    await rig.settle(hold, order=OrderState.ACCEPTED)
    order_id = hold.order_id
    rig.redis.hset(rig.keys.order(order_id), "answer", codec.ORDER_REPORT.encode(REPORT))
    rig.redis.zadd(rig.keys.following, {order_id: rig.now_ms if due_ms is None else due_ms})
    return order_id


def due(rig: Rig, order: str) -> int:
    return int(rig.redis.zscore(rig.keys.following, order) or 0) - rig.now_ms


async def test_a_due_order_is_claimed_with_all_that_is_known_of_it_until_its_lease_is_over(rig: Rig):
    order = await rest(rig)
    rig.now_ms += 700
    claims = await followed(rig).claim(ROOMY, at_most=5)
    [claimed] = claims.orders
    assert claimed == FollowedOrder(
        client_order_id=ClientOrderId(order),
        account=DESK,
        market=Market("BTC"),
        alert_id=claimed.alert_id,
        state=OrderState.ACCEPTED,
        plan=PLAN,
        report=REPORT,
        signed_at_ms=START_MS,
        absence=Absence(),
        cancelled_at_ms=0,
        claim=claimed.claim,
        now_ms=START_MS + 700,
        alert=b'{"alert":1}',
        admitted_at_ms=START_MS,
    )
    assert claimed.alert_id == "alert00001"
    assert claimed.age_ms == 700
    assert rig.order(claimed.client_order_id)["follower"] == claimed.claim
    assert due(rig, order) == LEASE_MS
    assert (claims.next_in_ms, claims.followed, claims.failed) == (LEASE_MS, 1, [])


async def test_an_order_that_is_not_due_is_left(rig: Rig):
    await rest(rig, due_ms=rig.now_ms + 40)
    claims = await followed(rig).claim(ROOMY, at_most=5)
    assert (claims.orders, claims.next_in_ms, claims.followed) == ([], 40, 1)


async def test_without_resting_orders_there_is_nothing_to_wait_for(rig: Rig):
    claims = await followed(rig).claim(ROOMY, at_most=5)
    assert (claims.orders, claims.next_in_ms, claims.followed) == ([], None, 0)


async def test_an_order_is_claimed_by_one_of_two_racing_followers(rig: Rig):
    orders = {await rest(rig, f"M{number}") for number in range(6)}
    found = await asyncio.gather(
        followed(rig, "a").claim(ROOMY, at_most=4), followed(rig, "b").claim(ROOMY, at_most=4)
    )
    claimed = [one.client_order_id for claims in found for one in claims.orders]
    assert sorted(claimed) == sorted(orders)


async def test_an_order_whose_holder_is_gone_is_claimed_again_after_its_lease_and_not_before(rig: Rig):
    await rest(rig)
    [first] = (await followed(rig, "a").claim(ROOMY, at_most=5)).orders
    rig.now_ms += LEASE_MS - 1
    assert (await followed(rig, "b").claim(ROOMY, at_most=5)).orders == []
    rig.now_ms += 1
    [second] = (await followed(rig, "b").claim(ROOMY, at_most=5)).orders
    assert second.client_order_id == first.client_order_id
    assert second.claim != first.claim


async def test_no_more_is_claimed_than_there_is_room_for(rig: Rig):
    for number in range(5):
        await rest(rig, f"M{number}")
    assert len((await followed(rig).claim({DESK: 2}, at_most=5)).orders) == 2
    assert len((await followed(rig).claim({DESK: 9}, at_most=1)).orders) == 0
    rig.now_ms += 250
    assert len((await followed(rig).claim({DESK: 9}, at_most=1)).orders) == 1
    assert len((await followed(rig).claim({DESK: 9}, at_most=9)).orders) == 2


async def test_orders_of_an_account_without_room_let_those_behind_them_through(rig: Rig):
    crowd = [await rest(rig, f"M{number}", due_ms=rig.now_ms - 500) for number in range(3)]
    late = await rest(rig, account="fund")
    claims = await followed(rig).claim({DESK: 1, AccountName("fund"): 1}, at_most=9)
    assert {one.client_order_id for one in claims.orders} == {crowd[0], late}
    assert [due(rig, one) for one in crowd[1:]] == [250, 250]


async def test_orders_of_an_account_that_is_not_configured_here_are_left_to_others(rig: Rig):
    order = await rest(rig)
    assert (await followed(rig).claim({AccountName("fund"): 9}, at_most=9)).orders == []
    assert due(rig, order) == 5_000
    assert "follower" not in rig.order(ClientOrderId(order))


@pytest.mark.parametrize("state", ["FILLED", "CANCELED", "NOT_EXECUTED"])
async def test_an_order_that_rests_no_longer_is_followed_no_more(rig: Rig, state: str):
    order = await rest(rig)
    rig.redis.hset(rig.keys.order(ClientOrderId(order)), "state", state)
    rig._states.clear()
    assert (await followed(rig).claim(ROOMY, at_most=9)).followed == 0
    rig._states.clear()


async def test_an_order_without_a_record_is_told_of_once_and_followed_no_more(rig: Rig):
    order = await rest(rig)
    rig.lose(rig.keys.order(ClientOrderId(order)))
    claims = await followed(rig).claim(ROOMY, at_most=9)
    assert (claims.orders, claims.followed) == ([], 0)
    assert rig.journal()[-1] == ("ORDER_LOST", order)


async def test_an_order_whose_record_cannot_be_used_is_put_off_and_the_others_are_claimed(rig: Rig):
    broken, whole = await rest(rig, "M1"), await rest(rig, "M2")
    rig.spoil(rig.keys.order(ClientOrderId(broken)))
    claims = await followed(rig).claim(ROOMY, at_most=9)
    assert [one.client_order_id for one in claims.orders] == [whole]
    assert len(claims.failed) == 1
    assert due(rig, broken) == 60_000


async def test_an_order_whose_plan_cannot_be_read_is_told_of_and_the_others_are_claimed(rig: Rig):
    broken, whole = await rest(rig, "M1"), await rest(rig, "M2")
    rig.redis.hset(rig.keys.order(ClientOrderId(broken)), "plan", "junk")
    claims = await followed(rig).claim(ROOMY, at_most=9)
    assert [one.client_order_id for one in claims.orders] == [whole]
    [words] = claims.failed
    assert broken in words


async def test_a_claim_whose_reply_was_lost_is_nobodys_once_its_lease_is_over(rig: Rig):
    order = await rest(rig)
    again = await rig.lose_reply("follow", lambda: followed(rig).claim(ROOMY, at_most=9))
    assert again.orders == []
    rig.now_ms += LEASE_MS
    [claimed] = (await followed(rig).claim(ROOMY, at_most=9)).orders
    assert claimed.client_order_id == order


async def test_orders_are_claimed_when_memory_is_full(rig: Rig):
    await rest(rig)
    with rig.memory_limit_reached():
        assert len((await followed(rig).claim(ROOMY, at_most=9)).orders) == 1


async def test_a_list_of_another_kind_is_said_to_be_corrupt(rig: Rig):
    rig.spoil(rig.keys.following)
    with pytest.raises(StoreCorrupt):
        await followed(rig).claim(ROOMY, at_most=9)


async def test_what_rests_of_an_account_can_be_read_and_hastened(rig: Rig):
    order = await rest(rig, due_ms=rig.now_ms + 5_000)
    await rest(rig, account="fund")
    resting = Resting(ClientOrderId(order), DESK, Market("BTC"), OrderState.ACCEPTED, 0)
    assert await followed(rig).resting(DESK) == [resting]
    await followed(rig).hasten([ClientOrderId(order), ClientOrderId("unknown")])
    assert [one.client_order_id for one in (await followed(rig).claim(ROOMY, at_most=9)).orders] == [order]
    assert rig.redis.zscore(rig.keys.following, "unknown") is None


async def test_a_claimed_order_tells_the_trace_that_it_belongs_to(rig: Rig):
    order = await rest(rig)
    rig.redis.hset(rig.keys.order(order), "traceparent", "00-a-b-01")
    [claimed] = (await followed(rig).claim(ROOMY, at_most=1)).orders
    assert claimed.traceparent == "00-a-b-01"
