"""`bascule orders` and `positions`."""

from decimal import Decimal
from pathlib import Path

import pytest

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.fills import Position
from libs.common.store.paper_books import NEVER_TRADED, Booked, Booking, Counted, PaperBooks
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


async def hold(store: FilledStore, market: str, position: Position) -> None:
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
    open_ = Position(
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
        Position(cash=Decimal(49), realised=Decimal(50), fees=Decimal(1), last_price=Decimal(9)),
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


def test_an_account_that_trades_elsewhere_is_refused(bascule: CommandLine, config: Path) -> None:
    assert bascule("positions", "--account", "desk").code == 1
    assert bascule("positions", "--account", "nobody").code == 1
