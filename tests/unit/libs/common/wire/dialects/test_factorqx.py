import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.alert import Action, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.dialect import Document
from libs.common.wire.dialects.recognition import recognise

GOOD = {"secret": "demo-secret-01", "id": "sma-cross-20261103-091500", "symbol": "ETHUSDT", "action": "buy"}


def body(**changes: Any) -> bytes:
    return json.dumps({key: value for key, value in {**GOOD, **changes}.items() if value is not ...}).encode()


def with_number(text: str, field: str = "quantity") -> bytes:
    """A good body with a number written exactly so."""
    return json.dumps(GOOD)[:-1].encode() + f', "{field}": {text}}}'.encode()


def parse(raw: bytes) -> Document:
    return recognise(raw, pinned="factorqx")


def refusal(raw: bytes) -> AdmissionError:
    with pytest.raises(AdmissionError) as caught:
        parse(raw).read()
    return caught.value


def test_the_guides_example_is_read() -> None:
    document = parse(body())
    assert document.credential == "demo-secret-01"
    assert document.read() == AlertContent(
        dialect="factorqx",
        action=Action.BUY,
        symbol="ETHUSDT",
        sender_id="sma-cross-20261103-091500",
    )


@pytest.mark.parametrize("field", ["quantity", "price"])
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", "1"),
        ("1.50", "1.50"),
        ('"1.50"', "1.50"),
        ('" 2 "', "2"),
        ('"+3"', "3"),
        ('".5"', "0.5"),
        ("0.1", "0.1"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("123456789012345678901234567890.1234567891", "123456789012345678901234567890.1234567891"),
        ("1e3", "1000"),
        ("1e30", "1" + 30 * "0"),
        ("1E-8", "1E-8"),
    ],
)
def test_numbers_come_out_exactly_bare_or_quoted(field: str, text: str, value: str) -> None:
    number = getattr(parse(with_number(text, field)).read(), field)
    assert str(number) == str(Decimal(value))


@pytest.mark.parametrize("field", ["quantity", "price"])
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0", "invalid_number"),
        ("-1", "invalid_number"),
        ("0e5", "invalid_number"),
        ('"NaN"', "invalid_number"),
        ('"Infinity"', "invalid_number"),
        ('"-inf"', "invalid_number"),
        ('""', "invalid_number"),
        ('"1,000"', "invalid_number"),
        ('"1_000"', "invalid_number"),
        ('"0x10"', "invalid_number"),
        ('"\\u0661"', "invalid_number"),
        ("1e999", "invalid_number"),
        ("1e99999999999999999999", "invalid_number"),
        ("1e31", "invalid_number"),
        ("1e-31", "invalid_number"),
        ("9" * 41, "invalid_number"),
        ("9" * 5_000, "invalid_number"),
        ("true", "wrong_type"),
        ("[1]", "wrong_type"),
        ('{"value":1}', "wrong_type"),
        ('"{{strategy.order.contracts}}"', "unfilled_placeholder"),
    ],
)
def test_numbers_that_nobody_can_trade_are_refused(field: str, text: str, code: str) -> None:
    error = refusal(with_number(text, field))
    assert (error.status, error.code, error.field) == (422, code, field)


def test_a_null_number_counts_as_absent() -> None:
    assert parse(body(quantity=None, price=None)).read().quantity is None


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"id": ...}, "missing_field", "id"),
        ({"id": ""}, "missing_field", "id"),
        ({"id": "  "}, "missing_field", "id"),
        ({"id": None}, "missing_field", "id"),
        ({"id": True}, "wrong_type", "id"),
        ({"id": ["a"]}, "wrong_type", "id"),
        ({"id": "x" * 257}, "too_long", "id"),
        ({"id": "{{strategy.order_id}}"}, "unfilled_placeholder", "id"),
        ({"symbol": ...}, "missing_field", "symbol"),
        ({"symbol": ""}, "missing_field", "symbol"),
        ({"symbol": {}}, "wrong_type", "symbol"),
        ({"symbol": "S" * 65}, "too_long", "symbol"),
        ({"symbol": "BTC  USDT"}, "invalid_symbol", "symbol"),
        ({"symbol": "BTCÜSDT"}, "invalid_symbol", "symbol"),
        ({"symbol": "BTC\x00USDT"}, "invalid_symbol", "symbol"),
        ({"symbol": "{BTCUSDT}"}, "invalid_symbol", "symbol"),
        ({"symbol": "BYBIT:"}, "invalid_symbol", "symbol"),
        ({"symbol": ":BTCUSDT"}, "invalid_symbol", "symbol"),
        ({"symbol": ":"}, "invalid_symbol", "symbol"),
        ({"symbol": "{{ticker}}"}, "unfilled_placeholder", "symbol"),
        ({"action": ...}, "missing_field", "action"),
        ({"action": ""}, "missing_field", "action"),
        ({"action": True}, "wrong_type", "action"),
        ({"action": "hold"}, "invalid_action", "action"),
        ({"action": "buy sell"}, "invalid_action", "action"),
        ({"action": "{{strategy.order.action}}"}, "unfilled_placeholder", "action"),
    ],
)
def test_what_is_not_valid_is_refused_with_its_field(changes: dict[str, Any], code: str, field: str) -> None:
    error = refusal(body(**changes))
    assert (error.status, error.code, error.field) == (422, code, field)


