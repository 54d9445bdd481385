"""The paper books in Redis: each fill once, exact, whoever writes at the same time."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.fills import Position
from libs.common.store.client import connect
from libs.common.store.keys import Keys
from libs.common.store.paper_books import (
    NEVER_TRADED,
    ORDERS_KEPT_MS,
    Booked,
    Booking,
    Changed,
    Counted,
    PaperBooks,
    TooLate,
    Withheld,
)
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.redis]

ACCOUNT, MARKET, NOW = AccountName("desk"), Market("BTC/USDT"), 1_780_000_000_000
FINE = Decimal("123456789.123456789012345678")


def booking(
    order_id: str = "o1", *, before: Counted = NEVER_TRADED, quantity: Decimal = FINE, market: Market = MARKET
) -> Booking:
    report = OrderReport(order_id=f"paper-{order_id}", state=OrderState.FILLED, filled_quantity=quantity)
    return Booking(
        account=ACCOUNT,
        market=market,
        client_order_id=ClientOrderId(order_id),
        alert_id=AlertId("a1"),
        before=before,
        after=Counted.of(Position(quantity=before.position.quantity + quantity)),
        report=report,
        expires_at_ms=NOW + 1,
        may_go=lambda: True,
    )


@pytest_asyncio.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(redis_server.url, timeout_s=5)
    yield client
    await client.aclose()


@pytest.fixture
def books(client: Redis) -> PaperBooks:
    return PaperBooks(client, Keys(), now_ms=NOW)


async def quantity(books: PaperBooks, market: Market = MARKET) -> Decimal:
    return (await books.position(ACCOUNT, market)).position.quantity


async def test_a_fill_is_written_with_its_order(books: PaperBooks) -> None:
    item = booking()
    assert await books.book.submit(item) == Booked(item.report, is_new=True)
    assert await quantity(books) == FINE
    assert await books.order(ACCOUNT, item.client_order_id) == item.report
    assert await books.positions(ACCOUNT) == {MARKET: Position(quantity=FINE)}


async def test_a_call_that_is_sent_again_answers_the_first_fill_and_changes_nothing(
    books: PaperBooks,
) -> None:
    item = booking()
    await books.book.submit(item)
    other = replace(booking(quantity=Decimal(7)), before=await books.position(ACCOUNT, MARKET))
    for again in (item, other):
        assert await books.book.submit(again) == Booked(item.report, is_new=False)
    assert await quantity(books) == FINE


async def test_a_fill_counted_from_an_old_position_is_not_written(books: PaperBooks) -> None:
    await books.book.submit(booking("o1"))
    answer = await books.book.submit(booking("o2"))
    assert isinstance(answer, Changed)
    assert answer.now.position == Position(quantity=FINE)
    assert await books.order(ACCOUNT, ClientOrderId("o2")) is None
    assert isinstance(await books.book.submit(booking("o2", before=answer.now)), Booked)
    assert await quantity(books) == 2 * FINE


async def test_an_expired_order_is_not_written_but_a_known_one_is_still_answered(client: Redis) -> None:
    early, late = PaperBooks(client, Keys(), now_ms=NOW), PaperBooks(client, Keys(), now_ms=NOW + 1)
    assert await late.book.submit(booking("o1")) == TooLate(NOW + 1)
    assert await late.positions(ACCOUNT) == {}
    known = booking("o2")
    await early.book.submit(known)
    assert await late.book.submit(known) == Booked(known.report, is_new=False)


async def test_expiry_goes_by_redis_time(client: Redis) -> None:
    books = PaperBooks(client, Keys())
    seconds, micros = await client.time()
    now_ms = int(seconds) * 1_000 + int(micros) // 1_000
    assert isinstance(await books.book.submit(replace(booking("o1"), expires_at_ms=now_ms)), TooLate)
    assert isinstance(await books.book.submit(replace(booking("o2"), expires_at_ms=now_ms + 60_000)), Booked)


async def test_what_may_not_go_any_more_is_withheld_alone(books: PaperBooks) -> None:
    held = replace(booking("o1"), may_go=lambda: False)
    other = booking("o2", market=Market("ETH/USDT"))
    answers = await asyncio.gather(books.book.submit(held), books.book.submit(other))
    assert list(answers) == [Withheld(), Booked(other.report, is_new=True)]
    assert await books.order(ACCOUNT, held.client_order_id) is None
    assert await books.book.submit(held) == Withheld()


async def test_orders_expire_and_positions_stay(books: PaperBooks, client: Redis) -> None:
    await books.book.submit(booking())
    kept = await client.pttl(Keys().paper_order(ACCOUNT, ClientOrderId("o1")))
    assert ORDERS_KEPT_MS - 60_000 < kept <= ORDERS_KEPT_MS
    assert await client.pttl(Keys().paper(ACCOUNT, "positions")) == -1


async def test_fills_are_written_at_the_memory_limit(books: PaperBooks, client: Redis) -> None:
    await books.book.submit(booking("o1", market=Market("ETH/USDT")))
    await client.config_set("maxmemory", "1")
    with pytest.raises(OutOfMemoryError, match="maxmemory"):
        await client.set("more", "x")
    assert isinstance(await books.book.submit(booking("o2")), Booked)


async def test_a_bad_item_of_a_batch_fails_alone(books: PaperBooks, client: Redis) -> None:
    await client.set(Keys().paper_order(ACCOUNT, ClientOrderId("bad")), "no hash", ex=60)
    items = [
        booking("o1", market=Market("A")),
        booking("bad", market=Market("B")),
        booking("o3", market=Market("C")),
    ]
    answers = await asyncio.gather(*map(books.book.submit, items), return_exceptions=True)
    assert isinstance(answers[1], StoreCorrupt)
    assert [answers[0], answers[2]] == [
        Booked(items[0].report, is_new=True),
        Booked(items[2].report, is_new=True),
    ]
    assert set(await books.positions(ACCOUNT)) == {"A", "C"}


async def test_a_position_that_cannot_be_read_is_told_and_left(books: PaperBooks, client: Redis) -> None:
    await client.hset(Keys().paper(ACCOUNT, "positions"), MARKET, "{]")
    with pytest.raises(StoreCorrupt):
        await books.position(ACCOUNT, MARKET)
    with pytest.raises(StoreCorrupt):
        await books.book.submit(booking())
    assert await client.hget(Keys().paper(ACCOUNT, "positions"), MARKET) == b"{]"


async def test_without_redis_nothing_is_assumed(private_redis: RedisServer) -> None:
    client = connect(private_redis.url, timeout_s=1)
    books = PaperBooks(client, Keys(), now_ms=NOW)
    private_redis.kill()
    with pytest.raises(StoreUnavailable):
        await books.book.submit(booking())
    with pytest.raises(StoreUnavailable):
        await books.order(ACCOUNT, ClientOrderId("o1"))
    await client.aclose()


async def test_the_books_survive_a_crash_of_redis(private_redis: RedisServer) -> None:
    client = connect(private_redis.url, timeout_s=5)
    item = booking()
    await PaperBooks(client, Keys(), now_ms=NOW).book.submit(item)
    await client.aclose()
    private_redis.restart()
    client = connect(private_redis.url, timeout_s=5)
    books = PaperBooks(client, Keys(), now_ms=NOW)
    assert await quantity(books) == FINE
    assert await books.book.submit(item) == Booked(item.report, is_new=False)
    await client.aclose()
