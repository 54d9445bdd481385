from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import AccountName, Market
from libs.common.policy.symbols import (
    EntrySource,
    Mapped,
    SymbolEntry,
    SymbolMap,
    SymbolMode,
    SymbolRule,
    Unmapped,
    exchange_name,
    split_exchange,
    symbol_map,
    unmapped_symbols,
)

DESK = AccountName("desk")
FUND = AccountName("fund")
ALL_RULES = frozenset(SymbolRule)


def entry(
    symbol: str, market: str, exchange: str | None = None, account: AccountName | None = None
) -> SymbolEntry:
    return SymbolEntry(symbol, Market(market), exchange=exchange, account=account)


def market(
    table: Sequence[SymbolEntry],
    symbol: str,
    exchange: str | None = None,
    account: AccountName = DESK,
    mode: SymbolMode = SymbolMode.AS_SENT,
    rules: frozenset[SymbolRule] = frozenset(),
) -> str | None:
    """Return the market's name; None where the symbol is refused."""
    found = SymbolMap(table).map(symbol, exchange, account, mode, rules)
    return found.market if isinstance(found, Mapped) else None


# What an entry is for.

EVERY_SCOPE = [
    entry("BTC", "both", "BINANCE", DESK),
    entry("BTC", "account", None, DESK),
    entry("BTC", "exchange", "BINANCE", None),
    entry("BTC", "any"),
]


@pytest.mark.parametrize(
    ("exchange", "account", "expected"),
    [
        ("BINANCE", DESK, ["both", "account", "exchange", "any"]),
        ("BYBIT", DESK, ["account", "any"]),
        (None, DESK, ["account", "any"]),
        ("BINANCE", FUND, ["exchange", "any"]),
        ("BYBIT", FUND, ["any"]),
        (None, FUND, ["any"]),
    ],
)
def test_the_most_special_entry_counts_and_the_account_before_the_exchange(
    exchange: str | None, account: AccountName, expected: list[str]
) -> None:
    table = list(EVERY_SCOPE)
    for name in expected:
        assert market(table, "BTC", exchange, account) == name
        table = [one for one in table if one.market != name]
    assert market(table, "BTC", exchange, account, SymbolMode.STRICT) is None


@pytest.mark.parametrize("table", list(permutations(EVERY_SCOPE)))
def test_the_order_of_entries_for_different_places_does_not_matter(table: tuple[SymbolEntry, ...]) -> None:
    assert market(table, "BTC", "BINANCE") == "both"


def test_a_later_entry_for_the_same_place_counts() -> None:
    assert market([entry("BTC", "old"), entry("btc", "new")], "BTC") == "new"


@pytest.mark.parametrize("symbol", ["btcusdt", "BTCUSDT", "BtcUsdt"])
@pytest.mark.parametrize("written", ["BTCUSDT", "btcusdt"])
@pytest.mark.parametrize("exchange", ["binance", "BINANCE"])
def test_upper_and_lower_case_mean_the_same(symbol: str, written: str, exchange: str) -> None:
    assert market([entry(written, "BTC/USDT", "Binance", DESK)], symbol, exchange) == "BTC/USDT"


def test_accounts_are_told_apart_by_case() -> None:
    assert market([entry("BTC", "x", account=DESK)], "BTC", account=AccountName("DESK")) == "BTC"


def test_an_entrys_market_keeps_its_case() -> None:
    assert market([entry("BTC", "btc-Usd")], "btc") == "btc-Usd"


# The exchange.


@pytest.mark.parametrize(
    ("symbol", "parts"),
    [
        ("BTCUSDT", ("", "BTCUSDT")),
        ("BINANCE:BTCUSDT.P", ("BINANCE", "BTCUSDT.P")),
        ("CME_MINI:ES1!", ("CME_MINI", "ES1!")),
        ("BTC/USDT:USDT", ("", "BTC/USDT:USDT")),
        ("BINANCE:BTC/USDT:USDT", ("BINANCE", "BTC/USDT:USDT")),
        ("BINANCE:BTCUSDT/BINANCE:ETHUSDT", ("BINANCE", "BTCUSDT/BINANCE:ETHUSDT")),
        ("BINANCE:", ("", "BINANCE:")),
        (":BTC", ("", ":BTC")),
        ("", ("", "")),
    ],
)
def test_what_stands_before_the_first_colon_is_an_exchange_where_it_looks_like_one(
    symbol: str, parts: tuple[str, str]
) -> None:
    assert split_exchange(symbol) == parts


BY_EXCHANGE = [entry("SBIN", "nse", "NSE"), entry("SBIN", "bse", "BSE"), entry("SBIN", "any")]


@pytest.mark.parametrize(
    ("symbol", "exchange", "expected"),
    [
        ("NSE:SBIN", None, "nse"),
        ("nse:sbin", None, "nse"),
        ("NSE:SBIN", "", "nse"),
        ("SBIN", "BSE", "bse"),
        ("NSE:SBIN", "BSE", "bse"),
        ("MCX:SBIN", None, "any"),
        ("SBIN", None, "any"),
    ],
)
def test_the_prefix_names_the_exchange_where_the_alert_does_not(
    symbol: str, exchange: str | None, expected: str
) -> None:
    assert market(BY_EXCHANGE, symbol, exchange) == expected


