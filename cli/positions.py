"""`bascule positions`: what the paper accounts hold."""

from decimal import Decimal
from typing import TYPE_CHECKING

import click

from cli.context import Bridge, ask, find_bridge
from cli.documents import Document, position_document
from cli.filters import account_option, is_same, json_option, symbol_option
from cli.listing import refuse_unknown
from cli.output import Failure, note, write_json, write_table

if TYPE_CHECKING:
    from libs.common.domain.ids import AccountName, Market
    from libs.common.policy.fills import Position
    from libs.common.runtime.settings import PaperAccount
    from libs.common.store.readings import Readings


@click.command(name="positions")
@account_option
@symbol_option
@click.option("--all", "with_closed", is_flag=True, help="Closed ones too, for what they earned.")
@json_option
def command(account: str | None, symbol: str | None, with_closed: bool, as_json: bool) -> None:
    """List the positions of paper accounts."""
    bridge = find_bridge()
    paper, elsewhere = _accounts(bridge)
    if account is not None and is_same(account, *elsewhere):
        raise Failure(f"account {account} trades at its venue, which knows its positions")
    if paper is not None:
        refuse_unknown("account", account, [*paper, *elsewhere])

    async def look_up(readings: "Readings") -> "dict[AccountName, dict[Market, Position]]":
        names = await readings.paper_accounts() if paper is None else list(paper)
        return {name: await readings.positions(name) for name in names if is_same(account, name)}

    books = ask(bridge, look_up)
    documents: list[Document] = []
    for name, positions in sorted(books.items()):
        settings = None if paper is None else paper[name]
        cash = None if settings is None else settings.cash + sum(one.cash for one in positions.values())
        documents += [
            position_document(name, market, position, cash)
            for market, position in sorted(positions.items())
            if is_same(symbol, market) and (with_closed or position.quantity)
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
    )
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
    write_table(headers, [[one[field] for field in fields] for one in documents])
    for name, positions in sorted(books.items()):
        if paper is not None:
            note(f"{name}: {_cash(paper[name], positions)}")
    if elsewhere and account is None:
        note(f"kept by their venues: the positions of {', '.join(elsewhere)}")


def _accounts(bridge: Bridge) -> "tuple[dict[AccountName, PaperAccount] | None, list[AccountName]]":
    """Return the paper accounts and the names of the others; None where no configuration is known."""
    from libs.common.runtime.settings import PaperAccount

    settings = bridge.settings()
    if settings is None:
        return None, []
    paper = {
        name: account for name, account in settings.accounts.items() if isinstance(account, PaperAccount)
    }
    return paper, [name for name in settings.accounts if name not in paper]


def _cash(account: "PaperAccount", positions: "dict[Market, Position]") -> str:
    cash = account.cash + sum((position.cash for position in positions.values()), Decimal(0))
    return f"{cash:f} {account.currency} in cash"
