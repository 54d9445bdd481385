"""What a book is worth, and what an order says of itself."""

from decimal import Decimal

import msgspec
import pytest

from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport, OrderType, Side
from libs.common.domain.venue import OpenOrder
from libs.common.policy.book import DAY_MS, Book, Order, on_day
from libs.common.policy.fills import Position

HELD = Book(
    quantity=Decimal(2), cost=Decimal(200), cash=Decimal(-201), fees=Decimal(1), last_price=Decimal(110)
)
ORDER = Order(
    order_id="7",
    client_order_id=ClientOrderId("c7"),
    side=Side.SELL,
    quantity=Decimal(3),
    type=OrderType.STOP_LIMIT,
    limit_price=Decimal(90),
    stop_price=Decimal(95),
    placed_at_ms=1,
)


@pytest.mark.parametrize(
    ("book", "worth"), [(Book(), 0), (HELD, 19), (Book(cash=Decimal(5), last_price=Decimal(3)), 5)]
)
def test_a_book_is_worth_its_cash_and_what_is_open_at_the_last_price(book: Book, worth: int) -> None:
    assert book.worth == worth


def test_a_day_begins_once_at_what_the_book_was_worth() -> None:
    begun = on_day(HELD, 5 * DAY_MS + 1)
    assert (begun.day, begun.opening_worth) == (5, 19)
    later = msgspec.structs.replace(begun, last_price=Decimal(120))
    assert on_day(later, 6 * DAY_MS - 1) is later
    assert later.day_pnl(6 * DAY_MS - 1) == 20
    assert later.day_pnl(6 * DAY_MS) == 0


def test_a_clock_behind_does_not_take_a_day_back() -> None:
    begun = on_day(HELD, 5 * DAY_MS)
    assert on_day(begun, 5 * DAY_MS - 1) is begun


def test_an_order_reports_nothing_of_price_and_fee_before_it_trades() -> None:
    assert ORDER.report() == OrderReport(order_id="7", state=OrderState.ACCEPTED)


def test_an_order_reports_its_average_price_to_the_last_digit() -> None:
    filled = msgspec.structs.replace(
        ORDER,
        state=OrderState.PARTIAL,
        filled=Decimal("1.5"),
        value=Decimal("150.3"),
        fee=Decimal("0.1"),
        parts=2,
    )
    assert filled.report() == OrderReport(
        order_id="7",
        state=OrderState.PARTIAL,
        filled_quantity=Decimal("1.5"),
        average_price=Decimal("100.2"),
        fee=Decimal("0.1"),
    )
    assert filled.remaining == Decimal("1.5")


def test_an_order_is_listed_as_it_was_placed() -> None:
    assert ORDER.as_open(Market("X")) == OpenOrder(
        order_id="7",
        symbol=Market("X"),
        side=Side.SELL,
        quantity=Decimal(3),
        client_order_id=ClientOrderId("c7"),
        type=OrderType.STOP_LIMIT,
        limit_price=Decimal(90),
        stop_price=Decimal(95),
    )


def test_a_book_is_stored_flat_so_that_positions_and_books_read_each_other() -> None:
    book = msgspec.structs.replace(HELD, orders=(ORDER,), day=5, opening_worth=Decimal(1))
    stored = msgspec.json.encode(book)
    assert msgspec.json.decode(stored, type=Book) == book
    position = msgspec.json.decode(stored, type=Position)
    assert msgspec.json.decode(msgspec.json.encode(position), type=Book) == HELD


def test_what_is_left_of_an_order_is_told_to_the_last_digit() -> None:
    order = msgspec.structs.replace(ORDER, quantity=Decimal(1), filled=Decimal("0." + "1" * 40))
    assert order.remaining == Decimal("0." + "8" * 39 + "9")


def test_the_profit_of_a_day_keeps_every_digit() -> None:
    book = Book(
        cash=Decimal("1e20"), opening_worth=Decimal("99999999999999999999.00000000000000000001"), day=5
    )
    assert book.day_pnl(5 * DAY_MS) == Decimal("0.99999999999999999999")
