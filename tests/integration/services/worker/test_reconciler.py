import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from structlog.typing import EventDict

from libs.common.domain.clock import DAY_MS
from libs.common.domain.errors import LookUpUnavailable, StoreUnavailable
from libs.common.domain.ids import AccountName, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import Side
from libs.common.domain.venue import Balance, OpenOrder
from libs.common.policy.halts import HaltMode, Scope
from libs.common.policy.reconciliation import FORGOTTEN_MS, SETTLING_MS
from libs.common.store.copies import Copies
from libs.common.store.halts import Halts
from services.worker import reconciler as module
from services.worker.brokers.log import LogBroker
from tests.integration.services.worker.resting import BTC, DESK, EVERY_MS, Desk, RestingRig
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.redis_server import Binary, RedisServer

ETH = Market("ETH")
FUND = AccountName("fund")
AGAIN_MS = 5_000


class ReconciledRig(RestingRig):
    """Lets time pass between two looks, with what a test wants to happen in it."""

    between: Callable[[], Awaitable[None]] | None = None
    looks_again = 0

    def __init__(self, server: RedisServer, clock: ManualClock) -> None:
        super().__init__(server, clock)
        self.turns = asyncio.Semaphore(0)
        """Released by a test whose reconciler runs, for each turn after its first one, and for its end."""

    async def wait(self, stopped: asyncio.Event, timeout_s: float) -> bool:
        if timeout_s != AGAIN_MS / 1_000:
            await self.turns.acquire()
            return stopped.is_set()
        self.looks_again += 1
        if self.between is not None:
            await self.between()
        self.clock.advance(AGAIN_MS)
        return stopped.is_set()

    def holds(self, quantity: str, market: Market = BTC) -> None:
        """Let the venue hold this from now on."""
        self.broker.positions[market] = Decimal(quantity)
        self.broker.prices[market] = Decimal(10)

    def lists(self, order: ClientOrderId | None, market: Market = BTC) -> None:
        """Let the venue list an order as open."""
        assert self.broker.resting is not None
        one = OpenOrder(
            order_id=f"venue-{len(self.broker.resting)}",
            symbol=market,
            side=Side.BUY,
            quantity=Decimal(1),
            client_order_id=order,
        )
        self.broker.resting.append(one)


@pytest.fixture
async def rig(
    redis_server: RedisServer, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ReconciledRig]:
    rig = ReconciledRig(redis_server, clock)
    monkeypatch.setattr(module, "wait_for_event", rig.wait)
    try:
        yield rig
    finally:
        await rig.stop()


@pytest.fixture
def desk(rig: ReconciledRig) -> Desk:
    return rig.desk()


