"""`bascule symbols`: what symbols of alerts are to the venues of accounts, and entries made while the bridge runs."""

from collections.abc import Callable
from typing import Any

import click

from cli.context import ask
from cli.documents import Document
from cli.exit_codes import ExitCode
from cli.filters import json_option
from cli.output import NOTHING, cell, local_time, note, write, write_json, write_table
from cli.symbols_confirm import Confirmation, confirm_entry, remove_entry
from cli.symbols_suggest import Wanted, proposals
from cli.symbols_table import (
    configured_bridge,
    decision,
    entry_document,
    find_account,
    read_table,
)


def _exchange_option(function: Callable[..., Any]) -> Callable[..., Any]:
    text = "The exchange that alerts name; the same as EXCHANGE: before SYMBOL."
    return click.option("--exchange", help=text)(function)


def _the_account_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--account", required=True, help="The account whose venue it is.")(function)


@click.group(name="symbols")
def command() -> None:
    """Say what symbols of alerts are to venues, and look it up.

    Entries stand in the configuration (`symbols:`), or are confirmed here.
    """


@command.command()
@click.argument("symbol")
@click.option("--account", help="Only this account; else all.")
@_exchange_option
@json_option
def test(symbol: str, account: str | None, exchange: str | None, as_json: bool) -> int:
    """Explain what an account's venue is asked for where an alert says SYMBOL; exit code 1 where it is refused."""
    bridge, settings = configured_bridge()
    names = list(settings.accounts) if account is None else [find_account(settings, account)]
    table = ask(bridge, lambda readings: read_table(readings, settings))
    documents = [decision(table, settings, symbol, exchange, name) for name in names]
    if as_json:
        write_json(documents if account is None else documents[0])
    else:
        for document in documents:
            _show(document)
    return ExitCode.OK if all(one["market"] is not None for one in documents) else ExitCode.FAILED


@command.command(name="list")
@click.option("--account", help="Only the entries that hold for this account.")
@json_option
def list_(account: str | None, as_json: bool) -> None:
    """List the whole table: the entries of the configuration and the confirmed ones."""
    bridge, settings = configured_bridge()
    name = None if account is None else find_account(settings, account)
    table = ask(bridge, lambda readings: read_table(readings, settings))
    documents = [
        entry_document(entry) | {"counts": not table.is_replaced(entry)}
        for entry in (*table.configured, *table.confirmed)
        if name is None or entry.account in {None, name}
    ]
    if as_json:
        write_json(documents)
    else:
        rows = [
            (
                one["symbol"],
                one["exchange"],
                one["account"],
                one["market"],
                one["source"] if one["counts"] else f"{one['source']}, but the configuration's counts",
            )
            for one in documents
        ]
        write_table(("SYMBOL", "EXCHANGE", "ACCOUNT", "MARKET", "SOURCE"), rows)
    for field in table.unreadable:
        note(f"an entry in Redis cannot be read: {field}")


@command.command()
@click.argument("symbols", metavar="[SYMBOL ...]", nargs=-1)
@_the_account_option
@_exchange_option
@json_option
def suggest(symbols: tuple[str, ...], account: str, exchange: str | None, as_json: bool) -> None:
    """Propose markets of the account's venue for each SYMBOL; without any, for those that were refused lately."""
    bridge, settings = configured_bridge()
    name = find_account(settings, account)
    wanted = [Wanted(symbol, exchange) for symbol in symbols]
    documents, asked_at_ms = proposals(bridge, settings, name, wanted)
    if as_json:
        write_json(documents)
        return
    rows: list[tuple[object, ...]] = []
    for one in documents:
        shown = one["symbol"] if one["exchange"] is None else f"{one['symbol']} ({one['exchange']})"
        rows += [
            (shown, found["market"], "exact" if found["exact"] else None, found["because"])
            for found in one["candidates"]
        ] or [(shown, None, None, "no market of the venue looks like it")]
    write_table(("SYMBOL", "MARKET", "MATCH", "BECAUSE"), rows)
    note(f"the venue named its markets at {local_time(asked_at_ms)}")
    if rows:
        note(f"to make one count: bascule symbols confirm SYMBOL --account {name} --market MARKET")


@command.command()
@click.argument("symbol")
@_the_account_option
@_exchange_option
@click.option("--market", help="What the venue calls it; else the only exact proposal.")
@click.option("--replace", "may_replace", is_flag=True, help="Put it in place of the entry that counts now.")
@click.option("--force", is_flag=True, help="Take a market that the venue has not listed.")
@json_option
def confirm(
    symbol: str,
    account: str,
    exchange: str | None,
    market: str | None,
    may_replace: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Make an entry of the table count: SYMBOL is this market from now on."""
    bridge, settings = configured_bridge()
    asked = Confirmation(
        symbol,
        exchange,
        find_account(settings, account),
        market,
        may_replace=may_replace,
        is_forced=force,
    )
    entry, remarks = confirm_entry(bridge, settings, asked)
    if as_json:
        write_json(entry_document(entry))
    else:
        write(f"confirmed: {entry} is {entry.market}")
    for remark in remarks:
        note(remark)


@command.command()
@click.argument("symbol")
@click.option("--account", help="The account of the entry; without it, the one for any account.")
@_exchange_option
@json_option
def remove(symbol: str, account: str | None, exchange: str | None, as_json: bool) -> None:
    """Remove a confirmed entry."""
    bridge, settings = configured_bridge()
    entry = remove_entry(bridge, settings, symbol, exchange, account)
    if as_json:
        write_json(entry_document(entry))
    else:
        write(f"removed: {entry} is {entry.market} no more")


def _show(document: Document) -> None:
    entry = document["entry"]
    facts = (
        ("account", document["account"]),
        ("market", NOTHING if document["market"] is None else document["market"]),
        ("because", document["because"]),
        ("entry", None if entry is None else f"{entry['source']}, {entry['market']}"),
        ("lane", document["lane"]),
    )
    for label, value in facts:
        if value is not None:
            write(f"{label:<9}{cell(value)}")
    write()
