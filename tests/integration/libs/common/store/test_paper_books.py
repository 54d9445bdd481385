"""The paper books in Redis: each fill once, exact, whoever writes at the same time."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from libs.common.domain.errors import StoreCorrupt, StoreUnavailable
from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderType, Side
from libs.common.policy.book import Book, Order
from libs.common.policy.exchange import Step, tick
from libs.common.policy.fills import Position
from libs.common.policy.order_checks import Rules
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
    PlacedOrder,
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
        after=Counted.of(Book(quantity=before.book.quantity + quantity)),
        report=report,
        expires_at_ms=NOW + 1,
        may_go=lambda: True,
    )


@pytest.fixture
def books(client: Redis) -> PaperBooks:
    return PaperBooks(client, Keys(), now_ms=NOW)


async def quantity(books: PaperBooks, market: Market = MARKET) -> Decimal:
    return (await books.read(ACCOUNT, market)).book.quantity


async def test_a_fill_is_written_with_its_order(books: PaperBooks) -> None:
    item = booking()
    assert await books.book.submit(item) == Booked(item.report, is_new=True)
    assert await quantity(books) == FINE
    assert await books.order(ACCOUNT, item.client_order_id) == PlacedOrder(item.report, NOW)
    assert await books.positions(ACCOUNT) == {MARKET: Book(quantity=FINE)}


async def test_a_call_that_is_sent_again_answers_the_first_fill_and_changes_nothing(
    books: PaperBooks,
) -> None:
    item = booking()
    await books.book.submit(item)
    other = replace(booking(quantity=Decimal(7)), before=await books.read(ACCOUNT, MARKET))
    for again in (item, other):
        assert await books.book.submit(again) == Booked(item.report, is_new=False)
    assert await quantity(books) == FINE


async def test_a_fill_counted_from_an_old_position_is_not_written(books: PaperBooks) -> None:
    await books.book.submit(booking("o1"))
    answer = await books.book.submit(booking("o2"))
    assert isinstance(answer, Changed)
    assert answer.now.book == Book(quantity=FINE)
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
        await books.read(ACCOUNT, MARKET)
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


# ----------------------------------------------------------------------------------------------------------------------
# What rests
# ----------------------------------------------------------------------------------------------------------------------


def resting(order_id: str = "r1", quantity: Decimal = Decimal(1)) -> Order:
    return Order(
        order_id=f"paper-{order_id}",
        client_order_id=ClientOrderId(order_id),
        side=Side.BUY,
        quantity=quantity,
        type=OrderType.LIMIT,
        limit_price=Decimal(90),
        placed_at_ms=NOW,
    )


def filled_at(price: Decimal) -> Callable[[Book], Step]:
    return lambda book: tick(book, price, at_ms=NOW, rules=Rules(), uniform=random.uniform)


async def let_rest(books: PaperBooks, *orders: Order) -> None:
    for number, order in enumerate(orders):
        before = await books.read(ACCOUNT, MARKET)
        after = Counted.of(Book(orders=(*before.book.orders, order), last_price=Decimal(100)))
        assert order.client_order_id is not None
        item = replace(
            booking(order.client_order_id),
            alert_id=AlertId(f"a{number}"),
            before=before,
            after=after,
            report=order.report(),
        )
        assert isinstance(await books.book.submit(item), Booked)


async def state(books: PaperBooks, order_id: str) -> OrderState:
    known = await books.order(ACCOUNT, ClientOrderId(order_id))
    assert known is not None
    return known.report.state


async def test_a_change_is_written_with_every_order_that_it_changed(books: PaperBooks) -> None:
    await let_rest(books, resting("r1"), resting("r2"))
    after = await books.amend(ACCOUNT, MARKET, filled_at(Decimal(90)))
    assert after == await books.read(ACCOUNT, MARKET)
    assert [await state(books, one) for one in ("r1", "r2")] == [OrderState.FILLED] * 2
    assert await quantity(books) == 2


async def test_an_order_that_is_placed_brings_the_orders_that_it_changed(books: PaperBooks) -> None:
    await let_rest(books, resting("r1"))
    before = await books.read(ACCOUNT, MARKET)
    other = replace_report(resting("r1"), OrderState.CANCELED)
    item = replace(booking("o1", before=before), others=[(ClientOrderId("r1"), other)])
    assert await books.book.submit(item) == Booked(item.report, is_new=True)
    assert await state(books, "r1") is OrderState.CANCELED
    # Sent again it changes nothing, neither of its own nor of the others.
    again = replace(item, others=[(ClientOrderId("r1"), replace_report(resting("r1"), OrderState.EXPIRED))])
    assert await books.book.submit(again) == Booked(item.report, is_new=False)
    assert await state(books, "r1") is OrderState.CANCELED


def replace_report(order: Order, state: OrderState) -> OrderReport:
    return msgspec.structs.replace(order, state=state).report()


async def test_a_change_counted_from_an_old_book_is_counted_again(books: PaperBooks) -> None:
    await let_rest(books, resting("r1"))
    old = await books.read(ACCOUNT, MARKET)
    await let_rest(books, resting("r2"))
    after = await books.amend(ACCOUNT, MARKET, filled_at(Decimal(90)), before=old)
    assert isinstance(after, Counted)
    assert after.book.quantity == 2


async def test_two_that_fill_what_rests_at_the_same_time_fill_it_once(client: Redis) -> None:
    first, second = PaperBooks(client, Keys(), now_ms=NOW), PaperBooks(client, Keys(), now_ms=NOW)
    await let_rest(first, *(resting(f"r{number}") for number in range(5)))
    await asyncio.gather(
        *(books.amend(ACCOUNT, MARKET, filled_at(Decimal(90))) for books in (first, second, first, second))
    )
    assert await quantity(first) == 5


async def test_a_step_that_changes_nothing_is_not_written(books: PaperBooks, client: Redis) -> None:
    await let_rest(books, resting("r1"))
    before = await books.read(ACCOUNT, MARKET)
    calls = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
    assert await books.amend(ACCOUNT, MARKET, lambda book: Step(book, (), ())) == before
    assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == calls


async def test_a_change_that_may_not_go_is_withheld(books: PaperBooks) -> None:
    await let_rest(books, resting("r1"))
    answer = await books.amend(ACCOUNT, MARKET, filled_at(Decimal(90)), may_go=lambda: False)
    assert answer == Withheld()
    assert await state(books, "r1") is OrderState.ACCEPTED


async def test_a_changed_order_that_holds_something_else_keeps_the_book_as_it_was(
    books: PaperBooks, client: Redis
) -> None:
    await let_rest(books, resting("r1"))
    before = await books.read(ACCOUNT, MARKET)
    await client.set(Keys().paper_order(ACCOUNT, ClientOrderId("r1")), "no hash", ex=60)
    with pytest.raises(StoreCorrupt):
        await books.amend(ACCOUNT, MARKET, filled_at(Decimal(90)))
    assert await books.read(ACCOUNT, MARKET) == before


async def test_items_of_all_kinds_share_a_flight(books: PaperBooks) -> None:
    await let_rest(books, resting("r1"), resting("r2"))
    others = [booking(f"o{number}", market=Market(f"M{number}")) for number in range(3)]
    answers = await asyncio.gather(
        books.book.submit(others[0]),
        books.amend(ACCOUNT, MARKET, filled_at(Decimal(90))),
        books.book.submit(others[1]),
        books.amend(ACCOUNT, Market("ETH"), filled_at(Decimal(7))),
        books.book.submit(others[2]),
    )
    assert [answers[at] for at in (0, 2, 4)] == [Booked(one.report, is_new=True) for one in others]
    assert await quantity(books) == 2
    assert (await books.read(ACCOUNT, Market("ETH"))).book.last_price == 7


async def test_a_position_of_an_earlier_version_is_a_book_in_which_nothing_rests(
    books: PaperBooks, client: Redis
) -> None:
    old = Position(quantity=Decimal(2), cost=Decimal(200), cash=Decimal(-200), last_price=Decimal(100))
    await client.hset(Keys().paper(ACCOUNT, "positions"), MARKET, msgspec.json.encode(old))
    before = await books.read(ACCOUNT, MARKET)
    assert (before.book.quantity, before.book.worth, before.book.orders) == (2, 0, ())
    assert isinstance(await books.book.submit(booking(before=before)), Booked)


async def test_a_worker_of_an_earlier_version_reads_the_position_of_a_book(
    books: PaperBooks, client: Redis
) -> None:
    await books.book.submit(booking())
    await let_rest(books)
    stored: Any = await client.hget(Keys().paper(ACCOUNT, "positions"), MARKET)
    assert msgspec.json.decode(stored, type=Position).quantity == FINE


async def test_an_order_of_an_earlier_version_is_known(books: PaperBooks, client: Redis) -> None:
    report = booking().report
    key = Keys().paper_order(ACCOUNT, ClientOrderId("o1"))
    fields: dict[Any, Any] = {
        "report": msgspec.json.encode(report),
        "market": MARKET,
        "alert": "a1",
        "filled_at": str(NOW),
    }
    await client.hset(key, mapping=fields)
    await client.expire(key, 60)
    assert await books.order(ACCOUNT, ClientOrderId("o1")) == PlacedOrder(report, 0)
    assert await books.book.submit(booking("o1")) == Booked(report, is_new=False)
