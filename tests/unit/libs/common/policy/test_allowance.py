import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, AlertContent
from libs.common.policy.allowance import NotAllowed, Only, check_allowed


def alert(
    symbol: str = "BTCUSDT", *, action: Action = Action.BUY, exchange: str | None = None
) -> AlertContent:
    return AlertContent(dialect="factorqx", action=action, symbol=symbol, exchange=exchange)


@given(
    st.sampled_from(Action),
    st.text(min_size=1, max_size=20),
    st.none() | st.text(min_size=1, max_size=20),
)
def test_empty_lists_allow_everything(action: Action, symbol: str, exchange: str | None) -> None:
    assert check_allowed(alert(symbol, action=action, exchange=exchange), Only()) is None


@pytest.mark.parametrize(
    ("only", "content"),
    [
        (Only(actions=(Action.BUY, Action.SELL)), alert()),
        (Only(exchanges=("binance",)), alert(exchange="BINANCE")),
        (Only(exchanges=("BINANCE",)), alert("binance:BTCUSDT")),
        (Only(exchanges=("BYBIT",)), alert("BINANCE:BTCUSDT", exchange="bybit")),
        (Only(symbols=("BTCUSDT",)), alert("btcusdt")),
        (Only(symbols=("btcusdt",)), alert("BINANCE:BTCUSDT")),
        (Only(symbols=("BINANCE:BTCUSDT",)), alert("BINANCE:BTCUSDT")),
        (Only(symbols=("ETH*", "BTC*")), alert("BTCUSDT.P")),
        (Only(symbols=("BINANCE:*",)), alert("BINANCE:DOGEUSDT")),
        (Only(actions=(Action.BUY,), exchanges=("X",), symbols=("A",)), alert("A", exchange="X")),
    ],
)
def test_what_is_on_the_lists_is_taken(only: Only, content: AlertContent) -> None:
    assert check_allowed(content, only) is None


@pytest.mark.parametrize(
    ("only", "content", "refusal"),
    [
        (
            Only(actions=(Action.BUY,)),
            alert(action=Action.CLOSE_ALL),
            NotAllowed("action", "close_all", ("buy",)),
        ),
        (
            Only(exchanges=("BINANCE",)),
            alert(exchange="BYBIT"),
            NotAllowed("exchange", "BYBIT", ("BINANCE",)),
        ),
        (Only(exchanges=("BINANCE",)), alert("BYBIT:BTCUSDT"), NotAllowed("exchange", "BYBIT", ("BINANCE",))),
        (Only(exchanges=("BINANCE",)), alert(), NotAllowed("exchange", "", ("BINANCE",))),
        (
            Only(exchanges=("BINANCE",)),
            alert("BINANCE:BTCUSDT", exchange="BYBIT"),
            NotAllowed("exchange", "BYBIT", ("BINANCE",)),
        ),
        (Only(symbols=("BTCUSDT",)), alert("BTCUSDT.P"), NotAllowed("symbol", "BTCUSDT.P", ("BTCUSDT",))),
        (Only(symbols=("BTC",)), alert("BTCUSDT"), NotAllowed("symbol", "BTCUSDT", ("BTC",))),
        (
            Only(symbols=("BINANCE:BTCUSDT",)),
            alert("BYBIT:BTCUSDT"),
            NotAllowed("symbol", "BYBIT:BTCUSDT", ("BINANCE:BTCUSDT",)),
        ),
        (
            Only(actions=(Action.SELL,), symbols=("A",)),
            alert("B"),
            NotAllowed("action", "buy", ("sell",)),
        ),
    ],
)
def test_the_first_thing_that_is_not_on_a_list_is_named(
    only: Only, content: AlertContent, refusal: NotAllowed
) -> None:
    assert check_allowed(content, only) == refusal


def test_the_words_name_the_field_what_came_and_what_was_expected() -> None:
    came = NotAllowed("symbol", "DOGE", ("BTCUSDT", "ETH*"))
    assert came.detail == '"symbol" is "DOGE", expected one that is allowed: "BTCUSDT", "ETH*"'
    missing = NotAllowed("exchange", "", ("BINANCE",))
    assert missing.detail == '"exchange" is missing, expected one that is allowed: "BINANCE"'


def test_a_long_list_is_not_told_whole() -> None:
    detail = NotAllowed("symbol", "DOGE", tuple(f"S{n}" for n in range(500))).detail

    assert '"S19"' in detail
    assert '"S20"' not in detail