@pytest.mark.parametrize("sent", ["NSE", "NSE_DL", "NSE_DLY", "nse_dly"])
@pytest.mark.parametrize("written", ["NSE", "NSE_DLY", "nse_dl"])
def test_a_delayed_feed_is_its_exchange_in_alerts_and_in_entries(sent: str, written: str) -> None:
    assert market([entry("SBIN", "nse", written)], "SBIN", sent) == "nse"
    assert market([entry("SBIN", "nse", written)], f"{sent}:SBIN") == "nse"


def test_a_ratio_of_two_symbols_is_not_one_of_them() -> None:
    table = [entry("ETHUSDT", "ETH/USDT"), entry("USDT", "USDT/USD")]
    for symbol in ("BINANCE:BTCUSDT/BINANCE:ETHUSDT", "BTC/USDT:USDT"):
        for rules in (frozenset[SymbolRule](), ALL_RULES):
            assert market(table, symbol, mode=SymbolMode.STRICT, rules=rules) is None


# Rules.


@pytest.mark.parametrize(
    ("symbol", "rules", "expected"),
    [
        ("BINANCE:BTCUSDT", [SymbolRule.STRIP_EXCHANGE], "BTCUSDT"),
        ("BTCUSDT.P", [SymbolRule.STRIP_PERPETUAL], "BTCUSDT"),
        ("BTCUSDT.p", [SymbolRule.STRIP_PERPETUAL], "BTCUSDT"),
        ("BINANCE:BTCUSDT.P", [SymbolRule.STRIP_PERPETUAL], "BINANCE:BTCUSDT"),
        ("BTC/USDT", [SymbolRule.STRIP_SEPARATOR], "BTCUSDT"),
        ("BTC-USDT", [SymbolRule.STRIP_SEPARATOR], "BTCUSDT"),
        ("BTC_USDT", [SymbolRule.STRIP_SEPARATOR], "BTCUSDT"),
        ("CME_MINI:BTC_USD", [SymbolRule.STRIP_SEPARATOR], "CME_MINI:BTCUSD"),
        ("BINANCE:BTC-USDT.P", list(SymbolRule), "BTCUSDT"),
        ("BTCUSDT", list(SymbolRule), "BTCUSDT"),
        ("BTC/USDT:USDT", [SymbolRule.STRIP_EXCHANGE], "BTC/USDT:USDT"),
        (".P", [SymbolRule.STRIP_PERPETUAL], ".P"),
        ("---", [SymbolRule.STRIP_SEPARATOR], "---"),
        ("BINANCE:", [SymbolRule.STRIP_EXCHANGE], "BINANCE:"),
    ],
)
def test_rules_write_a_symbol_that_is_not_in_the_table(
    symbol: str, rules: list[SymbolRule], expected: str
) -> None:
    assert market([], symbol, rules=frozenset(rules)) == expected


@pytest.mark.parametrize("rule", list(SymbolRule))
def test_a_rule_that_is_not_chosen_changes_nothing(rule: SymbolRule) -> None:
    of_rule = {
        SymbolRule.STRIP_EXCHANGE: "BINANCE:BTC",
        SymbolRule.STRIP_PERPETUAL: "BTC.P",
        SymbolRule.STRIP_SEPARATOR: "B-TC",
    }
    assert market([], of_rule[rule], rules=ALL_RULES - {rule}) == of_rule[rule]


def test_a_symbol_is_looked_up_again_as_the_rules_wrote_it() -> None:
    found = SymbolMap([entry("BTCUSDT", "XBT", "BINANCE")]).map(
        "BINANCE:BTC-USDT.P", None, DESK, SymbolMode.STRICT, ALL_RULES
    )
    assert isinstance(found, Mapped)
    assert found.market == "XBT"
    assert '"BINANCE:BTC-USDT.P" was written as "BTCUSDT"' in found.because


def test_the_symbol_as_sent_comes_before_what_the_rules_make_of_it() -> None:
    table = [entry("BTCUSDT", "spot"), entry("BTCUSDT.P", "perpetual")]
    assert market(table, "BTCUSDT.P", rules=ALL_RULES) == "perpetual"


def test_a_strict_account_takes_only_what_the_table_has_whatever_its_rules() -> None:
    assert market([], "BTCUSDT.P", mode=SymbolMode.STRICT, rules=ALL_RULES) is None


# Refusals.


def test_a_refusal_names_the_nearest_entries_of_the_account() -> None:
    table = [
        entry("BTCUSDT", "a"),
        entry("BTCUSDC", "b", "BINANCE"),
        entry("BTCUSDT.PS", "c", account=DESK),
        entry("BTCUSDT.P", "d", account=FUND),
        entry("TSLA", "e"),
    ]
    found = SymbolMap(table).map("BINANCE:btcusdt.p", None, DESK, SymbolMode.STRICT)
    assert isinstance(found, Unmapped)
    assert found.nearest == ("BTCUSDT.PS", "BTCUSDT", "BINANCE:BTCUSDC")
    assert found.detail("BTCUSDT.P", DESK) == (
        '"symbol" is "BTCUSDT.P", which is not in the symbol table of account desk; '
        "the nearest entries are BTCUSDT.PS, BTCUSDT, BINANCE:BTCUSDC"
    )


