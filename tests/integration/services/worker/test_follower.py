import asyncio
import itertools
from collections.abc import AsyncIterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderRejected
from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, Side
from libs.common.domain.venue import Balance
from libs.common.policy.following import LATEST_MS, LOST_MS, LOST_POLL_MS, SOONEST_MS
from libs.common.store.following import LEASE_MS
from services.worker import follower as module
from services.worker.brokers.port import Capabilities, Deduplication, LookUp
from services.worker.follower import PER_ACCOUNT
from tests.integration.services.worker.resting import BTC, DESK, RETENTION, Desk, RestingRig
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.scripted_broker import ScriptedBroker, knows_nothing, look_up_fails

FUND = AccountName("fund")
MINUTE_MS = 60_000


class StuckVenue(ScriptedBroker):
    """Answers no look-up before it is told to."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.asked = 0
        self.most_at_once = 0
        self.may_answer = asyncio.Event()
        self._at_once = 0

    async def find(self, client_order_id: ClientOrderId, symbol: Market) -> OrderReport | None:
        self.asked += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        await self.may_answer.wait()
        self._at_once -= 1
        return await super().find(client_order_id, symbol)


@pytest.fixture
async def rig(
    redis_server: RedisServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[RestingRig]:
    certain: Any = SimpleNamespace(uniform=lambda low, high: (low + high) / 2)
    monkeypatch.setattr(module, "random", certain)
    rig = RestingRig(redis_server, clock)
    try:
        yield rig
    finally:
        await rig.stop()


@pytest.fixture
def desk(rig: RestingRig) -> Desk:
    return rig.desk()


async def test_an_order_is_followed_through_its_fills_to_its_end(rig: RestingRig, desk: Desk):
    order = rig.rest()
    await desk.follow()
    assert rig.due_in_ms(order) == SOONEST_MS

    rig.says(order, OrderState.PARTIAL, "0.5", "100")
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert rig.order(order)["state"] == "PARTIAL"
    rig.clock.advance(SOONEST_MS)
    await desk.follow()

    rig.says(order, OrderState.FILLED, "2", "101.5")
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert rig.order(order)["state"] == "FILLED"
    assert rig.due_in_ms(order) is None
    assert rig.history(order) == ["FILL", "FILL", "ORDER_FILLED"]
    assert rig.journal() == [
        ("FILL", "0.5 at 100, 0.5 of 2"),
        ("FILL", "1.5 at 102, 2 of 2"),
        ("ORDER_FILLED", ""),
    ]
    assert rig.fills() == [("BTC", "0.5"), ("BTC", "1.5")]
    assert desk.count("bascule_order_fills_total", account="desk") == 2
    kept_ms = rig.redis.pttl(rig.keys.order(order))
    assert RETENTION.replayable_ms - 5_000 < kept_ms <= RETENTION.replayable_ms


async def test_a_sale_moves_the_position_down(rig: RestingRig, desk: Desk):
    order = rig.rest(side=Side.SELL)
    rig.says(order, OrderState.FILLED, "2", "100")
    await desk.follow()
    assert rig.fills() == [("BTC", "-2")]


@pytest.mark.parametrize("state", [OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED])
async def test_an_order_that_the_venue_ends_is_followed_no_more(
    rig: RestingRig, desk: Desk, state: OrderState
):
    order = rig.rest()
    rig.says(order, state)
    await desk.follow()
    assert rig.order(order)["state"] == state
    assert rig.history(order) == [f"ORDER_{state}"]
    assert rig.due_in_ms(order) is None
    assert rig.fills() == []


async def test_an_account_that_is_not_compared_leaves_no_fills_behind(rig: RestingRig):
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    await rig.desk(counts_fills=False).follow()
    assert rig.history(order) == ["FILL", "ORDER_FILLED"]
    assert rig.fills() == []


async def test_what_a_fill_changed_is_published(rig: RestingRig, desk: Desk):
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    rig.broker.positions[BTC], rig.broker.prices[BTC] = Decimal(2), Decimal(110)
    rig.broker.balance = Balance(equity=Decimal(1_000), currency="USDT")
    await desk.follow()
    assert (await desk.published.positions(DESK))[BTC].quantity == 2
    balance = await desk.published.balance(DESK)
    assert balance is not None
    assert (balance.equity, balance.exposure, balance.day_pnl) == (1_000, 220, 0)


async def test_two_workers_look_an_order_up_once(rig: RestingRig):
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    await asyncio.gather(rig.desk("a").follow(), rig.desk("b").follow())
    assert rig.broker.looked_up == [order]
    assert rig.journal("FILL") == [("FILL", "2 at 100, 2 of 2")]


async def test_the_orders_of_a_gone_worker_are_followed_by_another_when_its_lease_is_over(rig: RestingRig):
    order = rig.rest()
    await rig.desk("a").orders.claim({DESK: 1}, at_most=1)
    rig.says(order, OrderState.FILLED, "2", "100")
    other = rig.desk("b")
    rig.clock.advance(LEASE_MS - 1)
    await other.follow()
    assert rig.broker.looked_up == []
    rig.clock.advance(1)
    await other.follow()
    assert rig.order(order)["state"] == "FILLED"


async def test_a_stalled_follower_counts_no_fill_that_another_counted(rig: RestingRig):
    stuck = StuckVenue(rig.clock)
    rig.brokers[DESK] = stuck
    order = rig.rest()
    stalled = rig.desk("a")
    await stalled.follower.look()
    await eventually(lambda: stuck.asked)
    rig.clock.advance(LEASE_MS)
    rig.brokers[DESK] = rig.broker
    rig.says(order, OrderState.FILLED, "2", "100")
    stuck.known = rig.broker.known
    await rig.desk("b").follow()
    stuck.may_answer.set()
    await stalled.follower.drain()
    assert rig.fills() == [("BTC", "2")]
    assert rig.journal("FILL", "ORDER_FILLED") == [("FILL", "2 at 100, 2 of 2"), ("ORDER_FILLED", "")]


async def test_a_slow_venue_delays_no_other_account_and_is_not_flooded(rig: RestingRig):
    stuck = StuckVenue(rig.clock)
    rig.brokers[FUND] = stuck
    for number in range(PER_ACCOUNT * 3):
        rig.rest(Market(f"M{number}"), account=FUND)
    desk = rig.desk()
    await desk.follower.look()
    await eventually(lambda: stuck.asked == PER_ACCOUNT)
    rig.clock.advance(250)
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    await desk.follower.look()
    await eventually(lambda: rig.order(order)["state"] == "FILLED")
    assert stuck.asked == PER_ACCOUNT
    stuck.may_answer.set()
    await desk.follower.drain()
    rig.clock.advance(MINUTE_MS)
    for _ in range(3):
        await desk.follow()
        rig.clock.advance(250)
    assert stuck.most_at_once == PER_ACCOUNT
    assert stuck.asked > PER_ACCOUNT


@pytest.mark.parametrize(
    "error", [LookUpUnavailable("503"), TimeoutError(), ValueError("an adapter's fault")]
)
async def test_a_look_up_that_fails_is_made_again_later(
    rig: RestingRig, desk: Desk, error: Exception, events: list[Any]
):
    def fails(*_: Any) -> None:
        raise error

    order = rig.rest()
    rig.broker.then_find(fails, fails)
    await desk.follow()
    assert rig.due_in_ms(order) == SOONEST_MS
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert desk.count("bascule_look_up_failures_total", account="desk") == 2
    assert [event["event"] for event in events] == ["orders_not_looked_up"]
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert [event["event"] for event in events] == ["orders_not_looked_up", "orders_looked_up"]
    assert rig.journal() == []


async def test_an_order_that_its_venue_does_not_know_is_told_of_once_and_asked_about_ever_less(
    rig: RestingRig, desk: Desk, events: list[Any]
):
    order = rig.rest(is_known=False)
    rig.broker.always_find(knows_nothing)
    for _ in range(LOST_MS // LATEST_MS):
        await desk.follow()
        assert rig.due_in_ms(order) == LATEST_MS
        rig.clock.advance(LATEST_MS)
    assert rig.journal() == []
    for _ in range(3):
        await desk.follow()
        assert rig.due_in_ms(order) == LOST_POLL_MS
        rig.clock.advance(LOST_POLL_MS)
    assert rig.journal() == [("ORDER_LOST", "its venue has not known it in 4 look-ups")]
    assert [event["event"] for event in events] == ["followed_order_lost"]
    assert desk.count("bascule_orders_lost_total", account="desk") == 1
    assert rig.order(order)["state"] == "ACCEPTED"

    rig.broker.always_find(None)
    rig.says(order, OrderState.FILLED, "2", "100")
    await desk.follow()
    assert rig.history(order) == ["ORDER_LOST", "ORDER_FOUND", "FILL", "ORDER_FILLED"]


async def test_a_look_up_that_is_not_answered_says_nothing_about_an_order(rig: RestingRig, desk: Desk):
    order = rig.rest(is_known=False)
    for step in (knows_nothing, look_up_fails, knows_nothing):
        rig.broker.then_find(step)
        await desk.follow()
        rig.clock.advance(LATEST_MS)
    assert rig.order(order)["absent"] == "2"


async def test_an_order_whose_venue_cannot_be_asked_is_left_with_a_word_in_the_journal(rig: RestingRig):
    mute = Capabilities(Deduplication.LIFETIME, honours_expiry=True, look_up=LookUp.NONE)
    rig.brokers[DESK] = rig.broker = ScriptedBroker(rig.clock, mute)
    order = rig.rest()
    await rig.desk().follow()
    assert rig.broker.looked_up == []
    assert rig.journal() == [("ORDER_LOST", "its venue cannot be asked about orders")]
    assert rig.due_in_ms(order) is None
    assert rig.redis.pttl(rig.keys.order(order)) > 0


async def test_an_order_that_has_rested_too_long_is_cancelled_and_followed_to_its_end(rig: RestingRig):
    desk = rig.desk(time_limit_ms=MINUTE_MS)
    order = rig.rest()
    await desk.follow()
    rig.clock.advance(MINUTE_MS - 1)
    await desk.follow()
    assert rig.broker.cancelled == []
    assert rig.due_in_ms(order) == 1

    rig.clock.advance(1)
    await desk.follow()
    assert rig.broker.cancelled == [(BTC, ("venue-1",))]
    assert rig.journal() == [("ORDER_CANCELING", "it has rested for 1min")]
    assert rig.due_in_ms(order) == SOONEST_MS

    rig.says(order, OrderState.CANCELED, "0.5", "100")
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert len(rig.broker.cancelled) == 1
    assert rig.history(order) == ["ORDER_CANCELING", "FILL", "ORDER_CANCELED"]
    assert rig.fills() == [("BTC", "0.5")]


async def test_a_fill_that_comes_with_the_time_limit_counts(rig: RestingRig):
    desk = rig.desk(time_limit_ms=MINUTE_MS)
    order = rig.rest()
    rig.says(order, OrderState.PARTIAL, "0.5", "100")
    rig.clock.advance(MINUTE_MS)
    await desk.follow()
    assert rig.history(order) == ["FILL", "ORDER_CANCELING"]
    assert rig.fills() == [("BTC", "0.5")]
    rig.says(order, OrderState.CANCELED, "0.5", "100")
    rig.clock.advance(SOONEST_MS)
    await desk.follow()
    assert rig.fills() == [("BTC", "0.5")]
    assert rig.due_in_ms(order) is None


async def test_a_filled_order_is_not_cancelled(rig: RestingRig):
    desk = rig.desk(time_limit_ms=MINUTE_MS)
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    rig.clock.advance(MINUTE_MS)
    await desk.follow()
    assert rig.broker.cancelled == []


@pytest.mark.parametrize("error", [BrokerUnavailable("429"), OrderRejected("no", "no"), ValueError("fault")])
async def test_a_cancellation_that_fails_is_made_again_ever_less_often(rig: RestingRig, error: Exception):
    async def fails() -> None:
        raise error

    desk = rig.desk(time_limit_ms=MINUTE_MS)
    order = rig.rest()
    tries: list[int] = []

    async def counts() -> None:
        tries.append(rig.clock.now_ms())
        await fails()

    rig.broker.before_sending = counts
    rig.clock.advance(MINUTE_MS)
    while len(tries) < 8:
        await desk.follow()
        due_ms = rig.due_in_ms(order)
        assert due_ms is not None
        rig.clock.advance(due_ms)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert min(gaps) >= LATEST_MS
    assert gaps[-1] > 3 * gaps[0]
    assert rig.journal() == [("ORDER_CANCELING", "it has rested for 1min")]


async def test_a_worker_that_dies_with_a_cancellation_has_it_made_by_another_once(rig: RestingRig):
    order = rig.rest()
    dying = rig.desk("a", time_limit_ms=MINUTE_MS)
    has_left = asyncio.Event()

    async def dies() -> None:
        has_left.set()
        await asyncio.Event().wait()

    rig.broker.before_sending = dies
    rig.clock.advance(MINUTE_MS)
    await dying.follower.look()
    await has_left.wait()
    tasks = list(dying.follower._tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    rig.broker.before_sending = None
    other = rig.desk("b", time_limit_ms=MINUTE_MS)
    await other.follow()
    assert rig.broker.looked_up == [order], "its lease runs"
    rig.clock.advance(LEASE_MS)
    await other.follow()
    assert rig.broker.cancelled == [(BTC, ("venue-1",))]
    assert rig.journal() == [("ORDER_CANCELING", "it has rested for 1min")]


async def test_a_cancellation_does_not_leave_once_its_lease_may_be_over(rig: RestingRig):
    desk = rig.desk(time_limit_ms=MINUTE_MS)
    rig.rest()

    async def stalls() -> None:
        rig.clock.advance(LEASE_MS)

    rig.broker.before_sending = stalls
    rig.clock.advance(MINUTE_MS)
    await desk.follow()
    assert rig.broker.cancelled == []


async def test_following_goes_on_when_redis_is_back(rig: RestingRig, desk: Desk, events: list[Any]):
    order = rig.rest()
    rig.says(order, OrderState.FILLED, "2", "100")
    rig.redis.rename(rig.keys.following, "aside")
    rig.redis.set(rig.keys.following, "junk")
    stopped = asyncio.Event()
    running = asyncio.create_task(desk.follower.run(stopped))
    await eventually(lambda: "orders_not_followed" in [event["event"] for event in events])
    rig.redis.rename("aside", rig.keys.following)
    await eventually(lambda: rig.order(order)["state"] == "FILLED")
    stopped.set()
    await asyncio.wait_for(running, 10)


async def test_the_follower_stops_when_it_is_told_to(rig: RestingRig, desk: Desk):
    stopped = asyncio.Event()
    running = asyncio.create_task(desk.follower.run(stopped))
    rig.rest()
    await eventually(lambda: rig.broker.looked_up)
    stopped.set()
    await asyncio.wait_for(running, 10)
    assert desk.count("bascule_orders_followed") == 1
