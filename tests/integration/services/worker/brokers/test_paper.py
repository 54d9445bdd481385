"""Trading on paper from several workers at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest
import pytest_asyncio

from libs.common.domain.errors import BrokerUnavailable, LookUpUnavailable, OrderOutcomeUnknown, OrderRejected
from libs.common.domain.ids import Market
from libs.common.domain.order import OrderType, Side
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import PaperBooks
from services.worker.brokers.paper import PaperBroker
from tests.contract.orders import ACCOUNT, MARKET, order, ours
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.redis]

Make = Callable[..., PaperBroker]


@pytest_asyncio.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Make]:
    clients = []

    def make(url: str = redis_server.url, *, timeout_s: float = 5, **settings: Any) -> PaperBroker:
        clients.append(connect(url, timeout_s=timeout_s))
        chosen = {"default_price": None, "slippage_bps": Decimal(0), "fee_bps": Decimal(0), **settings}
        return PaperBroker(ACCOUNT, PaperBooks(clients[-1], Keys()), **chosen)

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
    position = (await brokers[0]._books.position(ACCOUNT, MARKET)).position
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


@pytest.mark.parametrize(
    "plan",
    [
        {"type": OrderType.LIMIT, "limit_price": Decimal(1)},
        {"stop_loss": Decimal(1)},
        {"take_profit": Decimal(1)},
        {"reduce_only": True},
    ],
)
async def test_what_would_have_to_be_ignored_is_refused(make: Make, plan: dict[str, Any]) -> None:
    broker = make()
    with pytest.raises(OrderRejected) as refused:
        await broker.place(order(**plan), ours)
    assert refused.value.code == "unsupported"
    assert await broker.position(MARKET) == 0


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