def test_a_refusal_without_anything_near_says_no_more() -> None:
    found = SymbolMap([entry("TSLA", "e")]).map("BTCUSDT", None, DESK, SymbolMode.STRICT)
    assert found == Unmapped(())
    assert found.detail("BTCUSDT", DESK).endswith("account desk")


@given(
    st.text(st.characters(codec="ascii", exclude_characters='"'), max_size=64),
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,20}[A-Za-z0-9_-])?", fullmatch=True),
    st.lists(st.sampled_from(["BTCUSDT", "TSLA"]), unique=True),
)
def test_what_was_refused_can_be_read_from_the_words(symbol: str, account: str, nearest: list[str]) -> None:
    name = AccountName(account)
    words = Unmapped(tuple(nearest)).detail(symbol, name)
    assert unmapped_symbols(words) == [(symbol, name)]
    assert unmapped_symbols(f"{words}; {words}.") == [(symbol, name)] * 2


# The table of configuration and Redis.


def test_the_configuration_wins_over_an_entry_confirmed_for_the_same_place() -> None:
    table = symbol_map([entry("btc", "configured", "X_DLY", DESK)], [entry("BTC", "confirmed", "x", DESK)])
    found = table.map("BTC", "X", DESK)
    assert isinstance(found, Mapped)
    assert found.market == "configured"
    assert found.entry is not None
    assert found.entry.source is EntrySource.CONFIGURATION
    assert found.because == "the configuration's entry for BTC, exchange X, account desk"


def test_a_more_special_confirmed_entry_comes_before_one_of_the_configuration() -> None:
    found = symbol_map([entry("BTC", "configured")], [entry("BTC", "confirmed", None, DESK)]).map(
        "BTC", None, DESK
    )
    assert isinstance(found, Mapped)
    assert found.entry is not None
    assert (found.market, found.entry.source) == ("confirmed", EntrySource.CONFIRMED)
    assert found.because == "the confirmed entry for BTC, account desk"


# Whatever comes.

texts = st.text(max_size=30) | st.text(st.sampled_from("BTCbtc:./-_P!ſß"), max_size=12)
entries = st.builds(
    SymbolEntry,
    symbol=texts,
    market=st.sampled_from(["M1", "M2"]).map(Market),
    exchange=st.none() | texts,
    account=st.sampled_from([None, DESK, FUND]),
)
rule_sets = st.sets(st.sampled_from(list(SymbolRule))).map(frozenset)


@given(st.lists(entries, max_size=8), texts, st.none() | texts, st.sampled_from(list(SymbolMode)), rule_sets)
def test_no_text_raises_and_the_same_is_always_answered_the_same(
    table: list[SymbolEntry],
    symbol: str,
    exchange: str | None,
    mode: SymbolMode,
    rules: frozenset[SymbolRule],
) -> None:
    found = SymbolMap(table).map(symbol, exchange, DESK, mode, rules)
    assert SymbolMap(table).map(symbol, exchange, DESK, mode, rules) == found
    if isinstance(found, Mapped):
        assert found.market or not symbol
        assert found.entry is None or found.entry.market == found.market
    else:
        assert mode is SymbolMode.STRICT


@given(texts, st.none() | texts)
def test_as_sent_without_rules_and_entries_is_the_symbol_itself(symbol: str, exchange: str | None) -> None:
    assert market([], symbol, exchange) == symbol


@given(texts)
def test_rules_applied_again_change_nothing_more_than_a_prefix_that_they_uncover(symbol: str) -> None:
    once = market([], symbol, rules=frozenset({SymbolRule.STRIP_SEPARATOR}))
    assert once is not None
    assert market([], once, rules=frozenset({SymbolRule.STRIP_SEPARATOR})) == once


@given(st.lists(st.sampled_from(["BTCUSDT", "btcusdt", "X:BTCUSDT", "BTC-USDT", "BTCUSDT.P"]), min_size=1))
def test_all_aliases_of_a_market_are_one_market(symbols: list[str]) -> None:
    table = [entry("BTCUSDT", "BTC/USDT:USDT"), entry("BTC-USDT", "BTC/USDT:USDT")]
    rules = frozenset({SymbolRule.STRIP_PERPETUAL})
    assert {market(table, one, rules=rules) for one in symbols} == {"BTC/USDT:USDT"}


@given(entries)
def test_every_entry_is_found_by_its_own_words(one: SymbolEntry) -> None:
    if split_exchange(one.symbol)[0]:
        return  # its colon would be read as an exchange's
    found = SymbolMap([one]).map(one.symbol, one.exchange, one.account or DESK, SymbolMode.STRICT)
    assert isinstance(found, Mapped)
    assert found.entry == one


@given(texts)
def test_an_exchanges_name_is_in_one_form(name: str) -> None:
    assert exchange_name(f"{name}_DLY") == exchange_name(name) or name.upper().endswith(("_DL", "_DLY"))
