import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import Market
from libs.common.policy.suggestions import MOST, Candidate, only_exact, suggest

CRYPTO = ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225", "BTC/USDC", "ETH/USDT", "ETH/USDT:USDT"]


def names(symbol: str, markets: list[str], exchange: str | None = None) -> list[str]:
    return [one.market for one in suggest(symbol, exchange, [Market(name) for name in markets])]


def exact(symbol: str, markets: list[str], exchange: str | None = None) -> list[str]:
    found = suggest(symbol, exchange, [Market(name) for name in markets])
    return [one.market for one in found if one.is_exact]


@pytest.mark.parametrize(
    ("symbol", "market"),
    [
        ("BTCUSDT", "BTC/USDT"),
        ("btcusdt", "BTC/USDT"),
        ("BINANCE:BTCUSDT", "BTC/USDT"),
        ("BTC-USDT", "BTC_USDT"),
        ("BTCUSDT.P", "BTC/USDT:USDT"),
        ("BYBIT:BTCUSDT.P", "BTC/USDT:USDT"),
        ("BTCUSDT.P", "BTC-USDT-SWAP"),
        ("BTCUSDT.P", "BTC-USDT-PERP"),
        ("BTCUSDT.P", "BTC_USDT_PERPETUAL"),
        ("BTCUSDT.P", "BTCUSDTPERP"),
        ("BTCUSDTPERP", "BTC/USDT:USDT"),
        ("BTC/USDT:USDT", "BTC-USDT-SWAP"),
        ("BTC/USDT:USDT-261225", "BTC-USDT-261225"),
        ("BRK.B", "BRK-B"),
        ("NASDAQ:AAPL", "AAPL"),
        ("NSE:SBIN", "NSE:SBIN"),
        ("NSE_DLY:SBIN", "NSE:SBIN"),
        ("CME_MINI:ES1!", "ES1!"),
    ],
)
def test_the_same_market_in_another_spelling_is_exact(symbol: str, market: str) -> None:
    assert exact(symbol, [market, "ZZZ/TOP"]) == [market]


@pytest.mark.parametrize(
    ("symbol", "market"),
    [
        ("BTCUSDT.P", "BTC/USDT"),
        ("BTCUSDT", "BTC/USDT:USDT"),
        ("BTCUSDT.P", "BTC/USDT:USDT-261225"),
        ("BTCUSDT", "BTC/USDC"),
        ("BTCUSDT.P", "BTC/USDC:USDC"),
        ("ES1!", "ES2!"),
        ("ES1!", "ESZ2025"),
        ("ES1!", "ES"),
        ("NSE:SBIN", "BSE:SBIN"),
        ("BTC-USDT-261225", "BTC-USDT-260925"),
        ("BTCUSDT", "1000BTC/USDT"),
    ],
)
def test_what_may_be_another_market_is_proposed_but_never_exact(symbol: str, market: str) -> None:
    [found] = suggest(symbol, None, [Market(market)])
    assert (found.market, found.is_exact) == (market, False)


def test_a_perpetual_comes_before_spot_and_a_dated_contract() -> None:
    assert names("BINANCE:BTCUSDT.P", CRYPTO)[:3] == ["BTC/USDT:USDT", "BTC/USDT", "BTC/USDT:USDT-261225"]


def test_spot_comes_before_its_perpetual() -> None:
    assert names("BTCUSDT", CRYPTO)[:3] == ["BTC/USDT", "BTC/USDT:USDT", "BTC/USDT:USDT-261225"]


def test_a_continuous_future_has_its_contracts_proposed() -> None:
    assert names("ES1!", ["ESZ2025", "ESH26", "ESX", "NQZ2025"])[:2] == ["ESH26", "ESZ2025"]


def test_the_exchange_of_the_alert_tells_listings_apart() -> None:
    assert exact("SBIN", ["NSE:SBIN", "BSE:SBIN"], "BSE") == ["BSE:SBIN"]
    assert exact("SBIN", ["NSE:SBIN", "BSE:SBIN"]) == ["BSE:SBIN", "NSE:SBIN"]


@pytest.mark.parametrize(
    ("symbol", "markets"),
    [
        ("BTCUSD.P", ["BTC/USD:BTC", "BTC/USD:USD"]),
        ("SBIN", ["NSE:SBIN", "BSE:SBIN"]),
        ("BTCUSDT", ["BTC/USDT", "BT/CUSDT"]),
        ("BTCUSDT.P", ["BTC/USDT"]),
        ("BTCUSDT", []),
    ],
)
def test_what_is_ambiguous_or_only_alike_is_never_taken_unasked(symbol: str, markets: list[str]) -> None:
    assert only_exact(suggest(symbol, None, [Market(one) for one in markets])) is None


def test_the_only_exact_one_is_taken() -> None:
    found = only_exact(suggest("BTCUSDT.P", None, [Market(one) for one in CRYPTO]))
    assert found is not None
    assert found == Candidate(
        Market("BTC/USDT:USDT"), is_exact=True, because="the same name, a perpetual too"
    )


@pytest.mark.parametrize(
    ("market", "words"),
    [
        ("BTC/USDT", "the same name, but spot while the symbol is a perpetual"),
        ("BTC/USDC:USDC", "a similar name, a perpetual"),
        ("BTC/USDT:USDT-261225", "the same name, but a dated contract while the symbol is a perpetual"),
    ],
)
def test_a_candidate_says_why_it_is_one(market: str, words: str) -> None:
    assert suggest("BTCUSDT.P", None, [Market(market)])[0].because == words


def test_nothing_that_looks_different_is_proposed() -> None:
    assert names("BTCUSDT", ["AAPL", "EUR/USD", "", "/", "ZZZ"]) == []


symbols = st.text(max_size=20) | st.text(st.sampled_from("BTCUSD:./-_P1!"), max_size=14)
markets = st.lists(symbols | st.sampled_from(CRYPTO), max_size=20)


@given(symbols, st.none() | symbols, markets)
def test_no_text_raises_and_only_the_venues_markets_are_proposed_each_once(
    symbol: str, exchange: str | None, listed: list[str]
) -> None:
    found = names(symbol, listed, exchange)
    assert len(found) <= MOST
    assert len(set(found)) == len(found)
    assert set(found) <= set(listed)


@given(symbols, markets, st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter(symbol: str, listed: list[str], rng: random.Random) -> None:
    shuffled = listed.copy()
    rng.shuffle(shuffled)
    assert suggest(symbol, None, map(Market, listed)) == suggest(symbol, None, map(Market, shuffled))


@given(symbols, markets)
def test_exact_ones_come_first(symbol: str, listed: list[str]) -> None:
    marks = [one.is_exact for one in suggest(symbol, None, map(Market, listed))]
    assert marks == sorted(marks, reverse=True)


@given(symbols, markets)
def test_two_exact_ones_are_never_cut_down_to_one(symbol: str, listed: list[str]) -> None:
    each = {name for name in listed if exact(symbol, [name])}
    assert (only_exact(suggest(symbol, None, map(Market, listed))) is not None) == (len(each) == 1)


@given(st.text(st.sampled_from("ABCDEFGHIJKLMNOQRSTUVWXYZ"), min_size=2, max_size=8), st.sampled_from("/-_"))
def test_a_perpetual_is_never_exact_for_spot_nor_the_other_way_round(base: str, separator: str) -> None:
    spot, perpetual = f"{base}{separator}USDT", f"{base}/USDT:USDT"
    assert exact(f"{base}USDT", [spot, perpetual]) == [spot]
    assert exact(f"{base}USDT.P", [spot, perpetual]) == [perpetual]
