"""What all lists have in common: searched newest first within bounds, written as a table or as JSON."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from cli.context import Bridge, ask
from cli.documents import Document
from cli.filters import is_same
from cli.output import Failure, note, when, write_json, write_table
from libs.common.domain.errors import ConfigError, StoreBarred, StoreUnavailable
from libs.common.domain.ids import AccountName

if TYPE_CHECKING:
    from libs.common.store.readings import Readings
    from libs.common.store.search import Found

T = TypeVar("T")

CUT = "only the newest part was searched; narrow it with --since"
"""Said where there may be more than was looked through."""

Columns = Mapping[str, str | Callable[[Document], object]]
"""Header -> the document's field, or what is made of the document; `*at_ms` is shown as a time."""


def list_newest(
    bridge: Bridge,
    search: "Callable[[Readings, int | None], Awaitable[Found[T]]]",
    document: Callable[[T], Document],
    columns: Columns,
    *,
    since_ms: int | None,
    as_json: bool,
    account: str | None = None,
    webhook: str | None = None,
) -> None:
    """Search a bridge's store and write what was found.

    Args:
        bridge: Whose.
        search: Called with the time from which on it is to look, in ms since the epoch.
        document: Makes of a record what `--json` shows.
        columns: Of the table.
        since_ms: How far back to look; None: to the beginning.
        as_json: Whether to write JSON.
        account: The one that was asked for.
        webhook: The one that was asked for.

    Raises:
        Failure: Redis does not answer; or nothing was found, and the account or webhook is not configured.
        StoreCorrupt: A record cannot be used.
    """

    async def look(readings: "Readings") -> "tuple[Found[T], int, str]":
        now_ms = await readings.now_ms()
        from_ms = None if since_ms is None else now_ms - since_ms
        try:
            return await search(readings, from_ms), now_ms, ""
        except StoreBarred:
            raise
        except StoreUnavailable as error:
            if account is None or len(readings.parts) == 1:
                raise
            found = await _own_part(bridge, readings, account, lambda own: search(own, from_ms))
            if found is None:
                raise
            return found, now_ms, str(error)

    found, now_ms, missing = ask(bridge, look)
    if not found.items:
        refuse_unknown_names(bridge, account, webhook)
    documents = [document(item) for item in found.items]
    if as_json:
        write_json(documents)
    else:
        rows = [[_value(one, column, now_ms) for column in columns.values()] for one in documents]
        write_table(list(columns), rows)
    if found.is_cut:
        note(CUT)
    if missing:
        note(f"{missing}; what other accounts have there is left out")


async def _own_part(
    bridge: Bridge,
    readings: "Readings",
    account: str,
    search: "Callable[[Readings], Awaitable[Found[T]]]",
) -> "Found[T] | None":
    """Return what the shard of an account holds, where others are away; None where it is away too.

    None also where there is nothing and no such account is configured: by another spelling it may lie elsewhere.
    """
    configured = configured_account(bridge, account)
    try:
        found = await search(readings.only(configured or AccountName(account)))
    except StoreUnavailable:
        return None
    return found if configured is not None or found.items else None


def configured_account(bridge: Bridge, account: str | None) -> AccountName | None:
    """Return how an account that is asked for is spelled in the configuration; None where it is not there."""
    try:
        settings = None if account is None else bridge.settings()
    except ConfigError:
        return None
    return (
        None if settings is None else next((one for one in settings.accounts if is_same(account, one)), None)
    )


def refuse_unknown_names(bridge: Bridge, account: str | None, webhook: str | None) -> None:
    """Refuse names that nothing knows: nothing will ever be found under them.

    Raises:
        Failure: One is neither configured nor, of a webhook, made at run time; or Redis does not answer.
    """
    try:
        settings = None if account is None and webhook is None else bridge.settings()
    except ConfigError:  # what was recorded can be read without it
        settings = None
    if settings is None:
        return
    refuse_unknown("account", account, settings.accounts)
    if webhook is not None and not is_same(webhook, *settings.webhooks):
        tables = ask(bridge, lambda readings: readings.tables.read())
        refuse_unknown(
            "webhook", webhook, [*settings.webhooks, *sorted(tables.webhooks), *tables.unreadable_webhooks]
        )


def refuse_unknown(kind: str, name: str | None, known: Iterable[str]) -> None:
    """Refuse a name that is asked for and not among those that there are.

    Raises:
        Failure: It is not, whatever its case.
    """
    if name is not None and not is_same(name, *known):
        raise Failure(f"no {kind} {name}: there are {', '.join(known)}")


def _value(document: Document, column: str | Callable[[Document], object], now_ms: int) -> object:
    if not isinstance(column, str):
        return column(document)
    value = document[column]
    return when(value, now_ms) if column.endswith("at_ms") else value