@pytest.mark.parametrize("written", ["BUY", "Buy", " buy "])
def test_the_action_may_be_written_in_any_case(written: str) -> None:
    assert parse(body(action=written)).read().action is Action.BUY


@pytest.mark.parametrize("symbol", ["BINANCE:BTCUSDT.P", "ES1!", "EUR/USD", "BTC-USDT_DL", "A|B", "S" * 64])
def test_a_symbol_is_taken_as_sent(symbol: str) -> None:
    assert parse(body(symbol=symbol)).read().symbol == symbol


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "not_json"),
        (b"   ", "not_json"),
        (b"buy BTCUSDT", "not_json"),
        (b"{'id': 'a'}", "not_json"),
        (b'{"id": "a",}', "not_json"),
        (b'{"id": "a"} x', "not_json"),
        (b'{"id": "a"', "not_json"),
        (b'{"price": NaN}', "not_json"),
        (b'{"price": Infinity}', "not_json"),
        (b'{"price": 01}', "not_json"),
        (b'{"id": "\\ud800"}', "not_json"),
        (b'{"id": "a\x00b"}', "not_json"),
        (b'{"id": "\xff"}', "not_utf8"),
        (b"[]", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"12", "not_an_object"),
        (b"null", "not_an_object"),
        (b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too_deep"),
        (b'{"deep":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "too_deep"),
        (b"[" * 100_000, "not_an_object"),
        (b'{"quantity":' + b"[" * 100_000, "too_deep"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
def test_what_is_not_a_json_object_is_refused_before_the_credential(raw: bytes, code: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        parse(raw)
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize(
    "wrap",
    [lambda raw: b"\xef\xbb\xbf" + raw, lambda raw: b"\n " + raw + b"\r\n", lambda raw: raw + b"="],
    ids=["byte-order mark", "white space", "form"],
)
def test_the_wrapping_that_senders_add_is_taken_off(wrap: Any) -> None:
    assert parse(wrap(body())).read().symbol == "ETHUSDT"


@pytest.mark.parametrize("secret", [..., None, True, ["demo-secret-01"], ""])
def test_a_missing_credential_reads_as_none_whatever_else_is_wrong(secret: Any) -> None:
    assert parse(body(secret=secret, id=3, action="hold")).credential == ""


def test_the_credential_is_read_from_a_body_that_is_wrong_elsewhere() -> None:
    assert parse(body(id=3)).credential == "demo-secret-01"


@pytest.mark.parametrize(
    "raw",
    [
        b'{"id":"a","id":"b","symbol":"X","action":"buy"}',
        b'{"id":"a","symbol":"X","action":"buy","action":"sell"}',
        b'{"id":"a","symbol":"X","action":"buy","\\u0061ction":"sell"}',
        b'{"id":"a","symbol":"X","action":"buy","quantity":1,"quantity":100}',
    ],
)
def test_a_field_given_twice_is_refused(raw: bytes) -> None:
    assert refusal(raw).code == "repeated_field"


def test_the_same_key_deeper_down_is_no_repetition() -> None:
    raw = b'{"id":"a","symbol":"X","action":"buy","extra":{"id":"b","symbol":"Y"},"note":"id"}'
    assert parse(raw).read().sender_id == "a"


def test_unknown_keys_are_ignored() -> None:
    assert parse(body(comment="hello {{plot_0}}", nested={"a": [1, None]})).read().symbol == "ETHUSDT"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def outcome(raw: bytes) -> AlertContent | AdmissionError:
    try:
        return parse(raw).read()
    except AdmissionError as error:
        return error


def assert_read_or_refused(raw: bytes) -> None:
    match outcome(raw):
        case AdmissionError(status=status, detail=detail):
            assert status in {400, 422}
            assert detail
        case AlertContent() as content:
            assert content.sender_id
            assert content.symbol.isprintable()
            assert content.action in Action
            for number in (content.quantity, content.price):
                assert number is None or (number.is_finite() and number > 0)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys([*GOOD, "quantity", "price", "other"], JSON)))
def test_any_json_object_is_read_or_refused(document: dict[str, Any]) -> None:
    assert_read_or_refused(json.dumps(document).encode())


@given(
    st.fixed_dictionaries({"id": st.text(), "symbol": st.text(), "action": st.sampled_from(["buy", "SELL"])})
)
def test_any_texts_are_read_or_refused(document: dict[str, str]) -> None:
    assert_read_or_refused(json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    assert_read_or_refused(raw)


@given(st.integers(0, 200), st.binary(max_size=3))
def test_a_damaged_body_is_read_or_refused(place: int, damage: bytes) -> None:
    raw = with_number("1.5")
    assert_read_or_refused(raw[:place] + damage + raw[place + len(damage) :])


@given(st.decimals(min_value="1e-20", max_value="1e19", allow_nan=False, allow_infinity=False, places=20))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    for text in (f"{number:f}", f'"{number:f}"'):
        assert parse(with_number(text)).read().quantity == number
