"""`bascule resume`: lifts a halt."""

from typing import TYPE_CHECKING

import click

from cli.context import ask, find_bridge
from cli.exit_codes import ExitCode
from cli.filters import json_option
from cli.halt_scope import (
    failures,
    halt_document,
    own_shard,
    read_scope,
    scope_document,
    scope_options,
    shard_documents,
    table_words,
)
from cli.operators import operator_name
from cli.output import Failure, note, printable, write, write_json
from cli.text import REASON

if TYPE_CHECKING:
    from libs.common.store.fan_out import Spread
    from libs.common.store.halts import Lifted, NotSet
    from libs.common.store.readings import Readings


@click.command(name="resume")
@scope_options
@click.option("--reason", type=REASON, default="resumed", help="Why, for the journal.")
@json_option
def command(account: str | None, strategy: str | None, symbol: str | None, reason: str, as_json: bool) -> int:
    """Lift a halt: the one of exactly this scope.

    What waits goes on within two seconds, as far as no other halt covers it. Exit code 1: not every shard took it, or
    not the one of the account; called again, it is lifted where it is left.
    """
    from libs.common.store.fan_out import shards_in_words

    bridge = find_bridge()
    scope = read_scope(bridge, account, strategy, symbol, may_be_gone=True)

    async def lift(readings: "Readings") -> "tuple[Spread[Lifted | NotSet], int | None, str]":
        from libs.common.domain.errors import EditConflict
        from libs.common.store.halts import NotSet

        spread = await readings.halts.lift(scope, by=operator_name(), reason=reason)
        try:
            spread.need_any()
        except EditConflict as error:
            raise Failure(f"{error}; nothing was lifted: look again with `bascule halts`") from error
        own = own_shard(readings, scope)
        if failures(spread, own)[0]:
            return spread, own, ""
        left = await _left(readings)
        if all(isinstance(one, NotSet) for one in spread.answers.values()):
            raise Failure(f"there is no halt of {scope}; set are: {left or 'none'}")
        return spread, own, left

    spread, own, left = ask(bridge, lift)
    from libs.common.store.halts import Lifted

    halt = next((one.halt for one in spread.answers.values() if isinstance(one, Lifted) and one.halt), None)
    failed, unnoted = failures(spread, own)
    where = f" on {shards_in_words(tuple(spread.answers))} only" if failed else ""
    if as_json:
        shown = scope_document(scope) if halt is None else halt_document(halt)
        shards = {"shards": shard_documents(spread)} if len(spread.answers) + len(spread.failed) > 1 else {}
        write_json({**shown, "outcome": "resumed", **shards})
    else:
        was = "" if halt is None else f" (it was {halt.mode})"
        write(printable(f"resumed{where}: {scope}{was}"))
    for words in failed:
        note(f"NOT lifted on {words}")
    for words in unnoted:
        note(f"still noted on {words}: account {scope.account} is not there")
    if failed:
        note("where it is not lifted, it holds on: run the same command again")
    elif left:
        note(f"still set: {left}")
    return ExitCode.FAILED if failed else ExitCode.OK


async def _left(readings: "Readings") -> str:
    """Return what is still set, for a sentence; empty where nothing is."""
    from libs.common.domain.errors import StoreUnavailable

    try:
        table = await readings.halts.read()
    except StoreUnavailable as error:
        return f"what is set cannot be read now: {error}"
    return table_words(table) if table.halts or table.unreadable else ""
