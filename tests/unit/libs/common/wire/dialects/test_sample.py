from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, MarketPosition
from libs.common.wire.dialects.catalogue import BY_NAME, DIALECTS
from libs.common.wire.dialects.dialect import PLACEHOLDER, Dialect
from libs.common.wire.dialects.recognition import recognise
from libs.common.wire.dialects.sample import Sample, sample_body

SECRET = "Sekret4711"
BUY = Sample("BINANCE:ETHUSDT.P", "buy", "2500.5", "0.25", "order-1", at_ms=1_793_697_301_000)
SELL = Sample("ETHUSDT.P", "sell", "2500.5", "0.25", "order-2", at_ms=1_793_697_301_000)

EVERY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.name)


@EVERY_DIALECT
@pytest.mark.parametrize("sample", [BUY, SELL], ids=["buy", "sell"])
@pytest.mark.parametrize("secret", ["", SECRET], ids=["without secret", "with secret"])
def test_every_dialects_sample_is_recognised_as_its_own_and_read(
    dialect: Dialect, sample: Sample, secret: str
) -> None:
    document = recognise(sample_body(dialect, sample, secret).encode())

    assert document.dialect == dialect.name
    content = document.read()
    assert content.dialect == dialect.name
    assert content.symbol == "ETHUSDT.P"
    is_exit = sample is SELL
    exits = {Action.SELL, Action.CLOSE_LONG}
    is_flat = content.action is Action.TARGET and content.position is MarketPosition.FLAT
    assert (content.action in exits or is_flat) is is_exit
    assert content.quantity in {None, Decimal("0.25")}
    assert content.price in {None, Decimal("2500.5")}


@EVERY_DIALECT
@pytest.mark.parametrize("sample", [BUY, SELL], ids=["buy", "sell"])
def test_the_secret_stands_where_the_dialects_credential_is_looked_for(
    dialect: Dialect, sample: Sample
) -> None:
    assert recognise(sample_body(dialect, sample, SECRET).encode()).credential == SECRET


@EVERY_DIALECT
@given(
    symbol=st.sampled_from(["BTCUSDT", "OANDA:EURUSD", "BTCUSDT.P", "ES1!", "AAPL"]),
    action=st.sampled_from(["buy", "sell"]),
    price=st.decimals("0.01", "100000", places=2),
    quantity=st.decimals("0.001", "1000", places=3),
    at_ms=st.integers(10**12, 2 * 10**12),
)
def test_whatever_a_sample_trades_its_dialect_reads_it(
    dialect: Dialect, symbol: str, action: str, price: Decimal, quantity: Decimal, at_ms: int
) -> None:
    sample = Sample(symbol, action, str(price), str(quantity), "order-1", at_ms)

    document = recognise(sample_body(dialect, sample, SECRET).encode())

    assert document.dialect == dialect.name
    assert document.read().symbol == symbol.rpartition(":")[2]


def test_all_that_tradingview_would_know_is_filled_in() -> None:
    content = recognise(sample_body(BY_NAME["bascule"], BUY, SECRET).encode()).read()

    assert (content.exchange, content.interval) == ("BINANCE", "15")
    assert (content.position, content.previous_position) == (MarketPosition.LONG, MarketPosition.FLAT)
    assert content.position_size == Decimal("0.25")
    assert content.fired_at_ms == 1_793_697_301_000
    assert content.bar_at_ms == 1_793_697_300_000


@EVERY_DIALECT
def test_nothing_is_left_to_fill_in(dialect: Dialect) -> None:
    body = sample_body(dialect, BUY, SECRET)

    assert "{{" not in body
    assert PLACEHOLDER not in body


@EVERY_DIALECT
def test_without_a_secret_the_place_of_the_credential_is_empty(dialect: Dialect) -> None:
    assert recognise(sample_body(dialect, BUY).encode()).credential == ""


def test_a_secret_that_json_must_escape_is_read_as_it_is() -> None:
    secret = 'a "quoted" \\ word'

    assert recognise(sample_body(BY_NAME["factorqx"], BUY, secret).encode()).credential == secret


def test_two_orders_of_one_second_have_ids_of_their_own() -> None:
    other = Sample("ETHUSDT.P", "buy", "2500.5", "0.25", "order-2", at_ms=BUY.at_ms)

    ids = {recognise(sample_body(BY_NAME["bascule"], one).encode()).read().sender_id for one in (BUY, other)}

    assert len(ids) == 2
