import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.ids import (
    MAX_MARKET_LENGTH,
    AccountName,
    AlertId,
    Market,
    alert_id,
    client_order_id,
    is_client_order_id,
    lane_name,
    market_of,
    safe_name,
)

TIMES = st.integers(0, 2**48 - 1)
ENTROPY = st.binary(min_size=10, max_size=10)


@given(TIMES, ENTROPY)
def test_an_alert_id_is_26_characters_of_its_alphabet(at_ms: int, entropy: bytes):
    assert re.fullmatch("[0-9a-v]{26}", alert_id(at_ms, entropy))


@given(TIMES, TIMES, ENTROPY, ENTROPY)
def test_alert_ids_sort_by_time(one_ms: int, other_ms: int, entropy: bytes, other: bytes):
    if one_ms < other_ms:
        assert alert_id(one_ms, entropy) < alert_id(other_ms, other)


@given(TIMES, ENTROPY, ENTROPY)
def test_two_alerts_of_one_millisecond_differ(at_ms: int, entropy: bytes, other: bytes):
    assert (alert_id(at_ms, entropy) == alert_id(at_ms, other)) == (entropy == other)


@given(st.text("abcdefgh", min_size=1), st.text("0123456789", min_size=1), st.integers(0, 9))
def test_a_client_order_id_fits_every_venue_and_never_changes(account: str, alert: str, leg: int):
    made = client_order_id(AccountName(account), AlertId(alert), leg)
    assert re.fullmatch("[a-z2-7]{26}", made)
    assert made == client_order_id(AccountName(account), AlertId(alert), leg)


def test_accounts_alerts_and_legs_have_orders_of_their_own():
    made = {
        client_order_id(AccountName(account), AlertId(alert), leg)
        for account in ("a", "b", "ab")
        for alert in ("1", "2", "12")
        for leg in (0, 1, 10)
    }
    assert len(made) == 27


def test_a_client_order_id_is_the_same_in_every_version():
    # A changed derivation would trade what is in flight during an update twice.
    assert client_order_id(AccountName("desk"), AlertId("a" * 26), 0) == "ksm4roqnlrzsrtkcotxbbfpqis"


def test_our_order_ids_are_told_from_those_of_others():
    own = client_order_id(AccountName("desk"), AlertId("a"), 0)
    assert is_client_order_id(own)
    assert not any(is_client_order_id(name) for name in ("", own[1:], own + "a", own.upper(), own[:-1] + "1"))


@pytest.mark.parametrize("strategy", [None, "trend"])
def test_the_market_of_a_lane_is_in_its_name(strategy: str | None):
    assert market_of(lane_name(AccountName("desk"), Market("BTC/USDT"), strategy)) == "BTC/USDT"


@pytest.mark.parametrize(
    "name", ["BTCUSDT", "BINANCE:BTCUSDT.P", "ES1!", "BRK.B", "a/b", "x" * 64, "@ES", "1+1", "_-"]
)
def test_a_safe_name_is_kept(name: str):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "~a", "a{b}", "ü", "a\n", "a*", "\udcff", "a|b"])
def test_any_other_becomes_a_digest(name: str):
    assert re.fullmatch("~[0-9a-f]{32}", safe_name(name))


@given(st.text(), st.text())
def test_different_names_stay_different(one: str, other: str):
    assert (safe_name(one) == safe_name(other)) == (one == other)


@given(st.text())
def test_a_safe_name_is_bounded_and_its_own(name: str):
    safe = safe_name(name)
    assert len(safe) <= MAX_MARKET_LENGTH
    assert safe.startswith("~") or safe_name(safe) == safe


def test_lanes_are_named_by_account_and_market_and_where_asked_for_by_strategy():
    assert lane_name(AccountName("desk"), Market("BTC")) == "desk:BTC"
    assert lane_name(AccountName("desk"), Market("BTC"), "trend") == "desk:BTC:trend"
    assert lane_name(AccountName("desk"), Market("BTC"), "my trend").startswith("desk:BTC:~")
