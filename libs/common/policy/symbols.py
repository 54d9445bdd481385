"""What a symbol of an alert is to the venue of an account: a reviewed table first, then rules, then the account's mode."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from libs.common.domain.ids import AccountName, Market

_NEAREST: Final = 3
_NEAR: Final = 0.5
"""How alike two symbols must be for one to be named in place of the other, from 0 to 1."""
_SCOPES: Final = ("exchange", "account")
_SEPARATOR: Final = re.compile(r"[/_-]")


class SymbolMode(StrEnum):
    """What becomes of a symbol that is not in the table."""

    AS_SENT = "as-sent"
    """It is the market's name."""
    STRICT = "strict"
    """It is refused."""


class SymbolRule(StrEnum):
    """How a symbol is written before it is looked up a second time, applied in the order of the list here."""

    STRIP_EXCHANGE = "strip-exchange"
    """`BINANCE:BTCUSDT` becomes `BTCUSDT`."""
    STRIP_PERPETUAL = "strip-perpetual"
    """`BTCUSDT.P` becomes `BTCUSDT`."""
    STRIP_SEPARATOR = "strip-separator"
    """`BTC/USDT`, `BTC-USDT` and `BTC_USDT` become `BTCUSDT`."""


@dataclass(frozen=True, slots=True)
class SymbolEntry:
    """A line of the table."""

    symbol: str
    """As alerts write it, without its exchange; any case."""
    market: Market
    exchange: str | None = None
    """None: any."""
    account: AccountName | None = None
    """None: any."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """The market is known."""

    market: Market
    because: str
    """The decision in words."""


@dataclass(frozen=True, slots=True)
class Unmapped:
    """It is not, and the account is strict."""

    nearest: tuple[str, ...]
    """Symbols of the table that look alike."""

    def detail(self, symbol: str, account: AccountName) -> str:
        """Return it in words."""
        near = f"; the nearest entries are {', '.join(self.nearest)}" if self.nearest else ""
        return f'"symbol" is "{symbol}", which is not in the symbol table of account {account}{near}'


class SymbolMap:
    """The table, for every account."""

    def __init__(self, entries: Iterable[SymbolEntry]) -> None:
        """Args:
        entries: Later ones replace earlier ones for the same symbol, exchange and account.
        """
        self._entries: Mapping[tuple[str, str, str], Market] = {
            (one.symbol.upper(), (one.exchange or "").upper(), one.account or ""): one.market
            for one in entries
        }

    def map(
        self,
        symbol: str,
        exchange: str | None,
        account: AccountName,
        mode: SymbolMode = SymbolMode.AS_SENT,
        rules: frozenset[SymbolRule] = frozenset(),
    ) -> Mapped | Unmapped:
        """Return what a symbol is to an account's venue.

        Args:
            symbol: As sent; `EXCHANGE:` before it names the exchange where the alert does not.
            exchange: As sent.
            account: Whose venue.
            mode: The account's.
            rules: The account's.
        """
        prefix, colon, bare = symbol.rpartition(":")
        named = _exchange(exchange or (prefix if colon else ""))
        found = self._look_up(bare, named, account)
        if found is not None:
            return found
        written = _rewritten(symbol, rules)
        if written != symbol:
            found = self._look_up(written.rpartition(":")[2], named, account)
            if found is not None:
                return Mapped(found.market, f'{found.because}, after "{symbol}" was written as "{written}"')
        if mode is SymbolMode.STRICT:
            return Unmapped(self._nearest(bare))
        because = "as sent" if written == symbol else f'"{symbol}" written by the account\'s symbol_rules'
        return Mapped(Market(written), f"{because}: there is no entry for it in the symbol table")

    def _look_up(self, bare: str, exchange: str, account: AccountName) -> Mapped | None:
        symbol = bare.upper()
        # The entry for one account comes before that for one exchange: an account's venue is what we trade at.
        for scope in ((exchange, account), ("", account), (exchange, ""), ("", "")):
            market = self._entries.get((symbol, *scope))
            if market is not None:
                words = [symbol, *(f"{kind} {one}" for kind, one in zip(_SCOPES, scope, strict=True) if one)]
                return Mapped(market, f"the symbol table's entry for {', '.join(words)}")
        return None

    def _nearest(self, bare: str) -> tuple[str, ...]:
        known = sorted({symbol for symbol, _, _ in self._entries})
        return tuple(difflib.get_close_matches(bare.upper(), known, n=_NEAREST, cutoff=_NEAR))


def _exchange(name: str) -> str:
    """Return an exchange's name without what TradingView adds to it for delayed feeds."""
    return name.upper().removesuffix("_DLY").removesuffix("_DL")


def _rewritten(symbol: str, rules: frozenset[SymbolRule]) -> str:
    if SymbolRule.STRIP_EXCHANGE in rules:
        symbol = symbol.rpartition(":")[2]
    if SymbolRule.STRIP_PERPETUAL in rules:
        symbol = symbol[:-2] if symbol.upper().endswith(".P") else symbol
    if SymbolRule.STRIP_SEPARATOR in rules:
        symbol = _SEPARATOR.sub("", symbol)
    return symbol
