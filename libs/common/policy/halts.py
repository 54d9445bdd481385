"""Halts: what each covers, what its mode lets through, and which of several rules.

Of all that cover an order the strictest rules. A refusal comes first, for it is final: what a pause kept waiting would
be refused after it. Then a pause, which only puts off. So, strictest first:

- an entry is refused by `reject` and `close-only`, and else put off by `pause`;
- an exit is refused by `reject`, and else put off by `pause`; `close-only` lets it through.

The workers' script decides the same way, next to the send: `halted` in `store/lua/prelude.lua`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, Market

ANY: Final = "*"
"""What stands in a scope for any account, strategy or symbol."""

_SCOPE: Final = re.compile(r"account=([^;]+);strategy=(.+);symbol=([^;]+)", re.DOTALL)
"""Neither an account nor a symbol holds `;`, so a strategy may be called anything and the text is still read one way."""
_SEPARATOR: Final = "|"
_PARTS: Final = 4


class HaltMode(StrEnum):
    """What a halt does to the alerts it covers."""

    PAUSE = "pause"
    """They wait, and expire by their age."""
    REJECT = "reject"
    """They end REJECTED at once, exits too."""
    CLOSE_ONLY = "close-only"
    """Exits go through; all else ends REJECTED at once."""


class Effect(StrEnum):
    """What becomes of an order that a halt stops."""

    REFUSED = "refused"
    """Its alert ends REJECTED."""
    PUT_OFF = "put off"
    """Its alert waits for the halt's end, or for its own."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a halt covers; None is any.

    Raises:
        ValueError: A name could not be told from another scope's; the text says which and why.
    """

    account: AccountName | None = None
    strategy: str | None = None
    """As alerts name it, to the letter."""
    symbol: Market | None = None
    """As the account's venue calls it, to the letter."""

    def __post_init__(self) -> None:
        for kind, name in (("account", self.account), ("strategy", self.strategy), ("symbol", self.symbol)):
            if name is None:
                continue
            if not name or name == ANY:
                raise ValueError(f'the {kind} is "{name}", expected a name; leave it out for any')
            if kind != "strategy" and ";" in name:
                raise ValueError(f'the {kind} is "{name}", expected a name without ;')
            if not _is_encodable(name):
                raise ValueError(f"the {kind} is not UTF-8")

    def encode(self) -> str:
        """Return it as it is stored and as scripts build it."""
        return f"account={self.account or ANY};strategy={self.strategy or ANY};symbol={self.symbol or ANY}"

    def covers(self, account: AccountName, strategy: str | None, symbol: Market) -> bool:
        """Tell whether orders of an account, strategy and symbol are within it."""
        return (
            self.account in {None, account}
            and self.strategy in {None, strategy}
            and self.symbol in {None, symbol}
        )

    def __str__(self) -> str:
        """Return it in words."""
        named = (("account", self.account), ("strategy", self.strategy), ("symbol", self.symbol))
        return ", ".join(f"{kind} {name}" for kind, name in named if name is not None) or "everything"


EVERYTHING: Final = Scope()


@dataclass(frozen=True, slots=True)
class Halt:
    """A halt that is set."""

    scope: Scope
    mode: HaltMode
    at_ms: int
    """When, by Redis' clock."""
    by: str
    """Who set it."""
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a halt makes of an order."""

    effect: Effect
    halt: Halt
    """The one that rules."""


def parse_scope(text: str) -> Scope:
    """Return the scope that is stored so.

    Raises:
        StoreCorrupt: It is none.
    """
    found = _SCOPE.fullmatch(text)
    if found is None:
        raise StoreCorrupt(f'the scope of a halt is "{text}"')
    account, strategy, symbol = (None if name == ANY else name for name in found.groups())
    return Scope(
        None if account is None else AccountName(account),
        strategy,
        None if symbol is None else Market(symbol),
    )


def parse_halt(scope: str, record: str) -> Halt:
    """Return the halt that is stored so.

    Args:
        scope: The field's name.
        record: `mode|at_ms|by|reason`.

    Raises:
        StoreCorrupt: One of them cannot be read.
    """
    mode, at_ms, by, reason = [*record.split(_SEPARATOR, _PARTS - 1), "", "", ""][:_PARTS]
    if mode not in set(HaltMode) or not at_ms.isdecimal():
        raise StoreCorrupt(f'the halt of "{scope}" is "{record}", expected mode|at_ms|by|reason')
    return Halt(parse_scope(scope), HaltMode(mode), int(at_ms), by, reason)


def author(name: str) -> str:
    """Return a name as it can stand in a record: on one line and without its separator."""
    return " ".join(name.replace(_SEPARATOR, "/").split()) or "unknown"


def find_stop(
    halts: Iterable[Halt], *, account: AccountName, strategy: str | None, symbol: Market, is_exit: bool
) -> Stopped | None:
    """Return what stops an order, strictest first; None where nothing does.

    Args:
        halts: All that are set.
        account: The order's.
        strategy: Its alert's; None where it names none.
        symbol: What the account's venue calls it.
        is_exit: Whether it can only lessen what is open.
    """
    put_off = None
    for halt in halts:
        if not halt.scope.covers(account, strategy, symbol):
            continue
        if halt.mode is HaltMode.REJECT or (halt.mode is HaltMode.CLOSE_ONLY and not is_exit):
            return Stopped(Effect.REFUSED, halt)
        if halt.mode is HaltMode.PAUSE:
            put_off = Stopped(Effect.PUT_OFF, halt)
    return put_off


def _is_encodable(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
