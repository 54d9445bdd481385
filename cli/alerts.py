"""`bascule alerts`: what came in and what became of it."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, ask, find_bridge
from cli.documents import Document, alert_document, history_document, whole_alert_document
from cli.filters import is_same, list_options
from cli.listing import Columns, list_newest
from cli.output import NOTHING, Failure, cell, local_time, painted, printable, table, when, write, write_json
from cli.quantities import quantity_words
from cli.stop_words import stop_words
from libs.common.domain.lifecycle import InstructionState

if TYPE_CHECKING:
    from libs.common.store.journal import JournalEntry
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord


def _reason(document: Document) -> str | None:
    """Return why an alert is in its state; of one that waits, what for."""
    reason: str | None = document["reason"]
    waits = (one["waits_for"] for one in document["instructions"] if one["state"] == document["state"])
    waits_for = next((one for one in waits if one), None)
    return reason if waits_for is None else f"waits: {waits_for}"


COLUMNS: Final[Columns] = MappingProxyType(
    {
        "ALERT": "alert_id",
        "RECEIVED": "received_at_ms",
        "ACTION": "action",
        "SYMBOL": "symbol",
        "QUANTITY": lambda document: quantity_words(document["quantity"], document["unit"]),
        "STRATEGY": "strategy",
        "ACCOUNT": lambda document: ",".join(one["account"] for one in document["instructions"]),
        "STATE": "state",
        "REASON": _reason,
    }
)


@click.command(name="alerts")
@click.argument("alert_id", metavar="[ID]", required=False)
@click.option("--strategy", help="Only of this strategy, as alerts name it.")
@list_options(InstructionState)
def command(
    alert_id: str | None,
    limit: int,
    since_ms: int | None,
    state: str | None,
    symbol: str | None,
    account: str | None,
    strategy: str | None,
    as_json: bool,
) -> None:
    """List alerts, or show one with its whole history.

    The list is newest first. Of an ID its beginning is enough; the sender's own id names its newest alert.
    """
    bridge = find_bridge()
    if alert_id is not None:
        _show(bridge, alert_id, as_json=as_json)
        return

    def matches(record: "AlertRecord") -> bool:
        # An account that is asked for counts by its own outcome, whatever became of the others.
        own = [one for one in record.instructions if account is not None and is_same(account, one.account)]
        decisive = [] if record.decisive is None else [record.decisive]
        return (
            is_same(state, *(one.state for one in own or decisive))
            and is_same(strategy, record.alert.content.strategy)
            and is_same(symbol, record.alert.content.symbol, *(one.market for one in record.instructions))
            and is_same(account, *record.alert.accounts)
        )

    list_newest(
        bridge,
        lambda readings, from_ms: readings.newest_alerts(limit=limit, since_ms=from_ms, matches=matches),
        alert_document,
        COLUMNS,
        since_ms=since_ms,
        as_json=as_json,
        account=account,
    )


async def find_alert(readings: "Readings", name: str) -> "tuple[AlertRecord, list[JournalEntry]]":
    """Return the one alert whose id is, or begins with, `name`, and its history; else the sender's newest so named.

    Raises:
        Failure: There is none, or more than one.
    """
    from libs.common.domain.ids import AlertId

    record = None
    if name.isascii():  # others are none of ours; and what is not UTF-8 at all could not even be asked for
        record = await readings.alert(AlertId(name))
    if record is None and name.isascii():
        ids = await readings.alerts_beginning(name)
        if len(ids) > 1:
            raise Failure(f"{name} is the beginning of several alerts: {', '.join(ids)}")
        record = await readings.alert(ids[0]) if ids else None
    if record is None:
        record = await readings.newest_alert_of_sender(name)
    if record is None:
        raise Failure(f"no alert {name}")
    return record, await readings.history(record)


def show_alert(record: "AlertRecord", history: "list[JournalEntry]", now_ms: int) -> None:
    """Write one alert for people."""
    document = whole_alert_document(record, history)
    for label, value in _facts(document, now_ms):
        write(f"{label:<11}{value}")
    headers = ("ACCOUNT", "MARKET", "STATE", "REASON", "ORDER", "FILLED", "PRICE", "ATTEMPTS", "SLIPPAGE")
    _section(headers, [row for one in document["instructions"] for row in _fate(one)])
    _section(("TIME", "ACCOUNT", "EVENT", "WHAT"), [_event(history_document(entry)) for entry in history])


def _show(bridge: Bridge, name: str, *, as_json: bool) -> None:
    async def look_up(readings: "Readings") -> "tuple[AlertRecord, list[JournalEntry], int]":
        record, history = await find_alert(readings, name)
        return record, history, await readings.now_ms()

    record, history, now_ms = ask(bridge, look_up)
    if as_json:
        write_json(whole_alert_document(record, history))
    else:
        show_alert(record, history, now_ms)


def _facts(document: Document, now_ms: int) -> list[tuple[str, str]]:
    quantity = quantity_words(document["quantity"], document["unit"])
    wanted = [document["action"], quantity, document["symbol"]]
    if document["price"] is not None:
        wanted += ["at", document["price"]]
    facts = [
        ("alert", str(document["alert_id"])),
        ("sender id", cell(document["sender_id"])),
        ("state", f"{painted(document['state'] or NOTHING)} ({_reason(document) or NOTHING})"),
        ("asks for", " ".join(cell(word) for word in wanted if word is not None)),
        ("with", cell(_terms(document))),
        ("webhook", f"{document['webhook']}, dialect {document['dialect']}"),
        ("strategy", cell(document["strategy"])),
        ("received", when(document["received_at_ms"], now_ms)),
        ("fired", when(document["fired_at_ms"], now_ms)),
        ("trace", document["trace_id"] or NOTHING),
        ("body", printable(" ".join(document["raw"].split()))),
    ]
    return [(label, value) for label, value in facts if value != NOTHING]


def _terms(document: Document) -> str:
    """Return the terms of what an alert asks for, but for those of most."""
    found = [] if document["order_type"] == "market" else [document["order_type"]]
    for name in ("limit_price", "stop_price", "take_profit", "stop_loss", "position"):
        value = document[name]
        if value is not None:
            text = f"{value['value']} ({value['unit']})" if isinstance(value, dict) else value
            found.append(f"{name.replace('_', ' ')} {text}")
    return ", ".join(found)


def _fate(document: Document) -> list[tuple[object, ...]]:
    head = (document["account"], document["market"], document["state"], document["reason"])
    orders = document["orders"] or [{}]
    return [
        (
            *head,
            order.get("client_order_id"),
            order.get("filled_quantity"),
            order.get("average_price"),
            order.get("attempts"),
            None if order.get("slippage_bps") is None else f"{order['slippage_bps']:g} bps",
        )
        for order in orders
    ]


def _event(document: Document) -> tuple[object, ...]:
    attempt = None if document["attempt"] is None else f"attempt {document['attempt']}"
    order = None if document["client_order_id"] is None else f"order {document['client_order_id']}"
    detail = stop_words(document["detail"] or "")
    said = [part for part in (document["reason"], order, attempt, detail) if part]
    said += _led_to_it(document["note"])
    return (
        local_time(document["at_ms"], is_exact=True),
        document["account"],
        document["event"],
        ", ".join(said),
    )


def _led_to_it(note: object) -> list[str]:
    """Return what the journal says of how an order came to be; what the venue said stands in the table of orders."""
    if not isinstance(note, dict):
        return []
    mapping, sizing, risk = note.get("mapping"), note.get("sizing"), note.get("risk", [])
    return [str(words) for words in (mapping, sizing, *risk) if words]


def _section(headers: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    write()
    for line in table(headers, rows):
        write(line)
