"""Which alerts a webhook or an account takes: allow-lists of actions, exchanges and symbols."""

import fnmatch
from dataclasses import dataclass
from typing import Final

import msgspec

from libs.common.domain.alert import Action, AlertContent


class Only(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Allow-lists; an empty one allows everything."""

    actions: tuple[Action, ...] = ()
    exchanges: tuple[str, ...] = ()
    """Whatever their case."""
    symbols: tuple[str, ...] = ()
    """As sent, whatever their case; `*` stands for any characters."""


ANYTHING: Final = Only()


@dataclass(frozen=True, slots=True)
class NotAllowed:
    """What an alert has that is not on the list."""

    field: str
    """`action`, `exchange` or `symbol`."""
    came: str
    expected: tuple[str, ...]

    @property
    def detail(self) -> str:
        """Return it in words."""
        came = f'is "{self.came}"' if self.came else "is missing"
        allowed = ", ".join(f'"{one}"' for one in self.expected[:20])
        return f'"{self.field}" {came}, expected one that is allowed: {allowed}'


def check_allowed(content: AlertContent, only: Only) -> NotAllowed | None:
    """Return the first thing about an alert that is not allowed; None where all is."""
    if only.actions and content.action not in only.actions:
        return NotAllowed("action", content.action.value, tuple(one.value for one in only.actions))
    prefix, colon, bare = content.symbol.partition(":")
    if only.exchanges:
        exchange = content.exchange or (prefix if colon else "")
        if exchange.casefold() not in {one.casefold() for one in only.exchanges}:
            return NotAllowed("exchange", exchange, only.exchanges)
    if only.symbols:
        names = {content.symbol.casefold(), bare.casefold() if colon else content.symbol.casefold()}
        if not any(fnmatch.fnmatchcase(name, one.casefold()) for name in names for one in only.symbols):
            return NotAllowed("symbol", content.symbol, only.symbols)
    return None
