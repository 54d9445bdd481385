"""What halts cover and do, in options, words and documents."""

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from cli.context import Bridge
from cli.documents import Document
from cli.operators import known_account
from cli.output import Failure, ago, printable
from cli.text import ANY_LENGTH
from libs.common.domain.ids import MAX_MARKET_LENGTH, AccountName, Market
from libs.common.policy.halts import Halt, HaltMode, Scope
from libs.common.wire.dialects.fields import MAX_TEXT_LENGTH

if TYPE_CHECKING:
    from libs.common.domain.errors import BridgeError
    from libs.common.store.fan_out import Spread
    from libs.common.store.halts import HaltTable
    from libs.common.store.readings import Readings

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

EFFECTS: Final = MappingProxyType(
    {
        HaltMode.PAUSE: "no order leaves; alerts wait, and those that grow too old expire",
        HaltMode.REJECT: "no order leaves; every alert ends REJECTED at once, exits too",
        HaltMode.CLOSE_ONLY: "exits go through; every other alert ends REJECTED at once",
    }
)


def scope_options(function: F) -> F:
    """Add `--account`, `--strategy` and `--symbol` of a scope."""
    for option in (
        click.option("--symbol", type=ANY_LENGTH, help="Only this market, as the account's venue calls it."),
        click.option("--strategy", type=ANY_LENGTH, help="Only this strategy, as its alerts name it."),
        click.option("--account", help="Only this account."),
    ):
        function = option(function)
    return function


def read_scope(
    bridge: Bridge,
    account: str | None,
    strategy: str | None,
    symbol: str | None,
    *,
    may_be_gone: bool = False,
) -> Scope:
    """Return the scope that is asked for; without any name it is everything.

    Args:
        bridge: Whose accounts there are.
        account: As typed.
        strategy: As typed.
        symbol: As typed.
        may_be_gone: Whether the account may have left the configuration, and the names be longer than those of alerts:
            what an earlier version has set must be lifted.

    Raises:
        UsageError: A name is none.
        Failure: There is no such account.
    """
    if not may_be_gone:
        _demand_length("--strategy", strategy, MAX_TEXT_LENGTH)
        _demand_length("--symbol", symbol, MAX_MARKET_LENGTH)
    named = None if account is None else AccountName(account)
    try:
        scope = Scope(named, strategy, None if symbol is None else Market(symbol))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if named is None:
        return scope
    try:
        return replace(scope, account=known_account(bridge, named))
    except Failure:
        if may_be_gone:
            return scope
        raise


def _demand_length(option: str, name: str | None, longest: int) -> None:
    if name is not None and len(name) > longest:
        raise click.UsageError(f"{option}: got {len(name)} characters, expected at most {longest}")


def scope_document(scope: Scope) -> Document:
    """Return a scope; None is any."""
    return {"account": scope.account, "strategy": scope.strategy, "symbol": scope.symbol}


def halt_document(halt: Halt) -> Document:
    """Return a halt."""
    return {
        **scope_document(halt.scope),
        "mode": halt.mode.value,
        "reason": halt.reason,
        "by": halt.by,
        "at_ms": halt.at_ms,
    }


def halt_words(document: Document, now_ms: int) -> str:
    """Return a halt's document on one line."""
    scope = Scope(document["account"], document["strategy"], document["symbol"])
    since = ago(now_ms - document["at_ms"])
    return printable(f"{document['mode']} of {scope}: {document['reason']} (by {document['by']}, {since})")


def failures(spread: "Spread[T]", own: int | None) -> tuple[list[str], list[str]]:
    """Return the shards that did not take a change, with why: those that needed to, and those that only note it.

    Args:
        spread: What each answered.
        own: The one of the scope's account; None where the scope names none, so that all need to.
    """
    words = {number: f"shard {number}: {_why(error)}" for number, error in sorted(spread.failed.items())}
    needed = [text for number, text in words.items() if own in {None, number}]
    return needed, [text for text in words.values() if text not in needed]


def own_shard(readings: "Readings", scope: Scope) -> int | None:
    """Return the shard that alone obeys a halt of this scope; None where all do."""
    return None if scope.account is None else readings.of(scope.account).number


def shard_documents(spread: "Spread[T]") -> list[Document]:
    """Return which shards took a change, and why the others did not."""
    return [
        {
            "shard": number,
            "is_done": number in spread.answers,
            "error": None if error is None else _why(error),
        }
        for number, error in sorted({**dict.fromkeys(spread.answers), **spread.failed}.items())
    ]


def partial_words(table: "HaltTable") -> list[str]:
    """Return the halts that do not hold on all shards."""
    from libs.common.store.fan_out import shards_in_words

    return [
        f"{one.halt.mode} of {one.halt.scope} is not set on {shards_in_words(one.missing)}, where trading goes on: "
        "set it again with `bascule halt`, or lift it with `bascule resume`"
        for one in table.partial
    ]


def _why(error: "BridgeError") -> str:
    return str(error.__cause__ or error).rstrip(".")


def table_words(table: "HaltTable") -> str:
    """Return what is set, for a sentence."""
    return ", ".join([*(f"{one.mode} of {one.scope}" for one in table.halts), *table.unreadable]) or "none"
