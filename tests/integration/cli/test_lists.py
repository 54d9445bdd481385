"""`bascule orders` and `positions`."""

from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.book import Book
from libs.common.store.paper_books import NEVER_TRADED, Booked, Booking, Counted, PaperBooks
from libs.common.store.published import Published, PublishedBalance, PublishedPosition
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

ORDER_FIELDS = {
    "client_order_id",
    "alert_id",
    "account",
    "symbol",
    "side",
    "quantity",
    "state",
    "attempts",
}


async def two_orders(store: FilledStore) -> list[AlertId]:
    ids = [await store.admit("AAA", quantity="0.10")]
    await store.execute()
    ids.append(await store.admit("BBB", accounts=("desk",)))
    await store.reject()
    return ids


async def hold(store: FilledStore, market: str, position: Book) -> None:
    booking = Booking(
        account=AccountName("paper"),
        market=Market(market),
        client_order_id=ClientOrderId(f"order-{market}"),
        alert_id=AlertId("alert"),
        before=NEVER_TRADED,
        after=Counted.of(position),
        report=OrderReport(order_id="1", state=OrderState.FILLED),
        expires_at_ms=2**45,
        may_go=lambda: True,
    )
    assert isinstance(await PaperBooks(store.client, store.keys).book.submit(booking), Booked)


async def two_positions(store: FilledStore) -> None:
    open_ = Book(
        quantity=Decimal(2),
        cost=Decimal(200),
        cash=Decimal(-201),
        fees=Decimal(1),
        last_price=Decimal(110),
    )
    await hold(store, "BTCUSDT", open_)
    await hold(
        store,
        "ETHUSDT",
        Book(cash=Decimal(49), realised=Decimal(50), fees=Decimal(1), last_price=Decimal(9)),
    )


def test_an_orders_document_has_every_promised_field(bascule: CommandLine) -> None:
    ids = bascule.fill(two_orders)

    documents = bascule("orders", "--json").json

    assert all(document.keys() >= ORDER_FIELDS for document in documents)
    assert [document["alert_id"] for document in documents] == ids[::-1]
    newest, oldest = documents
    assert (oldest["side"], oldest["quantity"], oldest["state"], oldest["attempts"]) == (
        "buy",
        "0.10",
        "FILLED",
        1,
    )
    assert (newest["account"], newest["symbol"], newest["state"]) == ("desk", "BBB", "REJECTED")


@pytest.mark.parametrize(
    "options", [("--state", "FILLED"), ("--symbol", "aaa"), ("--account", "paper"), ("--state", "filled")]
)
def test_orders_are_filtered(bascule: CommandLine, options: tuple[str, ...]) -> None:
    ids = bascule.fill(two_orders)

    assert [one["alert_id"] for one in bascule("orders", "--json", *options).json] == ids[:1]


def test_people_see_orders_as_a_table(bascule: CommandLine) -> None:
    bascule.fill(two_orders)

    lines = bascule("orders").out.splitlines()

    assert [line.split()[0] for line in lines[:1]] == ["ORDER"]
    assert len(lines) == 3


def test_an_order_attempted_twice_is_listed_once(bascule: CommandLine) -> None:
    async def replayed(store: FilledStore) -> None:
        from libs.common.store.dead_letters import DeadLetters

        await store.admit()
        await store.reject()
        letters = DeadLetters(store.client, store.keys)
        [letter] = [letter async for page in letters.backwards() for letter in page]
        await letters.replay(letter.letter_id, max_age_ms=60_000)
        held, head = await store.take()
        await store.begin(held, head, attempt=2)

    bascule.fill(replayed)

    [document] = bascule("orders", "--json").json
    assert (document["state"], document["attempts"]) == ("SENDING", 2)


def test_open_positions_are_listed_with_what_they_earn(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)

    [document] = bascule("positions", "--json").json

    assert document == {
        "account": "paper",
        "symbol": "BTCUSDT",
        "quantity": "2",
        "average_price": "100",
        "last_price": "110",
        "unrealised": "20",
        "realised": "0",
        "fees": "1",
        "account_cash": "848",
        "account_equity": None,
        "expected": None,
        "drift": None,
        "read_at_ms": None,
    }


def test_closed_positions_are_listed_where_asked_for(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)

    documents = bascule("positions", "--json", "--all").json

    assert [one["symbol"] for one in documents] == ["BTCUSDT", "ETHUSDT"]


def test_people_see_positions_and_cash(bascule: CommandLine, config: Path) -> None:
    bascule.fill(two_positions)

    outcome = bascule("positions")

    assert "BTCUSDT" in outcome.out
    assert "paper: 848 EUR in cash" in outcome.err
    assert "desk" in outcome.err


def test_positions_are_found_without_a_configuration(bascule: CommandLine) -> None:
    bascule.fill(two_positions)

    [document] = bascule("positions", "--json").json

    assert (document["account"], document["account_cash"]) == ("paper", None)


async def read_at_the_venue(store: FilledStore) -> None:
    published = Published(store.client, store.keys)
    desk = AccountName("desk")
    open_ = PublishedPosition(
        quantity=Decimal("-1.5"),
        at_ms=5,
        last_price=Decimal(90),
        expected=Decimal(-2),
    )
    await published.publish_position(desk, Market("BTC"), open_)
    await published.publish_position(desk, Market("ETH"), PublishedPosition(quantity=Decimal(0), at_ms=5))
    missing = PublishedPosition(quantity=Decimal(0), at_ms=5, expected=Decimal(1))
    await published.publish_position(desk, Market("SOL"), missing)
    balance = PublishedBalance(equity=Decimal(1_000), at_ms=5, day_pnl=Decimal("-3.5"), currency="USDT")
    await published.publish_balance(desk, balance)


def test_positions_at_a_venue_are_those_that_were_read_with_their_drift(
    bascule: CommandLine, config: Path
) -> None:
    bascule.fill(read_at_the_venue)

    found, missing = bascule("positions", "--account", "desk", "--json").json

    assert found == {
        "account": "desk",
        "symbol": "BTC",
        "quantity": "-1.5",
        "average_price": None,
        "last_price": "90",
        "unrealised": None,
        "realised": None,
        "fees": None,
        "account_cash": None,
        "account_equity": "1000",
        "expected": "-2",
        "drift": "0.5",
        "read_at_ms": 5,
    }
    assert (missing["symbol"], missing["quantity"], missing["drift"]) == ("SOL", "0", "-1")
    assert len(bascule("positions", "--account", "desk", "--json", "--all").json) == 3


def test_people_see_how_old_a_reading_is(bascule: CommandLine, config: Path) -> None:
    bascule.fill(read_at_the_venue)

    outcome = bascule("positions", "--account", "desk")

    assert "d ago" in outcome.out.splitlines()[1]
    assert "desk: 1000 USDT of equity, -3.5 today" in outcome.err


def test_published_positions_are_found_without_a_configuration(bascule: CommandLine) -> None:
    bascule.fill(two_positions)
    bascule.fill(read_at_the_venue)

    assert [one["account"] for one in bascule("positions", "--json").json] == ["paper", "desk", "desk"]


def test_an_account_of_which_nothing_was_read_is_said_so(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("positions", "--account", "desk")

    assert outcome.code == 0
    assert "no worker has read its positions yet" in outcome.err


def test_an_account_that_is_not_configured_has_no_positions(bascule: CommandLine, config: Path) -> None:
    assert bascule("positions", "--account", "nobody").code == 1
