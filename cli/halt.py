"""`bascule halt`: stops trading."""

from typing import TYPE_CHECKING, Final

import click

from cli.context import Bridge, ask, find_bridge
from cli.filters import json_option
from cli.halt_scope import EFFECTS, halt_document, read_scope, scope_options
from cli.operators import operator_name
from cli.output import note, printable, write, write_json
from libs.common.policy.halts import Halt, HaltMode, Scope

if TYPE_CHECKING:
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
@click.option("--reason", required=True, help="Why; for whoever finds trading stopped.")
@json_option
def command(
    account: str | None, strategy: str | None, symbol: str | None, mode: str, reason: str, as_json: bool
) -> None:
    """Stop trading of everything, or of a scope.

    All workers obey from the moment it is set. It takes the place of a halt of the same scope.
    """
    if not reason.strip():
        raise click.UsageError("the reason is empty")
    bridge = find_bridge()
    scope = read_scope(bridge, account, strategy, symbol)

    async def set_(readings: "Readings") -> tuple[Halt, list[str]]:
        halt = await readings.halts.set(scope, HaltMode(mode), by=operator_name(), reason=reason)
        return halt, await _remarks(readings, bridge, scope)

    halt, remarks = ask(bridge, set_)
    if as_json:
        write_json({**halt_document(halt), "stops": EFFECTS[halt.mode]})
    else:
        write(printable(f"{halt.mode} of {halt.scope} is set: {EFFECTS[halt.mode]}"))
    for remark in remarks:
        note(remark)
    note(
        "orders that rest at a venue stay there; `bascule flatten ACCOUNT` cancels them and closes positions"
    )


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
    now_ms = await readings.now_ms()
    known: set[str] = set()
    for name in accounts:
        listed = await readings.markets.read(name)
        known.update(() if listed is None else listed.markets)
        known.update(await readings.published.positions(name), await readings.positions(name))
        known.update(one.market for one in await readings.holdings.of(name, now_ms))
    return known


def _bare(market: str) -> str:
    return "".join(c for c in market if c.isalnum()).casefold()
