"""`bascule positions`: what the accounts hold, by the paper broker's books and by the workers' last readings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import click

from cli.context import Bridge, ask, find_bridge
from cli.documents import Document, decimal, position_document, published_document
from cli.filters import account_option, is_same, json_option, symbol_option
from cli.listing import refuse_unknown
from cli.output import NOTHING, ago, note, write_json, write_table
from libs.common.policy.exact import add

if TYPE_CHECKING:
    from libs.common.domain.ids import AccountName, Market
    from libs.common.policy.fills import Position
    from libs.common.runtime.account_settings import PaperAccount
    from libs.common.store.published import PublishedBalance, PublishedPosition
    from libs.common.store.readings import Readings
    from libs.common.store.shard_readings import ShardReadings


@dataclass(frozen=True, slots=True)
class _Held:
    """What was read, by account."""

    books: "dict[AccountName, dict[Market, Position]]"
    published: "dict[AccountName, dict[Market, PublishedPosition]]"
    balances: "dict[AccountName, PublishedBalance | None]"
    now_ms: int


@click.command(name="positions")
@account_option
@symbol_option
@click.option("--all", "with_closed", is_flag=True, help="Closed ones too, for what they earned.")
@json_option
def command(account: str | None, symbol: str | None, with_closed: bool, as_json: bool) -> None:
    """List the positions of all accounts.

    Of a paper account they are those of now; of others those that a worker last read at the venue, with the difference
    from what its orders add up to.
    """
    bridge = find_bridge()
    paper, elsewhere = _accounts(bridge)
    if paper is not None:
        refuse_unknown("account", account, [*paper, *elsewhere])

    held = ask(bridge, lambda readings: _read(readings, paper, elsewhere, account))
    documents: list[Document] = []
    for name, positions in sorted(held.books.items()):
        cash = None if paper is None else _cash(paper[name], positions.values())
        documents += [
            position_document(name, market, position, cash)
            for market, position in sorted(positions.items())
            if is_same(symbol, market) and (with_closed or position.quantity)
        ]
    for name, readings in sorted(held.published.items()):
        documents += [
            published_document(name, market, position, held.balances[name])
            for market, position in sorted(readings.items())
            # One that ought to be open is no closed one.
            if is_same(symbol, market) and (with_closed or position.quantity or position.drift)
        ]
    if as_json:
        write_json(documents)
        return
    headers = (
        "ACCOUNT",
        "SYMBOL",
        "QUANTITY",
        "AVERAGE PRICE",
        "LAST PRICE",
        "UNREALISED",
        "REALISED",
        "FEES",
        "READ",
        "DRIFT",
    )
    write_table(headers, [_row(one, held.now_ms) for one in documents])
    _remark(held, paper)


def _accounts(bridge: Bridge) -> "tuple[dict[AccountName, PaperAccount] | None, list[AccountName]]":
    """Return the paper accounts and the names of the others; None where no configuration is known."""
    from libs.common.runtime.account_settings import PaperAccount

    settings = bridge.settings()
    if settings is None:
        return None, []
    paper = {
        name: account for name, account in settings.accounts.items() if isinstance(account, PaperAccount)
    }
    return paper, [name for name in settings.accounts if name not in paper]


async def _read(
    readings: "Readings",
    paper: "dict[AccountName, PaperAccount] | None",
    elsewhere: "list[AccountName]",
    account: str | None,
) -> _Held:
    on_paper = await readings.paper_accounts() if paper is None else list(paper)
    others = await readings.published_accounts() if paper is None else elsewhere
    # A paper account's books are newer than what a worker made of them.
    others = [name for name in others if is_same(account, name) and name not in on_paper]
    books, published, balances = {}, {}, {}
    for name in on_paper:
        if is_same(account, name):
            books[name] = dict(await readings.one(name, partial(_books, account=name)))
    for name in others:
        published[name], balances[name] = await readings.one(name, partial(_published, account=name))
    return _Held(books, published, balances, await readings.now_ms())


async def _books(shard: "ShardReadings", account: "AccountName") -> "Mapping[Market, Position]":
    return await shard.paper.positions(account)


async def _published(
    shard: "ShardReadings", account: "AccountName"
) -> "tuple[dict[Market, PublishedPosition], PublishedBalance | None]":
    return await shard.published.positions(account), await shard.published.balance(account)


def _row(one: Document, now_ms: int) -> list[object]:
    fields = (
        "account",
        "symbol",
        "quantity",
        "average_price",
        "last_price",
        "unrealised",
        "realised",
        "fees",
    )
    read_at_ms, drift = one["read_at_ms"], one["drift"]
    read = "now" if read_at_ms is None else ago(now_ms - read_at_ms)
    return [*[one[field] for field in fields], read, None if drift in {None, "0"} else drift]


def _remark(held: _Held, paper: "dict[AccountName, PaperAccount] | None") -> None:
    for name, positions in sorted(held.books.items()):
        if paper is not None:
            note(f"{name}: {_cash(paper[name], positions.values()):f} {paper[name].currency} in cash")
    for name, readings in sorted(held.published.items()):
        balance = held.balances[name]
        if balance is not None:
            day = NOTHING if balance.day_pnl is None else f"{balance.day_pnl:+f}"
            note(
                f"{name}: {decimal(balance.equity)} {balance.currency} of equity, {day} today, "
                f"read {ago(held.now_ms - balance.at_ms)}"
            )
        elif not readings:
            note(f"{name}: no worker has read its positions yet")


def _cash(account: "PaperAccount", positions: "Iterable[Position]") -> Decimal:
    return add(account.cash, *[position.cash for position in positions])
