"""`bascule paper`: prices by hand."""

import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from libs.common.domain.ids import AccountName, AlertId, ClientOrderId, Market
from libs.common.domain.order import OrderPlan, OrderType, Side
from libs.common.policy.exchange import Step, Ticket, submit
from libs.common.policy.order_checks import Rules
from libs.common.store.paper_books import NEVER_TRADED, Booked, Booking, Counted, PaperBooks
from tests.integration.cli.conftest import CommandLine
from tests.support.filled_store import FilledStore

pytestmark = [pytest.mark.integration, pytest.mark.redis]

PAPER, BTC = AccountName("paper"), Market("BTCUSDT")
LIMIT: dict[str, Any] = {"type": OrderType.LIMIT, "limit_price": Decimal(90)}


async def let_rest(store: FilledStore, **plan: Any) -> None:
    """Place an order for two at a limit of 90."""
    step = submit(
        NEVER_TRADED.book,
        Ticket(
            "paper-o1", ClientOrderId("o1"), OrderPlan(side=Side.BUY, quantity=Decimal(2), **LIMIT, **plan)
        ),
        price=Decimal(100),
        at_ms=1,
        rules=Rules(),
        uniform=random.uniform,
    )
    assert isinstance(step, Step)
    booking = Booking(
        account=PAPER,
        market=BTC,
        client_order_id=ClientOrderId("o1"),
        alert_id=AlertId("alert"),
        before=NEVER_TRADED,
        after=Counted.of(step.book),
        report=step.orders[0].report(),
        expires_at_ms=2**45,
        may_go=lambda: True,
    )
    assert isinstance(await PaperBooks(store.client, store.keys).book.submit(booking), Booked)


def test_a_price_fills_what_waits_for_it_and_says_so(bascule: CommandLine, config: Path) -> None:
    bascule.fill(let_rest)
    assert bascule("paper", "price", "paper", "BTCUSDT", "90.5", "--json").json == []
    (order,) = bascule("paper", "price", "paper", "BTCUSDT", "90", "--json").json
    assert order == {
        "order_id": "paper-o1",
        "client_order_id": "o1",
        "symbol": "BTCUSDT",
        "side": "buy",
        "type": "limit",
        "quantity": "2",
        "filled_quantity": "2",
        "limit_price": "90",
        "stop_price": None,
        "average_price": "90",
        "reduce_only": False,
        "state": "FILLED",
        "detail": None,
    }
    (position,) = bascule("positions", "--json").json
    assert (position["quantity"], position["last_price"]) == ("2", "90")


def test_a_price_that_changes_no_order_says_so(bascule: CommandLine, config: Path) -> None:
    bascule.fill(let_rest)
    outcome = bascule("paper", "price", "paper", "BTCUSDT", "90.5")
    assert outcome.out == ""
    assert outcome.err == "paper: BTCUSDT is at 90.5; it changes no order\n"
    assert bascule("paper", "price", "paper", "BTCUSDT", "90").err == "paper: BTCUSDT is at 90\n"


def test_what_rests_is_listed_with_the_exits_that_a_fill_brought(bascule: CommandLine, config: Path) -> None:
    async def with_exits(store: FilledStore) -> None:
        await let_rest(store, take_profit=Decimal(110), stop_loss=Decimal(80))

    bascule.fill(with_exits)
    assert [one["order_id"] for one in bascule("paper", "orders", "paper", "--json").json] == ["paper-o1"]
    bascule("paper", "price", "paper", "BTCUSDT", "90")
    listed = bascule("paper", "orders", "paper", "--json").json
    assert {one["order_id"] for one in listed} == {"paper-o1-tp", "paper-o1-sl"}
    assert bascule("paper", "orders", "paper", "--symbol", "ETHUSDT", "--json").json == []
    shown = bascule("paper", "orders", "paper").out
    assert "paper-o1-tp" in shown
    bascule("paper", "price", "paper", "BTCUSDT", "111")
    assert bascule("paper", "orders", "paper", "--json").json == []
    assert bascule("positions", "--json").json == []


def test_the_fee_of_the_configuration_is_charged(bascule: CommandLine, config: Path) -> None:
    config.write_text(config.read_text().replace("cash: 1000,", "cash: 1000, fee_bps: 100,"))
    bascule.fill(let_rest)
    bascule("paper", "price", "paper", "BTCUSDT", "90")
    (position,) = bascule("positions", "--json").json
    assert position["fees"] == "1.8"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("desk", "BTCUSDT", "90"), 1, "does not trade on paper"),
        (("none", "BTCUSDT", "90"), 1, "no account none"),
        (("paper", "BTCUSDT", "cheap"), 2, "expected a number"),
        (("paper", "BTCUSDT", "0"), 2, "not above 0"),
        (("paper", "BTCUSDT", "NaN"), 2, "not above 0"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    bascule: CommandLine, config: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    outcome = bascule("paper", "price", *arguments)
    assert outcome.code == code
    assert said in outcome.err


def test_without_a_configuration_nothing_is_priced(bascule: CommandLine) -> None:
    outcome = bascule("paper", "price", "paper", "BTCUSDT", "90")
    assert outcome.code == 1
    assert "BASCULE_CONFIG" in outcome.err
