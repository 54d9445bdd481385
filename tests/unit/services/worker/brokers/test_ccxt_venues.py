"""The table of exchanges holds together, with ccxt and with our ids."""

import ccxt.async_support as ccxt
import pytest

from libs.common.domain.ids import AccountName, AlertId, client_order_id
from libs.common.domain.order import OrderType
from libs.common.runtime.account_settings import MarketType
from services.worker.brokers.ccxt_venues import PLAIN, UNKNOWN, VENUES, Expiry, venue_of
from services.worker.brokers.port import Deduplication

NAMED = {"binance", "bybit", "bitget", "okx", "kraken", "coinbase", "alpaca"}
OUR_ID = client_order_id(AccountName("desk"), AlertId("0" * 26), 0)


def test_every_named_exchange_is_in_the_table_and_known_to_ccxt() -> None:
    assert set(VENUES) == NAMED
    assert set(ccxt.exchanges) >= NAMED


@pytest.mark.parametrize("name", sorted(NAMED))
def test_our_ids_fit_every_exchange(name: str) -> None:
    venue = venue_of(name)
    assert len(OUR_ID) <= venue.id_length
    assert venue.id_alphabet.fullmatch(OUR_ID)


@pytest.mark.parametrize("name", sorted(NAMED))
def test_codes_mean_one_thing(name: str) -> None:
    venue = venue_of(name)
    kinds = (venue.ambiguous, venue.not_executed, venue.refused, venue.not_found, venue.credentials)
    codes = [code for kind in kinds for code in kind]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("name", sorted(NAMED))
def test_a_sandbox_is_one_that_ccxt_has(name: str) -> None:
    exchange, venue = getattr(ccxt, name)(), venue_of(name)
    assert venue.sandboxes is not None
    for market_type in MarketType:
        for sandbox in venue.sandboxes[market_type]:
            assert hasattr(exchange, {"testnet": "set_sandbox_mode", "demo": "enable_demo_trading"}[sandbox])
    if not any(venue.sandboxes.values()):
        assert venue.without_sandbox


def test_nothing_is_assumed_of_an_exchange_that_is_not_in_the_table() -> None:
    venue = venue_of("gate")
    assert venue is UNKNOWN
    assert venue.deduplication is Deduplication.NONE
    assert venue.expiry is Expiry.NONE
    assert venue.types == {MarketType.SPOT: PLAIN, MarketType.SWAP: PLAIN}
    assert OrderType.STOP not in PLAIN
