"""Which exchange an account reaches: its sandbox unless it says otherwise, and never another than was meant."""

import sys
from typing import Any

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.account_settings import CcxtAccount, MarketType
from libs.common.runtime.secrets import Secret
from services.worker.brokers.ccxt_exchange import Credentials, make_exchange, place_of
from services.worker.brokers.ccxt_venues import VENUES

CREDENTIALS = Credentials(Secret("key-of-a-test"), Secret("secret-of-a-test"), Secret("pass-of-a-test"))


def account(exchange: str = "binance", **settings: Any) -> CcxtAccount:
    return CcxtAccount(exchange=exchange, api_key="K", secret="S", **settings)


def leaves(urls: Any) -> list[str]:
    return [leaf for value in urls.values() for leaf in leaves(value)] if isinstance(urls, dict) else [urls]


def made(settings: CcxtAccount) -> Any:
    return make_exchange(settings, CREDENTIALS, connections=4)


@pytest.mark.parametrize(
    ("settings", "place", "host"),
    [
        (account(), "testnet", "testnet.binance.vision"),
        (account(demo=True), "demo", "demo-api.binance.com"),
        (account(market_type=MarketType.SWAP), "demo", "demo-fapi.binance.com"),
        (account(live=True), "live", "api.binance.com"),
        (account("bybit"), "testnet", "api-testnet.{hostname}"),
        (account("bybit", demo=True), "demo", "api-demo.{hostname}"),
        (account("bybit", live=True), "live", "api.{hostname}"),
        (account("alpaca"), "testnet", "paper-api.{hostname}"),
        (account("kraken", live=True), "live", "api.kraken.com"),
        (account("gate"), "testnet", "testnet"),
    ],
    ids=str,
)
def test_an_account_reaches_the_sandbox_unless_it_is_live(
    settings: CcxtAccount, place: str, host: str
) -> None:
    exchange = made(settings)
    assert place_of(settings) == place
    assert any(host in url for url in leaves(exchange.urls["api"]))
    if not settings.live:
        real = [
            url for url in leaves(exchange.urls["api"]) if "//api.binance" in url or "//api.{hostname}" in url
        ]
        assert real == []


@pytest.mark.parametrize("name", ["okx", "bitget"])
def test_some_sandboxes_are_a_mark_on_every_request(name: str) -> None:
    assert made(account(name)).options["sandboxMode"] is True
    assert not made(account(name, live=True)).options.get("sandboxMode")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (account("kraken"), "live: kraken has no sandbox"),
        (account("coinbase"), "live: coinbase has no sandbox"),
        (account("kucoin"), "live: kucoin has no sandbox"),
        (account("okx", demo=True), "demo: okx has no demo trading"),
        (account("binanc"), "did you mean binance"),
        (
            account("kraken", market_type=MarketType.SWAP, live=True),
            "market_type: kraken has no swap markets",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_traded_keeps_the_worker_from_starting(settings: CcxtAccount, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        made(settings)


def test_a_passphrase_that_is_needed_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="password: okx needs"):
        make_exchange(account("okx"), Credentials(Secret("k"), Secret("s")), connections=4)


def test_without_ccxt_the_words_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)
    monkeypatch.delitem(sys.modules, "ccxt.async_support", raising=False)
    with pytest.raises(ConfigError, match="make up EXTRAS=ccxt"):
        made(account())


@pytest.mark.parametrize("name", sorted(VENUES))
def test_with_a_url_no_address_of_the_exchange_is_left(name: str) -> None:
    exchange = made(account(name, url="http://127.0.0.1:9"))
    assert all(url.startswith("http://127.0.0.1:9") for url in leaves(exchange.urls["api"]))


@pytest.mark.parametrize("name", sorted(VENUES))
def test_ccxt_neither_limits_nor_tries_again(name: str) -> None:
    exchange = made(account(name, url="http://127.0.0.1:9"))
    assert exchange.enableRateLimit is False
    assert exchange.options["maxRetriesOnFailure"] == 0
    assert exchange.timeout == 2_000


def test_credentials_do_not_show() -> None:
    assert "of-a-test" not in repr(CREDENTIALS)
