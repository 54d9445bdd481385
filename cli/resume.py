"""`bascule resume`: lifts a halt."""

from typing import TYPE_CHECKING

import click

from cli.context import ask, find_bridge
from cli.filters import json_option
from cli.halt_scope import halt_document, read_scope, scope_document, scope_options, table_words
from cli.operators import operator_name
from cli.output import Failure, note, printable, write, write_json

if TYPE_CHECKING:
    from libs.common.store.halts import HaltTable, Lifted
    from libs.common.store.readings import Readings


@click.command(name="resume")
@scope_options
@click.option("--reason", default="resumed", help="Why, for the journal.")
@json_option
def command(
    account: str | None, strategy: str | None, symbol: str | None, reason: str, as_json: bool
) -> None:
    """Lift a halt: the one of exactly this scope.

    What waits goes on within two seconds, as far as no other halt covers it.
    """
    bridge = find_bridge()
    scope = read_scope(bridge, account, strategy, symbol, may_be_gone=True)

    async def lift(readings: "Readings") -> "tuple[Lifted, HaltTable]":
        from libs.common.domain.errors import EditConflict
        from libs.common.store.halts import NotSet

        try:
            lifted = await readings.halts.lift(scope, by=operator_name(), reason=reason)
        except EditConflict as error:
            raise Failure(f"{error}; nothing was lifted: look again with `bascule halts`") from error
        table = await readings.halts.read()
        if isinstance(lifted, NotSet):
            raise Failure(f"there is no halt of {scope}; set are: {table_words(table)}")
        return lifted, table

    lifted, left = ask(bridge, lift)
    halt = lifted.halt
    if as_json:
        shown = scope_document(scope) if halt is None else halt_document(halt)
        write_json({**shown, "outcome": "resumed"})
    else:
        write(printable(f"resumed: {scope}" if halt is None else f"resumed: {scope} (it was {halt.mode})"))
    if left.halts or left.unreadable:
        note(f"still set: {table_words(left)}")
