"""Trading on paper from several workers at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderRequest, OrderType, Side
from libs.common.domain.venue import Balance, Instrument
from libs.common.policy.exchange import PART_PAUSE_MS
from libs.common.policy.faults import Fault, Faults, Latency
from libs.common.policy.order_checks import Rules
from libs.common.runtime.paper_exchange import PaperExchange
from libs.common.runtime.system_clock import SystemClock
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import PaperBooks
from services.worker.brokers.paper import PaperBroker
from services.worker.brokers.port import LookUp
from tests.contract.orders import ACCOUNT, MARKET, not_ours, now_ms, order, ours
from tests.support.clock import ManualClock
from tests.support.eventually import eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.redis]

Make = Callable[..., PaperBroker]

RULES = ("slippage_bps", "fee_bps", "instrument", "is_open", "partial_fills")


@pytest_asyncio.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Make]:
    clients = []

    def make(
        url: str = redis_server.url,
        *,
        timeout_s: float = 5,
        clock: Clock | None = None,
        **settings: Any,
    ) -> PaperBroker:
        clients.append(connect(url, timeout_s=timeout_s))
        rules = Rules(**{name: settings.pop(name) for name in RULES if name in settings})
        paper = PaperExchange(rules=rules, **settings)
        return PaperBroker(ACCOUNT, PaperBooks(clients[-1], Keys()), paper, clock or SystemClock())

    yield make
    for client in clients:
        await client.aclose()


async def test_three_workers_on_one_market_lose_no_fill(make: Make) -> None:
    brokers = [make(fee_bps=Decimal(10)) for _ in range(3)]
    sides = [Side.BUY, Side.BUY, Side.SELL]
    requests = [order(sides[i % 3], Decimal(f"1.{i:09d}"), Decimal(100 + i)) for i in range(30)]

    async def trade(broker: PaperBroker, mine: list[Any]) -> list[Any]:
        # As lanes do: one after the other.
        return [await broker.place(request, ours) for request in mine]

    await asyncio.gather(*(trade(broker, requests[i::3]) for i, broker in enumerate(brokers)))
    signed = [r.plan.quantity if r.plan.side is Side.BUY else -r.plan.quantity for r in requests]
    position = (await brokers[0]._books.read(ACCOUNT, MARKET)).book
    assert position.quantity == sum(signed)
    assert position.cash == position.realised - position.fees - position.cost
    values = [r.plan.quantity * (r.plan.reference_price or 0) for r in requests]
    assert position.fees == sum(values) / 1_000


async def test_a_market_traded_from_many_lanes_of_several_workers_fills_every_order(make: Make) -> None:
    brokers = [make(), make(), make()]
    requests = [order(Side.BUY, Decimal(f"1.{i:09d}")) for i in range(150)]
    placing = [brokers[i % 3].place(request, ours) for i, request in enumerate(requests)]
    await asyncio.gather(*placing)
    assert await brokers[0].position(MARKET) == sum(request.plan.quantity for request in requests)


async def test_the_same_order_from_two_workers_fills_once(make: Make) -> None:
    first, second = make(), make()
    request = order(quantity=Decimal(3))
    reports = await asyncio.gather(*(b.place(request, ours) for b in (first, second, first, second)))
    assert all(report == reports[0] for report in reports)
    assert await first.position(MARKET) == 3


async def test_without_a_price_the_last_one_counts_even_if_another_worker_saw_it(make: Make) -> None:
    first, second = make(), make()
    with pytest.raises(OrderRejected) as refused:
        await second.place(order(price=None), ours)
    assert refused.value.code == "no_price"
    await first.place(order(price=Decimal(42)), ours)
    assert (await second.place(order(price=None), ours)).average_price == 42
    assert await second.price(MARKET) == 42


async def test_the_default_price_counts_where_no_other_is_known(make: Make) -> None:
    broker = make(default_price=Decimal(7))
    assert await broker.price(MARKET) == 7
    assert (await broker.place(order(price=None), ours)).average_price == 7


async def test_a_filled_order_is_answered_even_where_it_could_not_be_filled_again(make: Make) -> None:
    request = order(price=None)
    report = await make(default_price=Decimal(7)).place(request, ours)
    # A worker that knows neither the order nor a price.
    assert await make(default_price=None).place(request, ours) == report


async def test_buys_slip_up_and_sales_down_and_both_pay_the_fee(make: Make) -> None:
    broker = make(slippage_bps=Decimal("2.5"), fee_bps=Decimal(10))
    bought = await broker.place(order(Side.BUY), ours)
    sold = await broker.place(order(Side.SELL), ours)
    assert (bought.average_price, sold.average_price) == (Decimal("100.025"), Decimal("99.975"))
    assert (bought.fee, sold.fee) == (Decimal("0.100025"), Decimal("0.099975"))


async def test_a_quantity_beyond_reason_is_refused(make: Make) -> None:
    with pytest.raises(OrderRejected) as refused:
        await make().place(order(quantity=Decimal("1E+30")), ours)
    assert refused.value.code == "out_of_range"


async def test_a_fill_whose_answer_is_lost_is_unknown_then_found_and_never_doubled(
    make: Make, redis_server: RedisServer
) -> None:
    with Proxy(redis_server.url) as proxy:
        broker = make(proxy.url)
        await broker.place(order(), ours)
        request = order()
        proxy.lose_next_reply(b"EVALSHA")
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(request, ours)
        found = await broker.find(request.client_order_id, MARKET)
        assert found is not None
        assert await broker.place(request, ours) == found
        assert await broker.position(MARKET) == 2


async def test_without_redis_an_order_is_unknown_and_a_look_up_says_nothing(
    make: Make, private_redis: RedisServer
) -> None:
    broker = make(private_redis.url, timeout_s=1)
    private_redis.kill()
    with pytest.raises(OrderOutcomeUnknown):
        await broker.place(order(), ours)
    with pytest.raises(BrokerUnavailable):
        await broker.place(order(price=None), ours)  # it asks for a price first: nothing is sent
    for ask in (broker.find(order().client_order_id, MARKET), broker.position(MARKET), broker.price(MARKET)):
        with pytest.raises(LookUpUnavailable):
            await ask


async def test_a_lane_that_is_lost_while_orders_wait_their_turn_fills_nothing(
    make: Make, redis_server: RedisServer
) -> None:
    broker = make()
    await broker.place(order(), ours)
    redis_server.freeze()
    is_ours = True
    leaving = asyncio.create_task(broker.place(order(market=Market("A")), ours))
    for _ in range(5):
        await asyncio.sleep(0)  # its flight has left, and waits for Redis
    waiting = asyncio.create_task(broker.place(order(market=Market("B")), lambda: is_ours))
    for _ in range(5):
        await asyncio.sleep(0)
    is_ours = False
    redis_server.thaw()
    await leaving
    with pytest.raises(BrokerUnavailable, match="no longer ours"):
        await waiting
    assert await broker.position(Market("B")) == 0


# ----------------------------------------------------------------------------------------------------------------------
# What rests
# ----------------------------------------------------------------------------------------------------------------------

LIMIT: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(90)}


async def state_of(broker: PaperBroker, request: OrderRequest) -> OrderState:
    found = await broker.find(request.client_order_id, request.symbol)
    assert found is not None
    return found.state


async def test_the_price_of_a_later_order_of_another_worker_fills_what_rests(make: Make) -> None:
    first, second = make(), make()
    limit = order(**LIMIT)
    assert (await first.place(limit, ours)).state is OrderState.ACCEPTED
    await second.place(order(price=Decimal(90)), ours)
    found = await first.find(limit.client_order_id, MARKET)
    assert found is not None
    assert (found.state, found.average_price) == (OrderState.FILLED, 90)
    assert await first.position(MARKET) == 2


async def test_a_resting_order_is_filled_once_whoever_brings_the_price(make: Make) -> None:
    brokers = [make(), make(), make()]
    limits = [order(**LIMIT) for _ in range(5)]
    for limit in limits:
        await brokers[0].place(limit, ours)
    sales = [order(Side.SELL, Decimal(1), Decimal(80)) for _ in range(12)]
    await asyncio.gather(*(brokers[i % 3].place(sale, ours) for i, sale in enumerate(sales)))
    assert [await state_of(brokers[1], limit) for limit in limits] == [OrderState.FILLED] * 5
    assert await brokers[2].position(MARKET) == 5 - 12


async def test_an_order_is_either_filled_or_cancelled_where_both_come_at_once(make: Make) -> None:
    first, second = make(), make()
    for _ in range(10):
        limit = order(**LIMIT)
        report = await first.place(limit, ours)
        sale = order(Side.SELL, Decimal(1), Decimal(90))
        await asyncio.gather(first.cancel_open(MARKET, [report.order_id], ours), second.place(sale, ours))
        is_filled = await state_of(first, limit) is OrderState.FILLED
        assert await first.position(MARKET) == (0 if is_filled else -1)
        if not is_filled:
            assert await state_of(second, limit) is OrderState.CANCELED
            await first.place(order(Side.BUY, Decimal(1), Decimal(100)), ours)


async def test_a_resting_order_that_is_sent_again_is_answered_as_it_stands(make: Make) -> None:
    broker = make()
    limit = order(**LIMIT)
    await broker.place(limit, ours)
    await broker.place(order(price=Decimal(90)), ours)
    assert (await make().place(limit, ours)).state is OrderState.FILLED
    assert await broker.position(MARKET) == 2


async def test_a_cancellation_whose_answer_is_lost_is_unknown_and_harmless_to_send_again(
    make: Make, redis_server: RedisServer
) -> None:
    with Proxy(redis_server.url) as proxy:
        broker = make(proxy.url)
        report = await broker.place(order(**LIMIT), ours)
        proxy.lose_next_reply(b"EVALSHA")
        with pytest.raises(OrderOutcomeUnknown):
            await broker.cancel_open(MARKET, [report.order_id], ours)
        assert not await broker.open_orders(MARKET)
        await broker.cancel_open(MARKET, [report.order_id], ours)


async def test_exits_close_the_position_at_a_later_price(make: Make) -> None:
    broker = make()
    await broker.place(order(take_profit=Decimal(110), stop_loss=Decimal(95)), ours)
    assert [one.type for one in await broker.open_orders(MARKET)] == [OrderType.LIMIT, OrderType.STOP]
    await broker.place(order(Side.BUY, Decimal(3), Decimal(95)), ours)
    assert await broker.position(MARKET) == 3
    assert not await broker.open_orders()


async def test_a_day_order_ends_with_the_day_though_nothing_trades(make: Make) -> None:
    clock = ManualClock()
    broker = make(clock=clock)
    limit = order(**LIMIT, time_in_force="day")
    await broker.place(limit, ours)
    assert await state_of(broker, limit) is OrderState.ACCEPTED
    clock.advance(86_400_000)
    assert not await broker.open_orders()
    assert await state_of(broker, limit) is OrderState.EXPIRED


async def test_an_order_that_fills_in_parts_is_found_further_each_time(make: Make) -> None:
    clock = ManualClock()
    broker = make(clock=clock, partial_fills=1.0)
    request = order(quantity=Decimal(8))
    report = await broker.place(request, ours)
    assert report.state is OrderState.PARTIAL
    for _ in range(9):
        clock.advance(PART_PAUSE_MS)
        found = await broker.find(request.client_order_id, MARKET)
        assert found is not None
        assert found.filled_quantity == await broker.position(MARKET) >= report.filled_quantity
        report = found
    assert (report.state, report.filled_quantity) == (OrderState.FILLED, 8)


async def test_the_same_seed_fills_the_same_parts_whichever_worker_places(
    make: Make, redis_server: RedisServer
) -> None:
    request = order(quantity=Decimal(8))
    reports = []
    for _ in range(2):
        reports.append(await make(partial_fills=0.9, seed=5).place(request, ours))
        redis_server.reset()
    assert reports[0] == reports[1]


async def test_an_order_whose_record_has_expired_is_found_while_it_rests(
    make: Make, redis_server: RedisServer
) -> None:
    broker = make()
    limit = order(**LIMIT)
    await broker.place(limit, ours)
    client = connect(redis_server.url, timeout_s=5)
    await client.delete(Keys().paper_order(ACCOUNT, limit.client_order_id))
    await client.aclose()
    assert await state_of(broker, limit) is OrderState.ACCEPTED


# ----------------------------------------------------------------------------------------------------------------------
# The account
# ----------------------------------------------------------------------------------------------------------------------


async def test_equity_is_cash_and_what_is_open_at_the_last_price(make: Make) -> None:
    broker = make(cash=Decimal(1_000), currency="EUR", fee_bps=Decimal(100))
    await broker.place(order(Side.BUY, Decimal(2), Decimal(100)), ours)
    await broker.place(order(Side.SELL, Decimal(1), Decimal(120), market=Market("ETH")), ours)
    await broker.place(order(Side.BUY, Decimal(1), Decimal(110), market=Market("ETH")), ours)
    # 1,000 - 2 - 1.2 - 1.1 of fees, and 10 earned
    assert await broker.account() == Balance(
        equity=Decimal("1005.7"), day_pnl=Decimal("5.7"), currency="EUR", exposure=Decimal(200)
    )


async def test_exposure_is_what_is_open_at_the_last_prices_whichever_way(make: Make) -> None:
    broker = make()
    assert (await broker.account()).exposure == 0
    await broker.place(order(Side.BUY, Decimal(2), Decimal(100)), ours)
    await broker.place(order(Side.SELL, Decimal(1), Decimal(120), market=Market("ETH")), ours)
    assert (await broker.account()).exposure == 320


async def test_the_days_profit_begins_anew_at_midnight_by_universal_time(make: Make) -> None:
    clock = ManualClock()
    broker = make(clock=clock)
    await broker.place(order(Side.BUY, Decimal(2), Decimal(100)), ours)
    await broker.place(order(Side.BUY, Decimal(1), Decimal(110)), ours)
    assert (await broker.account()).day_pnl == 20
    clock.advance(86_400_000)
    assert (await broker.account()).day_pnl == 0
    await broker.place(order(Side.SELL, Decimal(1), Decimal(105)), ours)
    balance = await broker.account()
    assert (balance.day_pnl, balance.equity) == (-15, 5)


async def test_orders_that_do_not_fit_the_market_are_refused(make: Make) -> None:
    grid = Instrument(quantity_step=Decimal("0.1"))
    broker = make(instrument=grid)
    assert await broker.instrument(MARKET) == grid
    with pytest.raises(OrderRejected) as refused:
        await broker.place(order(quantity=Decimal("0.15")), ours)
    assert refused.value.code == "lot_size"
    assert await broker.position(MARKET) == 0


# ----------------------------------------------------------------------------------------------------------------------
# Faults on purpose
# ----------------------------------------------------------------------------------------------------------------------


def faulty(fault: str) -> Faults:
    """Return dice that always fall on one fault."""
    chances: dict[str, Any] = {fault: 1.0}
    return Faults(**chances)


@pytest.mark.parametrize("fault", ["timeout_before", "server_error"])
async def test_a_fault_before_accepting_is_unknown_and_left_nothing(make: Make, fault: str) -> None:
    request = order()
    with pytest.raises(OrderOutcomeUnknown):
        await make(faults=faulty(fault)).place(request, ours)
    smooth = make()
    assert await smooth.find(request.client_order_id, MARKET) is None
    assert await smooth.position(MARKET) == 0


@pytest.mark.parametrize("fault", ["timeout_after", "server_error_after"])
async def test_a_fault_after_accepting_is_unknown_and_the_order_is_there(make: Make, fault: str) -> None:
    request = order()
    broker = make(faults=faulty(fault))
    with pytest.raises(OrderOutcomeUnknown):
        await broker.place(request, ours)
    found = await broker.find(request.client_order_id, MARKET)
    assert found is not None
    assert found.state is OrderState.FILLED
    with pytest.raises(OrderOutcomeUnknown):
        await broker.place(request, ours)
    assert await broker.position(MARKET) == 1


async def test_a_late_order_is_accepted_though_its_lane_was_lost_meanwhile(make: Make) -> None:
    broker = make(faults=Faults(late_accept=1.0, late_by_ms=20))
    request, expired = order(), order(expires_in_ms=-1)
    for one in (expired, request):
        with pytest.raises(OrderOutcomeUnknown):
            await broker.place(one, ours)

    async def is_there() -> bool:
        return await broker.find(request.client_order_id, MARKET) is not None

    await eventually(is_there)
    assert await broker.find(expired.client_order_id, MARKET) is None
    assert await broker.position(MARKET) == 1
    await broker.aclose()


async def test_a_throttled_order_was_not_accepted_and_may_come_back(make: Make) -> None:
    broker = make(faults=Faults(throttled=1.0, retry_after_ms=700))
    with pytest.raises(BrokerThrottled) as throttled:
        await broker.place(order(), ours)
    assert throttled.value.retry_after_ms == 700
    with pytest.raises(LookUpUnavailable):
        await broker.position(MARKET)
    with pytest.raises(BrokerThrottled):
        await broker.cancel_open(MARKET, ["1"], ours)
    assert await make().position(MARKET) == 0


@pytest.mark.parametrize(("fault", "error"), [("maintenance", BrokerUnavailable), ("refused", OrderRejected)])
async def test_a_refusal_on_purpose_leaves_nothing(make: Make, fault: str, error: type[Exception]) -> None:
    request = order()
    with pytest.raises(error):
        await make(faults=faulty(fault)).place(request, ours)
    assert await make().find(request.client_order_id, MARKET) is None


@pytest.mark.parametrize("fault", list(Fault))
async def test_no_fault_lets_an_order_out_of_a_lane_that_is_lost(make: Make, fault: Fault) -> None:
    request = order()
    with pytest.raises(BrokerUnavailable, match="no longer ours"):
        await make(faults=faulty(fault)).place(request, not_ours)
    assert await make().find(request.client_order_id, MARKET) is None


async def test_a_look_up_that_lags_knows_an_order_later(make: Make) -> None:
    clock = ManualClock(now_ms())
    broker = make(clock=clock, faults=Faults(look_up_lag_ms=60_000))
    assert broker.capabilities.look_up is LookUp.LAGGING
    assert broker.capabilities.look_up_lag_ms == 60_000
    request = order()
    await broker.place(request, ours)
    assert await broker.find(request.client_order_id, MARKET) is None
    clock.advance(61_000)
    assert await state_of(broker, request) is OrderState.FILLED


async def test_an_order_under_way_is_not_sent_once_its_lane_is_lost(make: Make) -> None:
    broker = make(latency=Latency(least_ms=20))
    is_ours = True
    placing = asyncio.create_task(broker.place(order(), lambda: is_ours))
    await asyncio.sleep(0)
    is_ours = False
    with pytest.raises(BrokerUnavailable, match="no longer ours"):
        await placing
    assert await broker.position(MARKET) == 0
