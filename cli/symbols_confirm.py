"""Changes of the symbol table in Redis: what may be confirmed, and what has to be said about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.context import Bridge, ask
from cli.output import Failure
from cli.symbols_suggest import no_list
from cli.symbols_table import SymbolTable, place_of, read_table
from libs.common.domain.ids import AccountName, Market, safe_name
from libs.common.policy.suggestions import Candidate, only_exact, suggest
from libs.common.policy.symbols import EntrySource, SymbolEntry

if TYPE_CHECKING:
    from libs.common.runtime.settings import Settings
    from libs.common.store.markets import VenueMarkets
    from libs.common.store.readings import Readings


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What is to be confirmed."""

    symbol: str
    """With or without `EXCHANGE:`."""
    exchange: str | None
    account: AccountName
    market: str | None
    """None: the only exact proposal."""
    may_replace: bool
    """Whether it may take the place of what counts now."""
    is_forced: bool
    """Whether the venue need not list the market."""


def confirm_entry(bridge: Bridge, settings: "Settings", asked: Confirmation) -> tuple[SymbolEntry, list[str]]:
    """Put an entry into the table; returns it, and what is to be said about it.

    Raises:
        Failure: It may not be confirmed so; nothing was changed.
    """

    async def confirm(readings: "Readings") -> tuple[SymbolEntry, list[str]]:
        from libs.common.domain.errors import EditConflict

        table = await read_table(readings, settings)
        symbol, exchange = place_of(asked.symbol, asked.exchange)
        _demand_name(asked.symbol.strip())
        market = _market(
            symbol, exchange, asked, await readings.of(asked.account).markets.read(asked.account)
        )
        entry = SymbolEntry(symbol, market, exchange, asked.account, EntrySource.CONFIRMED)
        before = _before(entry, table.confirmed)
        remarks = _check(entry, before, table, may_replace=asked.may_replace)
        try:
            await readings.tables.put_symbol(entry, before)
        except EditConflict as error:
            raise Failure(f"{error}; nothing was confirmed: look again") from error
        return entry, remarks

    return ask(bridge, confirm)


def remove_entry(
    bridge: Bridge, settings: "Settings", symbol: str, exchange: str | None, account: str | None
) -> SymbolEntry:
    """Take a confirmed entry out of the table and return it.

    Raises:
        Failure: There is none.
    """

    async def remove(readings: "Readings") -> SymbolEntry:
        from libs.common.domain.errors import EditConflict

        table = await read_table(readings, settings)
        bare, named = place_of(symbol, exchange)
        # Its account may have left the configuration since.
        wanted = SymbolEntry(bare, Market(""), named, AccountName(account) if account else None)
        entry = _before(wanted, table.confirmed)
        if entry is None:
            if _before(wanted, table.configured) is not None:
                raise Failure(f"the entry for {wanted} stands in the configuration: remove it there")
            others = [str(one) for one in table.confirmed if one.place[0] == wanted.place[0]]
            there = f"; there are those for {' and for '.join(others)}" if others else ""
            raise Failure(f"no entry was confirmed for {wanted}{there}")
        try:
            await readings.tables.delete_symbol(entry)
        except EditConflict as error:
            raise Failure(f"{error}; nothing was removed: look again") from error
        return entry

    return ask(bridge, remove)


def _demand_name(symbol: str) -> None:
    """Demand that something stands on both sides of a colon.

    Raises:
        Failure: An exchange without a symbol, or the other way round.
    """
    if symbol.endswith(":"):
        raise Failure(f'the symbol is "{symbol}", with nothing behind its exchange')
    if symbol.startswith(":"):
        raise Failure(f'the symbol is "{symbol}", with nothing before its first colon')


def _market(symbol: str, exchange: str | None, asked: Confirmation, listed: "VenueMarkets | None") -> Market:
    """Return the market that is meant.

    Raises:
        Failure: It cannot be told, or the venue does not list it.
    """
    if asked.market is None:
        if listed is None:
            raise Failure(f"{no_list(asked.account)}; name the market with --market")
        candidates = suggest(symbol, exchange, listed.markets)
        exact = only_exact(candidates)
        if exact is None:
            raise Failure(f"{_choices(symbol, candidates)}; name the market with --market")
        return exact.market
    market = Market(asked.market.strip())
    if safe_name(market) != market:
        raise Failure(f'the market is "{market}", expected at most 64 letters, digits and _ . : / ! @ + -')
    if listed is not None and market not in listed.markets and not asked.is_forced:
        near = [one.market for one in suggest(market, None, listed.markets)]
        like = f"; it lists {', '.join(near)}" if near else ""
        raise Failure(
            f"the venue of account {asked.account} lists no {market}{like} (--force takes it anyway)"
        )
    return market


def _choices(symbol: str, candidates: Iterable[Candidate]) -> str:
    listed = ", ".join(f"{one.market} ({one.because})" for one in candidates)
    return f"{symbol} may mean {listed}" if listed else f"no market of the venue looks like {symbol}"


def _before(entry: SymbolEntry, entries: Iterable[SymbolEntry]) -> SymbolEntry | None:
    """Return the entry for the same place."""
    return next((one for one in entries if one.place == entry.place), None)


def _check(
    entry: SymbolEntry, before: SymbolEntry | None, table: SymbolTable, *, may_replace: bool
) -> list[str]:
    """Return what is to be said about a new entry.

    Raises:
        Failure: It would not count, or would take the place of another unasked.
    """
    same = _before(entry, table.configured)
    if same is not None:
        raise Failure(f"the configuration says that {same} is {same.market}, which wins: change it there")
    if before is not None and before.market != entry.market and not may_replace:
        raise Failure(
            f"{before} was confirmed to be {before.market} (--replace takes {entry.market} instead)"
        )
    remarks = []
    for one in table.configured:
        if one.place[0] != entry.place[0] or one.market == entry.market:
            continue
        _, exchange, account = one.place
        if account not in {"", entry.account} or (exchange and entry.exchange and exchange != entry.exchange):
            continue
        if account and exchange:
            remarks.append(f"for exchange {exchange} the configuration's entry counts: {one.market}")
        elif may_replace:
            remarks.append(f"it comes before the configuration's entry for {one}, which is {one.market}")
        else:
            raise Failure(
                f"the configuration says that {one} is {one.market}, and this would come before it "
                f"(--replace takes {entry.market} instead)"
            )
    return remarks
