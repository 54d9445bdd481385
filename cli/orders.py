"""`bascule orders`: what was sent to the venues."""

from typing import TYPE_CHECKING

import click

from cli.context import ask, find_bridge
from cli.documents import order_document
from cli.filters import (
    account_option,
    is_same,
    json_option,
    limit_option,
    since_option,
    state_option,
    symbol_option,
)
from cli.output import note, when, write_json, write_table

if TYPE_CHECKING:
    from libs.common.store.readings import Found, Readings
    from libs.common.store.records import OrderRecord

STATES = (
    "SENDING",
    "UNKNOWN",
    "NOT_EXECUTED",
    "ACCEPTED",
    "PARTIAL",
    "FILLED",
    "REJECTED",
    "CANCELED",
    "EXPIRED",
)
HEADERS = (
    "ORDER",
    "SENT",
    "ACCOUNT",
    "SYMBOL",
    "SIDE",
    "QUANTITY",
    "STATE",
    "FILLED",
    "PRICE",
    "ATTEMPTS",
    "ALERT",
)


@click.command(name="orders")
@limit_option
@since_option
@state_option(*STATES)
@symbol_option
@account_option
@json_option
def command(
    limit: int, since: int | None, state: str | None, symbol: str | None, account: str | None, as_json: bool
) -> None:
    """List orders, newest first."""

    def matches(record: "OrderRecord") -> bool:
        return (
            is_same(state, record.state)
            and is_same(symbol, record.market)
            and is_same(account, record.account)
        )

    async def search(readings: "Readings") -> "tuple[Found[OrderRecord], int]":
        now_ms = await readings.now_ms()
        since_ms = None if since is None else now_ms - since
        return await readings.newest_orders(limit=limit, since_ms=since_ms, matches=matches), now_ms

    found, now_ms = ask(find_bridge(), search)
    documents = [order_document(record) for record in found.items]
    if as_json:
        write_json(documents)
    else:
        rows = [
            (
                one["client_order_id"],
                when(one["signed_at_ms"], now_ms),
                one["account"],
                one["symbol"],
                one["side"],
                one["quantity"],
                one["state"],
                one["filled_quantity"],
                one["average_price"],
                one["attempts"],
                one["alert_id"],
            )
            for one in documents
        ]
        write_table(HEADERS, rows)
    if found.is_cut:
        note("only the newest part of the journal was searched; narrow it with --since")
