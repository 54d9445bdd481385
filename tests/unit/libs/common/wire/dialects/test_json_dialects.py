import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import recognise
from tests.support.dialect_bodies import filled, read

BODIES: dict[str, dict[str, Any]] = {
    "lesson5": {
        "symbol": "ETHUSDT",
        "side": "buy",
        "signal": "buy",
        "size": 1,
        "client_ref": "r",
        "exchange": "X",
        "strategy": "s",
        "price": 2,
    },
    "algo_trade_analytics": {
        "auth_key": "k",
        "ticker": "MSFT",
        "positionDirection": "entryLong",
        "direction": "long",
        "orderType": "stop_limit",
        "qty": 1,
        "notional": None,
        "marketPrice": 2,
        "stopPrice": 3,
        "limitPrice": 4,
        "profitTarget": 5,
        "stopLossTarget": 1,
        "timeInForce": "day",
        "trailPrice": None,
        "metadata": {"timestamp": "2026-11-03T14:30:05Z", "strategy": "s"},
    },
    "nova": {
        "passphrase": "p",
        "action": "sell",
        "ticker": "SOLUSDT",
        "exchange": "OKX",
        "price": 1,
        "volume": 2,
        "strategy_id": "s",
        "timeframe": "15",
        "bar_time": "2026-11-03T09:15:01Z",
    },
    "traderspost": {
        "ticker": "SQ",
        "action": "buy",
        "sentiment": "long",
        "quantity": 2,
        "quantityType": "fixed_quantity",
        "price": 3,
        "orderType": "limit",
        "limitPrice": 4,
        "stopPrice": None,
        "takeProfit": {"percent": 1},
        "stopLoss": {"type": "stop", "amount": 1},
        "timeInForce": "gtc",
        "interval": "5",
        "delay": 0,
        "cancel": False,
    },
    "openalgo": {
        "apikey": "k",
        "symbol": "INFY",
        "action": "sell",
        "quantity": 1,
        "pricetype": "SL",
        "product": "MIS",
        "price": 2,
        "trigger_price": 3,
        "position_size": -1,
        "strategy": "s",
        "exchange": "NSE",
    },
    "openalgo_signal": {"action": "long_entry", "symbol": "INFY", "exchange": "NSE", "leg_id": None},
    "three_commas": {
        "secret": "k",
        "max_lag": "60",
        "timestamp": "2026-11-03T09:15:01Z",
        "trigger_price": "1",
        "tv_exchange": "X",
        "tv_instrument": "BTCUSDT",
        "action": "sell",
        "bot_uuid": "u",
        "strategy_info": {"market_position": "short", "market_position_size": "1"},
        "order": {"amount": "1", "currency_type": "base"},
    },
    "junta": {
        "exchange": "X",
        "strategy": "s",
        "market": "ETH_USD",
        "sizeByLeverage": 1.5,
        "size": None,
        "order": "sell",
        "position": "short",
        "price": 2,
        "reverse": True,
        "passphrase": "p",
    },
    "tv_hub": {
        "token": "t",
        "apiKey": "k",
        "exchange": "okx",
        "pair": "BTCUSDT",
        "isSell": True,
        "isLimit": True,
        "price": 1,
        "units": 2,
        "unitsType": "absolute",
        "stopLossPercent": 1,
        "targets": [{"takeProfitPercent": 1}],
        "alertTimestamp": "a",
    },
}
"""One body of each, with most of its keys."""

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=True).map(str)
    | st.text(max_size=10)
    | st.sampled_from(
        ["buy", "sell", "flat", "long", "exit", "", "0", "{{close}}", "limit", "percent", "1e999"]
    ),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


def outcome(body: dict[str, Any], pinned: str) -> AlertContent | AdmissionError:
    try:
        return recognise(json.dumps(body).encode(), pinned=pinned).read()
    except AdmissionError as error:
        return error


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_recognised_without_being_pinned(name: str) -> None:
    body = json.dumps(BODIES[name]).encode()
    assert read(body, name) == recognise(body, pinned=name).read()


@pytest.mark.parametrize("name", BODIES)
@given(data=st.data())
def test_whatever_stands_in_its_fields_is_read_or_refused(name: str, data: st.DataObject) -> None:
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(BODIES[name])), VALUES, max_size=3))
    match outcome(BODIES[name] | changes, name):
        case AdmissionError(status=status, detail=detail):
            # Broken escapes deep inside are found only when they are read.
            assert status in {400, 422}
            assert detail
        case content:
            assert isinstance(content, AlertContent)
            assert content.symbol.isprintable()
            for number in (content.quantity, content.price, content.limit_price, content.stop_price):
                assert number is None or (number.is_finite() and number > 0)
            assert msgspec.json.decode(msgspec.json.encode(content), type=AlertContent) == content


@pytest.mark.parametrize("name", BODIES)
@given(extra=st.dictionaries(st.text(max_size=12).map(lambda text: f"x-{text}"), VALUES, max_size=4))
def test_what_it_does_not_know_changes_nothing(name: str, extra: dict[str, Any]) -> None:
    assert outcome(BODIES[name] | extra, name) == outcome(BODIES[name], name)


@pytest.mark.parametrize("name", BODIES)
def test_a_key_given_twice_is_refused(name: str) -> None:
    key = next(iter(BODIES[name]))
    body = json.dumps(BODIES[name])[:-1] + f', "{key}": "again"}}'
    with pytest.raises(AdmissionError) as caught:
        recognise(body.encode(), pinned=name).read()
    assert (caught.value.status, caught.value.code) == (422, "repeated_field")


@pytest.mark.parametrize("name", BODIES)
def test_every_template_is_json_with_the_credential_in_its_place(name: str) -> None:
    body = json.loads(filled(name, strategy__order__alert_message="x"))
    place = BY_NAME[name].credential
    assert place is None or body[place] == "Sekret4711"
    assert BY_NAME[name].template.count("<SECRET>") == (place is not None)
