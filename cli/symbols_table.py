"""The symbol table as commands see it: the configuration's entries and those in Redis, and what they decide."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, assert_never

from cli.context import Bridge, find_bridge
from cli.documents import Document
from cli.filters import is_same
from cli.output import Failure
from libs.common.domain.ids import AccountName, lane_name
from libs.common.policy.symbols import (
    EntrySource,
    Mapped,
    SymbolEntry,
    SymbolMap,
    Unmapped,
    exchange_name,
    split_exchange,
    symbol_map,
)

if TYPE_CHECKING:
    from libs.common.runtime.settings import Settings
    from libs.common.store.readings import Readings

LONGEST: Final = 64
"""Characters of a symbol that alerts may have."""


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """All entries, and the map that they make."""

    configured: tuple[SymbolEntry, ...]
    confirmed: tuple[SymbolEntry, ...]
    unreadable: tuple[str, ...]
    symbols: SymbolMap

    def is_replaced(self, entry: SymbolEntry) -> bool:
        """Return whether a confirmed entry does not count, since the configuration has one for the same place."""
        return entry.source is EntrySource.CONFIRMED and entry.place in {one.place for one in self.configured}


def configured_bridge() -> "tuple[Bridge, Settings]":
    """Return the bridge and its configuration.

    Raises:
        Failure: There is no bridge, or we know of no configuration.
        ConfigError: The configuration cannot be used.
    """
    bridge = find_bridge()
    settings = bridge.settings()
    if settings is None:
        raise Failure("no configuration is known: set BASCULE_CONFIG to the file that the bridge runs with")
    return bridge, settings


def find_account(settings: "Settings", name: str) -> AccountName:
    """Return an account as the configuration writes it.

    Raises:
        Failure: It has none of that name.
    """
    if name in settings.accounts:
        return AccountName(name)
    found = [one for one in settings.accounts if is_same(name, one)]
    if len(found) != 1:
        raise Failure(f"no account {name}: there are {', '.join(settings.accounts)}")
    return found[0]


async def read_table(readings: "Readings", settings: "Settings") -> SymbolTable:
    """Return the table of now.

    Raises:
        StoreUnavailable: No answer.
    """
    tables = await readings.tables.read()
    configured = tuple(one.entry() for one in settings.symbols)
    confirmed = tuple(replace(one, source=EntrySource.CONFIRMED) for one in tables.symbols)
    return SymbolTable(configured, confirmed, tables.unreadable_symbols, symbol_map(configured, confirmed))


def place_of(symbol: str, exchange: str | None) -> tuple[str, str | None]:
    """Return the symbol and the exchange of an entry, as it is stored.

    Raises:
        Failure: No alert can write them so.
    """
    prefix, bare = split_exchange(symbol.strip())
    named = exchange_name(exchange) or exchange_name(prefix)
    for kind, text in (("symbol", bare), ("exchange", named)):
        if len(text) > LONGEST or "|" in text or not (text.isascii() and text.isprintable()):
            raise Failure(
                f'the {kind} is "{text}", expected at most {LONGEST} printable characters without |'
            )
    if not bare:
        raise Failure("the symbol is empty")
    return bare.upper(), named or None


def decision(
    table: SymbolTable, settings: "Settings", symbol: str, exchange: str | None, account: AccountName
) -> Document:
    """Return what an account makes of a symbol, and why; `market` is None where it is refused."""
    from libs.common.policy.routing import LaneBy

    own = settings.accounts[account]
    document: Document = {"symbol": symbol, "exchange": exchange, "account": account}
    match table.symbols.map(symbol, exchange, account, own.symbols, frozenset(own.symbol_rules)):
        case Mapped(market, because, entry):
            lane = lane_name(account, market)
            return document | {
                "market": market,
                "because": because,
                "lane": f"{lane}:<strategy>" if own.lane_by is LaneBy.STRATEGY else lane,
                "entry": None if entry is None else entry_document(entry),
                "nearest": [],
            }
        case Unmapped(nearest) as unmapped:
            return document | {
                "market": None,
                "because": unmapped.detail(symbol, account),
                "lane": None,
                "entry": None,
                "nearest": list(nearest),
            }
        case never:
            assert_never(never)


def entry_document(entry: SymbolEntry) -> Document:
    """Return an entry as `--json` shows it."""
    symbol, exchange, account = entry.place
    return {
        "symbol": symbol,
        "exchange": exchange or None,
        "account": account or None,
        "market": entry.market,
        "source": entry.source.value,
    }
