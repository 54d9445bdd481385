"""`bascule halt`: stops trading."""

from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, ask, copies_of, find_bridge
from cli.exit_codes import ExitCode
from cli.filters import json_option
from cli.halt_scope import (
    EFFECTS,
    failures,
    halt_document,
    own_shard,
    read_scope,
    scope_options,
    shard_documents,
)
from cli.operators import operator_name
from cli.output import note, printable, write, write_json
from cli.text import REASON
from libs.common.policy.halts import Halt, HaltMode, Scope

if TYPE_CHECKING:
    from libs.common.store.fan_out import Spread
    from libs.common.store.readings import Readings

MOST_NAMED: Final = 5


@click.command(name="halt")
@scope_options
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in HaltMode]),
    required=True,
    help="Let alerts wait, end them REJECTED, or let exits through alone.",
)
@click.option("--reason", type=REASON, required=True, help="Why; for whoever finds trading stopped.")
@json_option
def command(
    account: str | None, strategy: str | None, symbol: str | None, mode: str, reason: str, as_json: bool
) -> int:
    """Stop trading of everything, or of a scope.

    All workers obey from the moment it is set. It takes the place of a halt of the same scope. Exit code 1: not every
    shard took it, or not the one of the account; called again, it is set where it is missing.
    """
    from libs.common.store.fan_out import shards_in_words

    if not reason.strip():
        raise click.UsageError("the reason is empty")
    bridge = find_bridge()
    scope = read_scope(bridge, account, strategy, symbol)

    async def set_(readings: "Readings") -> "tuple[Spread[Halt], int | None, list[str]]":
        spread = await readings.halts.set(
            scope, HaltMode(mode), by=operator_name(), reason=reason, copies=copies_of(bridge)
        )
        spread.need_any()
        return spread, own_shard(readings, scope), await _remarks(readings, bridge, scope)

    spread, own, remarks = ask(bridge, set_)
    halt, (failed, unnoted) = next(iter(spread.answers.values())), failures(spread, own)
    where = f" on {shards_in_words(tuple(spread.answers))} only" if failed else ""
    if as_json:
        shards = {"shards": shard_documents(spread)} if len(spread.answers) + len(spread.failed) > 1 else {}
        write_json({**halt_document(halt), "stops": EFFECTS[halt.mode], **shards})
    else:
        write(printable(f"{halt.mode} of {halt.scope} is set{where}: {EFFECTS[halt.mode]}"))
    for words in failed:
        note(f"NOT set on {words}")
    for words in unnoted:
        note(f"not noted on {words}: account {scope.account} is not there")
    for remark in remarks:
        note(remark)
    note(
        "orders that rest at a venue stay there; `bascule flatten ACCOUNT` cancels them and closes positions"
    )
    if failed:
        note("where it is not set, trading goes on: run the same command again")
    return ExitCode.FAILED if failed else ExitCode.OK


async def _remarks(readings: "Readings", bridge: Bridge, scope: Scope) -> list[str]:
    """Return what may make a halt stop less than was meant.

    It is set already: a name that nobody has traded yet may be the right one.
    """
    from libs.common.domain.errors import BridgeError

    if scope.symbol is None:
        return []
    try:
        known = await _known_markets(readings, bridge, scope)
    except BridgeError as error:
        return [f"whether there is a market {scope.symbol} cannot be told: {error}"]
    if scope.symbol in known:
        return []
    bare = _bare(scope.symbol)
    near = sorted(one for one in known if _bare(one).startswith(bare) or bare.startswith(_bare(one)))
    like = f"; there are {', '.join(near[:MOST_NAMED])}" if near else ""
    return [
        f"no account is known to trade a market {scope.symbol}: markets are named as the venue calls them{like}"
    ]


async def _known_markets(readings: "Readings", bridge: Bridge, scope: Scope) -> set[str]:
    """Return the markets that the accounts of a scope are known to trade, or whose venue lists them."""
    settings = bridge.settings()
    accounts = [] if settings is None else list(settings.accounts)
    accounts = [scope.account] if scope.account is not None else accounts
    known: set[str] = set()
    for name in accounts:
        shard = readings.of(name)
        listed = await shard.markets.read(name)
        known.update(() if listed is None else listed.markets)
        known.update(await shard.published.positions(name), await shard.paper.positions(name))
        known.update(one.market for one in await shard.holdings.of(name, await shard.now_ms()))
    return known


def _bare(market: str) -> str:
    return "".join(c for c in market if c.isalnum()).casefold()
