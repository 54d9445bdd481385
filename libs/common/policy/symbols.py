"""What a symbol of an alert is to the venue of an account: a reviewed table first, then rules, then the account's mode."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Final

from libs.common.domain.ids import MAX_MARKET_LENGTH, AccountName, Market

_NEAREST: Final = 3
_NEAR: Final = 0.5
"""How alike two symbols must be for one to be named in place of the other, from 0 to 1."""
_REMEMBERED: Final = 256
"""Symbols whose nearest entries are kept: a strict account is sent the same wrong ones again and again."""

_PREFIXED: Final = re.compile(r"(?P<exchange>[A-Za-z0-9_]+):(?P<bare>.+)", re.DOTALL)
"""What is before the colon of `BTC/USDT:USDT` is no exchange, and neither is a second one in a ratio of two symbols."""
_SEPARATOR: Final = re.compile(r"[/_-]")
_UNMAPPED: Final = re.compile(
    r'"symbol" is "(.*?)", which is not in the symbol table of account ([A-Za-z0-9_.-]*[A-Za-z0-9_-])',
    re.DOTALL,
)


class SymbolMode(StrEnum):
    """What becomes of a symbol that is not in the table."""

    AS_SENT = "as-sent"
    """It is the market's name."""
    STRICT = "strict"
    """It is refused."""


class SymbolRule(StrEnum):
    """How a symbol is written before it is looked up a second time, applied in the order of the list here.

    A rule that would leave nothing of a symbol leaves it as it is.
    """

    STRIP_EXCHANGE = "strip-exchange"
    """`BINANCE:BTCUSDT` becomes `BTCUSDT`."""
    STRIP_PERPETUAL = "strip-perpetual"
    """`BTCUSDT.P` becomes `BTCUSDT`."""
    STRIP_SEPARATOR = "strip-separator"
    """`BTC/USDT`, `BTC-USDT` and `BTC_USDT` become `BTCUSDT`."""


class EntrySource(StrEnum):
    """Who made an entry of the table."""

    CONFIGURATION = "configuration"
    CONFIRMED = "confirmed"
    """`bascule symbols confirm`, while the bridge runs."""


Place = tuple[str, str, str]
"""Symbol, exchange and account, the last two empty for any: there is one entry for each."""


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
    source: EntrySource = EntrySource.CONFIGURATION

    @property
    def place(self) -> Place:
        """Return what it is an entry for, the same in any case and for a delayed feed."""
        return self.symbol.upper(), exchange_name(self.exchange), self.account or ""

    def __str__(self) -> str:
        """Return what it is an entry for, in words."""
        symbol, exchange, account = self.place
        words = [symbol, f"exchange {exchange}" if exchange else "", f"account {account}" if account else ""]
        return ", ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class Mapped:
    """The market is known."""

    market: Market
    because: str
    """The decision in words."""
    entry: SymbolEntry | None = None
    """The line that says so; None where the symbol is the market's name."""


@dataclass(frozen=True, slots=True)
class Unmapped:
    """It is not, and the account is strict."""

    nearest: tuple[str, ...]
    """Symbols of the account's table that look alike, the most alike first."""

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
        self._decisions: Mapping[Place, Mapped] = {
            one.place: Mapped(one.market, _words(one), one) for one in entries
        }
        self._nearest = lru_cache(_REMEMBERED)(self._find_nearest)

    def map(
        self,
        symbol: str,
        exchange: str | None,
        account: AccountName,
        mode: SymbolMode = SymbolMode.AS_SENT,
        rules: frozenset[SymbolRule] = frozenset(),
    ) -> Mapped | Unmapped:
        """Return what a symbol is to an account's venue.

        An entry for the account comes before one for any, then one for the exchange before one for any.

        Args:
            symbol: As sent; `EXCHANGE:` before it names the exchange where the alert does not.
            exchange: As sent.
            account: Whose venue.
            mode: The account's.
            rules: The account's.
        """
        prefix, bare = split_exchange(symbol)
        named = exchange_name(exchange) or exchange_name(prefix)
        found = self._look_up(bare, named, account)
        if found is not None:
            return found
        rewritten = _rewritten(bare, rules) if rules else bare
        keeps_prefix = prefix and SymbolRule.STRIP_EXCHANGE not in rules
        written = f"{prefix}:{rewritten}" if keeps_prefix else rewritten
        if rewritten != bare:
            found = self._look_up(rewritten, named, account)
            if found is not None:
                return replace(found, because=f'{found.because}, after "{symbol}" was written as "{written}"')
        if mode is SymbolMode.STRICT:
            return Unmapped(self._nearest(bare.upper()[:MAX_MARKET_LENGTH], account))
        because = "as sent" if written == symbol else f'"{symbol}" written by the account\'s symbol_rules'
        return Mapped(Market(written), f"{because}: there is no entry for it in the symbol table")

    def _look_up(self, bare: str, exchange: str, account: AccountName) -> Mapped | None:
        symbol = bare.upper()
        # The entry for one account comes before that for one exchange: an account's venue is what we trade at.
        for scope in ((exchange, account), ("", account), (exchange, ""), ("", "")):
            found = self._decisions.get((symbol, *scope))
            if found is not None:
                return found
        return None

    def _find_nearest(self, symbol: str, account: AccountName) -> tuple[str, ...]:
        known: dict[str, list[str]] = {}
        for name, exchange, owner in sorted(self._decisions):
            if owner in {"", account}:
                # An entry for one exchange is no answer to another, so it is named with it.
                known.setdefault(name, []).append(f"{exchange}:{name}" if exchange else name)
        near = difflib.get_close_matches(symbol, known, n=_NEAREST, cutoff=_NEAR)
        return tuple(dict.fromkeys(written for name in near for written in known[name]))[:_NEAREST]


def symbol_map(configured: Iterable[SymbolEntry], confirmed: Iterable[SymbolEntry]) -> SymbolMap:
    """Return the table of both: an entry of the configuration wins over a confirmed one for the same place."""
    return SymbolMap([*(replace(one, source=EntrySource.CONFIRMED) for one in confirmed), *configured])


def split_exchange(symbol: str) -> tuple[str, str]:
    """Return the exchange that stands before a symbol, empty where none does, and the symbol without it."""
    found = _PREFIXED.fullmatch(symbol)
    return ("", symbol) if found is None else (found["exchange"], found["bare"])


def exchange_name(name: str | None) -> str:
    """Return an exchange's name in capitals, without what TradingView adds for delayed feeds; empty for none."""
    return "" if name is None else name.upper().removesuffix("_DLY").removesuffix("_DL")


def unmapped_symbols(detail: str) -> list[tuple[str, AccountName]]:
    """Return the symbols and accounts that a text names with the words of `Unmapped.detail`."""
    return [(symbol, AccountName(account)) for symbol, account in _UNMAPPED.findall(detail)]


def _words(entry: SymbolEntry) -> str:
    owner = "the confirmed" if entry.source is EntrySource.CONFIRMED else "the configuration's"
    return f"{owner} entry for {entry}"


def _rewritten(bare: str, rules: frozenset[SymbolRule]) -> str:
    if SymbolRule.STRIP_PERPETUAL in rules and bare.upper().endswith(".P"):
        bare = bare[:-2] or bare
    if SymbolRule.STRIP_SEPARATOR in rules:
        bare = _SEPARATOR.sub("", bare) or bare
    return bare
