"""`bascule halts`: the halts that are set."""

from typing import TYPE_CHECKING

import click

from cli.context import ask, find_bridge
from cli.filters import json_option
from cli.halt_scope import halt_document, partial_words
from cli.output import note, when, write_json, write_table
from libs.common.policy.halts import ANY

if TYPE_CHECKING:
    from libs.common.store.halts import HaltTable
    from libs.common.store.readings import Readings


@click.command(name="halts")
@json_option
def command(as_json: bool) -> None:
    """List the halts that are set."""

    async def look(readings: "Readings") -> "tuple[HaltTable, int]":
        return await readings.halts.read(), await readings.now_ms()

    found, now_ms = ask(find_bridge(), look)
    if as_json:
        write_json([halt_document(one) for one in found.halts])
    else:
        rows = [
            (
                one.scope.account or ANY,
                one.scope.strategy or ANY,
                one.scope.symbol or ANY,
                one.mode,
                when(one.at_ms, now_ms),
                one.by,
                one.reason,
            )
            for one in found.halts
        ]
        write_table(("ACCOUNT", "STRATEGY", "SYMBOL", "MODE", "SET", "BY", "REASON"), rows)
    for one in found.unreadable:
        note(f"cannot be read: {one}")
    for words in partial_words(found):
        note(words)
