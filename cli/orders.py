"""`bascule orders`: what was sent to the venues."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.context import find_bridge
from cli.documents import order_document
from cli.filters import is_same, list_options
from cli.listing import Columns, list_newest
from libs.common.domain.lifecycle import OrderState

if TYPE_CHECKING:
    from libs.common.store.records import OrderRecord

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


@click.command(name="orders")
@list_options(OrderState)
def command(
    limit: int,
    since_ms: int | None,
    state: str | None,
    symbol: str | None,
    account: str | None,
    as_json: bool,
) -> None:
    """List orders, newest first."""

    def matches(record: "OrderRecord") -> bool:
        return (
            is_same(state, record.state)
            and is_same(symbol, record.market)
            and is_same(account, record.account)
        )

    list_newest(
        find_bridge(),
        lambda readings, from_ms: readings.newest_orders(limit=limit, since_ms=from_ms, matches=matches),
        order_document,
        COLUMNS,
        since_ms=since_ms,
        as_json=as_json,
        account=account,
    )
