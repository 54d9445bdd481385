"""`bascule orders`: what was sent to the venues; and what became of an order that nobody else can tell."""

from collections.abc import Callable
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.context import find_bridge
from cli.documents import order_document
from cli.filters import is_same, list_options
from cli.listing import Columns, list_newest
from cli.orders_resolve import resolve
from libs.common.domain.lifecycle import OrderState

if TYPE_CHECKING:
    from libs.common.store.readings import Readings
    from libs.common.store.records import OrderRecord
    from libs.common.store.search import Found

COLUMNS: Final[Columns] = MappingProxyType(
    {
        "ORDER": "client_order_id",
        "SENT": "signed_at_ms",
        "ACCOUNT": "account",
        "SYMBOL": "symbol",
        "SIDE": "side",
        "QUANTITY": "quantity",
        "STATE": "state",
        "FILLED": "filled_quantity",
        "PRICE": "average_price",
        "ATTEMPTS": "attempts",
        "ALERT": "alert_id",
    }
)


@click.group(name="orders", invoke_without_command=True)
@list_options(OrderState)
@click.option("--open", "is_open", is_flag=True, help="Those that rest at a venue, however old.")
@click.pass_context
def command(
    ctx: click.Context,
    limit: int,
    since_ms: int | None,
    state: str | None,
    symbol: str | None,
    account: str | None,
    as_json: bool,
    is_open: bool,
) -> None:
    """List orders, newest first; or settle one with `resolve`."""
    if ctx.invoked_subcommand is not None:
        return

    def matches(record: "OrderRecord") -> bool:
        return (
            is_same(state, record.state)
            and is_same(symbol, record.market)
            and is_same(account, record.account)
        )

    async def search(readings: "Readings", from_ms: int | None) -> "Found[OrderRecord]":
        if not is_open:
            return await readings.newest_orders(limit=limit, since_ms=from_ms, matches=matches)
        return await _resting(readings, limit, from_ms, matches)

    list_newest(
        find_bridge(), search, order_document, COLUMNS, since_ms=since_ms, as_json=as_json, account=account
    )


async def _resting(
    readings: "Readings", limit: int, from_ms: int | None, matches: "Callable[[OrderRecord], bool]"
) -> "Found[OrderRecord]":
    """Return the orders that are followed, by the time they were sent."""
    from libs.common.store.search import Found

    found = [
        order
        for order in await readings.resting()
        if matches(order) and (from_ms is None or order.signed_at_ms >= from_ms)
    ]
    found.sort(key=lambda order: -order.signed_at_ms)
    return Found(found[:limit], is_cut=False)


command.add_command(resolve)
