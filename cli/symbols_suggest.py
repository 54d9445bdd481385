"""Proposals for the symbol table, from what the venue of an account trades."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cli.context import Bridge, ask
from cli.documents import Document
from cli.output import Failure
from cli.symbols_table import SymbolTable, read_table
from libs.common.domain.reasons import Reason
from libs.common.policy.suggestions import suggest
from libs.common.policy.symbols import Unmapped, exchange_name, split_exchange, unmapped_symbols

if TYPE_CHECKING:
    from libs.common.domain.ids import AccountName
    from libs.common.runtime.settings import Settings
    from libs.common.store.journal import Post
    from libs.common.store.markets import VenueMarkets
    from libs.common.store.readings import Readings
    from libs.common.store.records import AlertRecord

RECENT: Final = 100
"""Refusals that are looked at where no symbol is named."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A symbol to find a market for."""

    symbol: str
    exchange: str | None


def proposals(
    bridge: Bridge, settings: "Settings", account: "AccountName", wanted: Iterable[Wanted]
) -> tuple[list[Document], int]:
    """Return the candidates for each symbol, and when the venue was asked for its markets, ms since the epoch.

    Args:
        bridge: Whose.
        settings: Its configuration.
        account: Whose venue.
        wanted: What to find markets for; none: the symbols that were refused lately and still are.

    Raises:
        Failure: No list of the venue's markets is known, or Redis does not answer.
    """

    async def look_up(readings: "Readings") -> "tuple[VenueMarkets, list[Wanted]]":
        listed = await readings.of(account).markets.read(account)
        if listed is None:
            raise Failure(no_list(account))
        found = list(wanted)
        if not found:
            found = await _refused(readings, await read_table(readings, settings), settings, account)
        return listed, found

    listed, symbols = ask(bridge, look_up)
    return [_proposal(one, account, listed) for one in symbols], listed.at_ms


def no_list(account: "AccountName") -> str:
    """Return in words that there is no list to propose from."""
    return (
        f"no list of markets is known for account {account}: "
        "its venue gives none, or no worker has reached it in the last seven days"
    )


def _proposal(one: Wanted, account: "AccountName", listed: "VenueMarkets") -> Document:
    return {
        "symbol": one.symbol,
        "exchange": one.exchange,
        "account": account,
        "candidates": [
            {"market": found.market, "exact": found.is_exact, "because": found.because}
            for found in suggest(one.symbol, one.exchange, listed.markets)
        ],
    }


async def _refused(
    readings: "Readings", table: SymbolTable, settings: "Settings", account: "AccountName"
) -> list[Wanted]:
    """Return the symbols that an account refused lately and would refuse now, newest first, each once."""

    def is_unknown_to_us(record: "AlertRecord") -> bool:
        return any(
            one.account == account and one.reason == Reason.UNKNOWN_SYMBOL for one in record.instructions
        )

    def has_unknown(post: "Post") -> bool:
        return post.code == Reason.UNKNOWN_SYMBOL

    alerts = await readings.newest_alerts(limit=RECENT, matches=is_unknown_to_us)
    posts = await readings.newest_refused(limit=RECENT, matches=has_unknown)
    found = [
        (one.alert.received_at_ms, Wanted(one.alert.content.symbol, one.alert.content.exchange))
        for one in alerts.items
    ]
    found += [
        (post.at_ms, Wanted(symbol, None))
        for post in posts.items
        for symbol, owner in unmapped_symbols(post.detail)
        if owner == account
    ]
    own = settings.accounts[account]
    wanted: dict[tuple[str, str], Wanted] = {}
    for _, one in sorted(found, key=lambda dated: -dated[0]):
        decided = table.symbols.map(
            one.symbol, one.exchange, account, own.symbols, frozenset(own.symbol_rules)
        )
        if isinstance(decided, Unmapped):
            prefix, bare = split_exchange(one.symbol)
            wanted.setdefault((bare.upper(), exchange_name(one.exchange) or exchange_name(prefix)), one)
    return list(wanted.values())