async def compared(rig: ReconciledRig, desk: Desk, quantity: str = "2") -> None:
    """Trade, and compare once: from here on the venue's word is counted from."""
    rig.holds(quantity)
    rig.fill(quantity)
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_positions_that_our_fills_explain_are_no_drift(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    for quantity, total in (
        ("0.000000000000000001", "2.000000000000000001"),
        ("-3", "-0.999999999999999999"),
    ):
        rig.fill(quantity)
        rig.holds(total)
        await desk.reconcile()
    assert rig.journal("DRIFT") == []
    assert rig.looks_again == 0


async def test_a_position_that_nothing_explains_is_told_once_and_counted_from_then_on(
    rig: ReconciledRig, desk: Desk, events: list[Any]
):
    await compared(rig, desk)
    rig.holds("5.5")
    await desk.reconcile()
    assert rig.journal("DRIFT") == [("DRIFT", "expected 2, the venue says 5.5")]
    assert "position_drifted" in [event["event"] for event in events]
    assert desk.count("bascule_drifts_total", account="desk", kind="position") == 1
    assert rig.looks_again == 1
    rig.clock.advance(EVERY_MS)
    await desk.reconcile()
    rig.fill("1")
    rig.holds("6.5")
    await desk.reconcile()
    assert len(rig.journal("DRIFT")) == 1
    assert rig.looks_again == 1


async def test_a_position_that_was_there_before_us_is_no_drift(rig: ReconciledRig, desk: Desk):
    rig.holds("7")
    rig.fill("1")
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_a_venue_that_shows_a_fill_late_has_not_drifted(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.fill("1")

    async def catches_up() -> None:
        rig.holds("3")

    rig.between = catches_up
    await desk.reconcile()
    assert rig.looks_again == 1
    assert rig.journal("DRIFT") == []


async def test_right_after_a_fill_nothing_is_concluded(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.fill("1")
    rig.redis.xadd(
        rig.keys.fills(DESK),
        {"market": BTC, "order": "o", "quantity": "1"},
        id=rig.fill_id(),
    )
    await desk.reconcile()
    assert rig.looks_again == 0
    assert rig.journal("DRIFT") == []


@pytest.mark.parametrize("lane", ["desk:BTC", "desk:BTC:scalper"])
@pytest.mark.parametrize("is_parked", [True, False])
async def test_while_a_lane_of_a_market_has_work_nothing_is_concluded(
    rig: ReconciledRig, desk: Desk, lane: str, is_parked: bool
):
    await compared(rig, desk)
    rig.holds("3")
    if is_parked:
        rig.redis.zadd(rig.keys.parked, {lane: 1})
    else:
        rig.redis.hset(rig.keys.lanes, lane, "1-1|holder")
    await desk.reconcile()
    assert (rig.looks_again, rig.journal("DRIFT")) == (0, [])
    assert (await desk.published.positions(DESK))[BTC].drift == 1
    rig.redis.delete(rig.keys.parked, rig.keys.lanes)
    await desk.reconcile()
    assert len(rig.journal("DRIFT")) == 1


async def test_an_order_that_begins_while_the_venue_is_asked_puts_the_verdict_off(
    rig: ReconciledRig, desk: Desk
):
    async def position(_: Market) -> Decimal:
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "1-1|holder")
        return Decimal(3)

    await compared(rig, desk)
    rig.broker.position = position  # type: ignore[method-assign, assignment]
    await desk.reconcile()
    assert (rig.looks_again, rig.journal("DRIFT")) == (0, [])


async def test_a_fill_that_comes_while_the_venue_is_asked_puts_the_verdict_off(
    rig: ReconciledRig, desk: Desk
):
    async def position(_: Market) -> Decimal:
        rig.fill("1")
        return Decimal(2)

    await compared(rig, desk)
    rig.broker.position = position  # type: ignore[method-assign, assignment]
    await desk.reconcile()
    assert (rig.looks_again, rig.journal("DRIFT")) == (0, [])


async def test_an_order_that_begins_between_the_looks_puts_the_verdict_off(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.holds("3")

    async def begins() -> None:
        rig.redis.hset(rig.keys.lanes, "desk:BTC", "1-1|holder")

    rig.between = begins
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_a_fill_of_a_resting_order_that_we_have_not_heard_of_yet_is_no_drift(
    rig: ReconciledRig, desk: Desk
):
    await compared(rig, desk)
    order = rig.rest(quantity="1")
    rig.lists(order)
    await desk.follow()
    rig.says(order, OrderState.PARTIAL, "0.5", "100")
    rig.holds("2.5")
    rig.clock.advance(10)
    rig.between = desk.follow
    await desk.reconcile()
    assert rig.looks_again == 1
    assert rig.fills()[-1] == ("BTC", "0.5")
    assert rig.journal("DRIFT") == []
    rig.clock.advance(SETTLING_MS)
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_without_word_of_a_resting_order_nothing_is_concluded(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    order = rig.rest(quantity="1")
    rig.lists(order)
    rig.holds("2.5")
    await desk.reconcile()
    assert rig.looks_again == 1
    assert rig.due_in_ms(order) == -rig.clock.now_ms(), "its look-up was not hastened"
    assert rig.journal("DRIFT") == []


async def test_two_workers_tell_a_drift_once(rig: ReconciledRig):
    one, other = rig.desk("a"), rig.desk("b")
    await compared(rig, one)
    rig.holds("3")
    await asyncio.gather(one.reconcile(), other.reconcile())
    assert len(rig.journal("DRIFT")) == 1


async def test_one_market_that_drifted_does_not_keep_another_from_being_compared(
    rig: ReconciledRig, desk: Desk
):
    for market in (BTC, ETH):
        rig.holds("1", market)
        rig.fill("1", market)
    await desk.reconcile()
    rig.holds("2", BTC)
    rig.fill("1", ETH)
    rig.holds("2", ETH)
    await desk.reconcile()
    assert rig.journal("DRIFT") == [("DRIFT", "expected 1, the venue says 2")]
    assert set(await desk.published.positions(DESK)) == {BTC, ETH}


async def test_an_account_that_is_to_is_halted_on_drift_until_somebody_resumes_it(rig: ReconciledRig):
    desk, halts = rig.desk(halts_on_drift=True), Halts(rig.client, rig.keys)
    await compared(rig, desk)
    rig.holds("3")
    await desk.reconcile()
    [halt] = (await halts.read()).halts
    assert (halt.scope, halt.mode) == (Scope(account=DESK), HaltMode.PAUSE)
    assert halt.reason == "drift in BTC: expected 2, the venue says 3"


async def test_a_halt_that_an_operator_set_stays_as_it_is(rig: ReconciledRig):
    desk, halts = rig.desk(halts_on_drift=True), Halts(rig.client, rig.keys)
    before = await halts.set(Scope(account=DESK), HaltMode.REJECT, by="ann", reason="holiday")
    await compared(rig, desk)
    rig.holds("3")
    await desk.reconcile()
    assert (await halts.read()).halts == (before,)


@pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)
async def test_a_drift_is_not_settled_before_replicas_have_its_halt(
    redis_binary: Binary, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, events: list[EventDict]
):
    with (
        RedisServer(redis_binary, tcp=True, options={"repl-diskless-sync-delay": "0"}) as primary,
        RedisServer(redis_binary) as replica,
        replica.client() as direct,
    ):
        rig = ReconciledRig(primary, clock)
        monkeypatch.setattr(module, "wait_for_event", rig.wait)
        direct.replicaof("127.0.0.1", primary.port)
        await eventually(lambda: direct.info("replication")["master_link_status"] == "up")
        desk = rig.desk(
            halts_on_drift=True, copies=Copies(1, is_on_disk=True, timeout_s=0.4, stamp=rig.keys.probe)
        )
        await compared(rig, desk)
        rig.holds("3")
        replica.freeze()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="0 of 1 replicas had it"):
                await desk.reconcile()
            assert rig.redis.hlen(rig.keys.halts) == 1
            assert rig.journal("DRIFT") == []
            # The next one has not written the halt itself.
            await rig.client.connection_pool.disconnect()
        replica.thaw()

        async def is_settled() -> bool:
            try:
                await desk.reconcile()
            except StoreUnavailable:
                return False
            return True

        await eventually(is_settled, 20)
        assert direct.hlen(rig.keys.halts) == 1
        assert len(rig.journal("HALT")) == len(rig.journal("DRIFT")) == 1
        # Said once, and not before it was so.
        assert [one["event"] for one in events if one["event"] == "account_halted"] == ["account_halted"]
        await rig.stop()


async def test_a_drift_halts_no_account_that_is_not_to_be(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.holds("3")
    await desk.reconcile()
    assert not rig.redis.exists(rig.keys.halts)


async def test_where_too_many_fills_came_to_be_kept_counting_begins_anew(
    rig: ReconciledRig, desk: Desk, events: list[Any], monkeypatch: pytest.MonkeyPatch
):
    from libs.common.store import reconciliation as store

    monkeypatch.setattr(store, "FILLS_KEPT", 1)
    await compared(rig, desk)
    for _ in range(3):
        rig.fill("1")
    rig.redis.xtrim(rig.keys.fills(DESK), maxlen=2, approximate=False)
    rig.holds("5")
    await desk.reconcile()
    assert rig.journal("DRIFT") == []
    assert "position_not_countable" in [event["event"] for event in events]
    rig.holds("6")
    await desk.reconcile()
    assert rig.journal("DRIFT") == [("DRIFT", "expected 5, the venue says 6")]


async def test_a_flat_market_is_asked_about_for_a_day_and_then_forgotten(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.fill("-2")
    rig.holds("0")
    await desk.reconcile()
    rig.clock.advance(FORGOTTEN_MS + EVERY_MS)
    await desk.reconcile()
    assert await desk.published.positions(DESK) == {}
    assert not rig.redis.exists(rig.keys.reconciled(DESK))


async def test_a_base_that_cannot_be_read_is_begun_anew(rig: ReconciledRig, desk: Desk):
    await compared(rig, desk)
    rig.redis.hset(rig.keys.reconciled(DESK), BTC, "junk")
    rig.holds("9")
    await desk.reconcile()
    assert rig.journal("DRIFT") == []
    rig.holds("8")
    await desk.reconcile()
    assert rig.journal("DRIFT") == [("DRIFT", "expected 9, the venue says 8")]


# Open orders.


@pytest.mark.parametrize("state", [None, "FILLED", "CANCELED", "NOT_EXECUTED"])
async def test_an_order_of_ours_that_should_not_rest_is_told_once(
    rig: ReconciledRig, desk: Desk, state: str | None
):
    order = ClientOrderId("abcdefghijklmnopqrstuvwxyz")
    if state is not None:
        rig.redis.hset(rig.keys.order(order), "state", state)
        rig.redis.expire(rig.keys.order(order), 60)
    rig.lists(order)
    for _ in range(3):
        await desk.reconcile()
        rig.clock.advance(EVERY_MS)
    [(_, words)] = rig.journal("DRIFT")
    assert order in words
    assert desk.count("bascule_drifts_total", account="desk", kind="order") == 1


@pytest.mark.parametrize("state", ["SENDING", "UNKNOWN", "ACCEPTED", "PARTIAL"])
async def test_an_order_that_may_rest_is_no_drift(rig: ReconciledRig, desk: Desk, state: str):
    order = ClientOrderId("abcdefghijklmnopqrstuvwxyz")
    rig.redis.hset(rig.keys.order(order), "state", state)
    rig.lists(order)
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


@pytest.mark.parametrize("name", [None, "x-by-hand", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"])
async def test_an_order_that_is_not_ours_is_not_our_business(
    rig: ReconciledRig, desk: Desk, name: str | None
):
    rig.lists(None if name is None else ClientOrderId(name))
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_a_resting_order_that_the_venue_does_not_list_is_told_once(rig: ReconciledRig, desk: Desk):
    order = rig.rest()
    rig.between = desk.follow
    for _ in range(3):
        await desk.reconcile()
        rig.clock.advance(EVERY_MS)
    [(_, words)] = rig.journal("DRIFT")
    assert words == f"order {order} is ACCEPTED, and the venue does not list it as open"


async def test_without_word_of_a_resting_order_that_is_not_listed_nothing_is_concluded(
    rig: ReconciledRig, desk: Desk
):
    rig.rest()
    await desk.reconcile()
    assert (rig.looks_again, rig.journal("DRIFT")) == (1, [])


async def test_a_resting_order_that_ended_at_the_venue_just_now_is_no_drift(rig: ReconciledRig, desk: Desk):
    order = rig.rest()
    rig.says(order, OrderState.CANCELED)
    rig.between = desk.follow
    await desk.reconcile()
    assert rig.journal("DRIFT") == []


async def test_a_venue_that_does_not_tell_its_open_orders_is_not_held_to_them(rig: ReconciledRig, desk: Desk):
    rig.rest()
    rig.broker.resting = None
    await desk.reconcile()
    assert rig.looks_again == 0


# What is published.


async def test_positions_and_balance_are_published_as_the_venue_tells_them(rig: ReconciledRig, desk: Desk):
    rig.broker.balance = Balance(equity=Decimal("1000.000000000000000001"), currency="USDT")
    await compared(rig, desk)
    found = (await desk.published.positions(DESK))[BTC]
    assert (found.quantity, found.last_price, found.at_ms) == (2, 10, rig.clock.now_ms())
    balance = await desk.published.balance(DESK)
    assert balance is not None
    assert balance.equity == Decimal("1000.000000000000000001")
    assert (balance.exposure, balance.day_pnl, balance.currency) == (20, 0, "USDT")


async def test_profit_counts_from_the_first_equity_of_the_utc_day(rig: ReconciledRig, desk: Desk):
    rig.clock.advance(DAY_MS - rig.clock.now_ms() % DAY_MS)
    for equity, after_ms, day_pnl in ((1_000, 0, 0), (1_200, DAY_MS - 1, 200), (900, 1, 0), (800, 1, -100)):
        rig.clock.advance(after_ms)
        rig.broker.balance = Balance(equity=Decimal(equity))
        await desk.reconcile()
        balance = await desk.published.balance(DESK)
        assert balance is not None
        assert balance.day_pnl == day_pnl


async def test_the_venues_own_profit_of_the_day_comes_first(rig: ReconciledRig, desk: Desk):
    rig.broker.balance = Balance(equity=Decimal(1_000), day_pnl=Decimal(-7))
    await desk.reconcile()
    balance = await desk.published.balance(DESK)
    assert balance is not None
    assert balance.day_pnl == -7


async def test_an_account_that_holds_nothing_is_asked_for_no_positions(rig: ReconciledRig):
    rig.brokers[DESK] = LogBroker()
    await rig.desk().reconcile()
    assert await rig.desk().published.positions(DESK) == {}


async def test_a_market_that_the_venue_does_not_answer_for_leaves_the_others_compared(
    rig: ReconciledRig, desk: Desk
):
    async def position(symbol: Market) -> Decimal:
        if symbol == ETH:
            raise LookUpUnavailable("503")
        return Decimal(3)

    await compared(rig, desk)
    rig.fill("1", ETH)
    rig.broker.position = position  # type: ignore[method-assign]
    with pytest.raises(LookUpUnavailable):
        await desk.reconcile()
    assert rig.journal("DRIFT") == [("DRIFT", "expected 2, the venue says 3")]
    assert desk.count("bascule_look_up_failures_total", account="desk") == 1


# The loop.


async def test_workers_take_turns(rig: ReconciledRig):
    one, other = rig.desk("a"), rig.desk("b")
    assert await one.store.take_turn(DESK, EVERY_MS) == 0
    assert 0 < await other.store.take_turn(DESK, EVERY_MS) <= EVERY_MS
    assert await other.store.take_turn(FUND, EVERY_MS) == 0
    rig.redis.delete(rig.keys.reconciling(DESK))
    assert await other.store.take_turn(DESK, EVERY_MS) == 0


async def test_the_loop_compares_at_start_outlives_failures_and_stops_when_told_to(
    rig: ReconciledRig, desk: Desk, events: list[Any]
):
    async def fails() -> None:
        raise ValueError("an adapter's fault")

    works = rig.broker.account
    rig.broker.account = fails  # type: ignore[method-assign]
    stopped = asyncio.Event()
    running = asyncio.create_task(desk.reconciler.run(stopped))
    await eventually(lambda: "account_not_reconciled" in [event["event"] for event in events])
    rig.broker.account = works  # type: ignore[method-assign]
    rig.redis.delete(rig.keys.reconciling(DESK))
    rig.turns.release()
    await eventually(lambda: "account_reconciled" in [event["event"] for event in events])
    stopped.set()
    rig.turns.release()
    await asyncio.wait_for(running, 10)


async def test_publishing_after_a_fill_raises_nothing(rig: ReconciledRig, desk: Desk, events: list[Any]):
    async def fails(_: Market) -> Decimal:
        raise LookUpUnavailable("503")

    rig.broker.position = fails  # type: ignore[method-assign, assignment]
    await desk.reconciler.publish(DESK, BTC)
    await desk.reconciler.publish(FUND, BTC)
    assert [event["event"] for event in events] == ["account_not_reconciled"]
