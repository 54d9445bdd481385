"""`bascule paper`: moves the prices of paper accounts by hand, and shows what waits for them."""

import time
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

import click

from cli.context import Bridge, ask
from cli.documents import Document, decimal
from cli.filters import is_same, json_option, symbol_option
from cli.output import Failure, note, write_json, write_table
from cli.symbols_table import configured_bridge, find_account
from libs.common.domain.ids import AccountName, Market

if TYPE_CHECKING:
    from libs.common.policy.book import Book, Order
    from libs.common.policy.exchange import Step
    from libs.common.runtime.account_settings import PaperAccount
    from libs.common.store.readings import Readings


@click.group(name="paper")
def command() -> None:
    """Try limits, stops and exits on paper accounts."""


@command.command()
@click.argument("account")
@click.argument("market")
@click.argument("price")
@json_option
def price(account: str, market: str, price: str, as_json: bool) -> None:
    """Let MARKET of a paper ACCOUNT have this PRICE, and list the orders that it changes.

    MARKET is the venue's name of it. Alerts do the same with the prices that they carry.
    """
    number = _number(price)
    bridge, name, settings = _find(account)
    changed = _move(bridge, name, settings, Market(market), number)
    documents = [_order_document(Market(market), order) for order in changed]
    if as_json:
        write_json(documents)
    else:
        # A table without rows is "none", which would seem to be about the price.
        if documents:
            _list(documents)
        note(f"{name}: {market} is at {number:f}{'' if documents else '; it changes no order'}")


@command.command()
@click.argument("account")
@symbol_option
@json_option
def orders(account: str, symbol: str | None, as_json: bool) -> None:
    """List what rests on a paper ACCOUNT, exits that came with an order too."""
    bridge, name, _ = _find(account)
    books = ask(bridge, lambda readings: readings.of(name).paper.positions(name))
    documents = [
        _order_document(market, order)
        for market, book in sorted(books.items())
        if is_same(symbol, market)
        for order in book.orders
    ]
    if as_json:
        write_json(documents)
    else:
        _list(documents)


def _find(account: str) -> "tuple[Bridge, AccountName, PaperAccount]":
    from libs.common.runtime.account_settings import PaperAccount

    bridge, settings = configured_bridge()
    name = find_account(settings, account)
    found = settings.accounts[name]
    if not isinstance(found, PaperAccount):
        raise Failure(f"account {name} does not trade on paper")
    return bridge, name, found


def _number(text: str) -> Decimal:
    from libs.common.policy.fills import out_of_range

    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise click.BadParameter(f'got "{text}", expected a number', param_hint="PRICE") from error
    if refused := out_of_range("price", number):
        raise click.BadParameter(refused.detail, param_hint="PRICE")
    return number


def _move(
    bridge: Bridge, name: AccountName, settings: "PaperAccount", market: Market, price: Decimal
) -> "tuple[Order, ...]":
    from libs.common.policy.exchange import tick
    from libs.common.runtime.paper_exchange import paper_exchange

    exchange = paper_exchange(settings)
    # By the clock of this machine, which only days and times in force go by.
    now_ms = time.time_ns() // 1_000_000
    changed: tuple[Order, ...] = ()

    def step(book: "Book") -> "Step":
        nonlocal changed
        dice = exchange.dice(name, market, now_ms)
        taken = tick(book, price, at_ms=now_ms, rules=exchange.rules, uniform=dice)
        changed = taken.orders
        return taken

    async def move(readings: "Readings") -> None:
        await readings.of(name).paper.amend(name, market, step)

    ask(bridge, move)
    return changed


def _order_document(market: Market, order: "Order") -> Document:
    return {
        "order_id": order.order_id,
        "client_order_id": order.client_order_id,
        "symbol": market,
        "side": order.side.value,
        "type": order.type.value,
        "quantity": decimal(order.quantity),
        "filled_quantity": decimal(order.filled),
        "limit_price": decimal(order.limit_price),
        "stop_price": decimal(order.stop_price),
        "average_price": decimal(order.average_price),
        "reduce_only": order.reduce_only,
        "state": order.state.value,
        "detail": order.detail,
    }


def _list(documents: list[Document]) -> None:
    headers = ("ORDER", "SYMBOL", "SIDE", "TYPE", "QUANTITY", "FILLED", "LIMIT", "STOP", "AVERAGE", "STATE")
    fields = (
        "order_id",
        "symbol",
        "side",
        "type",
        "quantity",
        "filled_quantity",
        "limit_price",
        "stop_price",
        "average_price",
        "state",
    )
    write_table(headers, [[one[field] for field in fields] for one in documents])
