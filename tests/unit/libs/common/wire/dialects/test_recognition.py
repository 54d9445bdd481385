import json
import random
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libs.common.domain.alert import Alert, AlertContent
from libs.common.domain.errors import AdmissionError
from libs.common.domain.ids import AccountName, AlertId, WebhookName
from libs.common.wire.codec import ALERT
from libs.common.wire.dialects.catalogue import BY_NAME, DIALECTS
from libs.common.wire.dialects.dialect import PLACEHOLDER, Document
from libs.common.wire.dialects.recognition import FORM_TYPE, recognise
from tests.support.dialect_bodies import SECRET, filled, rendered

MESSAGES: Final = {"openalgo_signal": "long_entry", "algo_trade_analytics": "entryLong"}
"""What a script says with its orders where the dialect needs it to."""

NOTHING_SETTLED: Final[Mapping[str, str]] = {}
DOCUMENTATION: Final = Path(__file__).parents[6] / "docs" / "dialects.md"


@dataclass(frozen=True)
class Example:
    """A body of a dialect, its credential, and what a webhook has to settle before it can be read."""

    dialect: str
    body: str
    credential: str = ""
    options: Mapping[str, str] | None = None

    @property
    def is_json(self) -> bool:
        return BY_NAME[self.dialect].split is None

    def __str__(self) -> str:
        return f"{self.dialect} {self.body[:40]!r}"

    def recognised(self) -> Document:
        return recognise(
            self.body.encode(), pinned=self.dialect if self.options else None, options=self.settled
        )

    @property
    def settled(self) -> Mapping[str, str]:
        return self.options or NOTHING_SETTLED


EXAMPLES: Final = (
    Example(
        "factorqx",
        '{"secret":"demo-secret-01","id":"sma-cross-20261103-091500","symbol":"ETHUSDT","action":"buy"}',
        "demo-secret-01",
    ),
    Example(
        "lesson5",
        '{"symbol":"ETHUSDT","exchange":"binance","strategy":"meanrev-2","signal":"BUY","side":"BUY","price":2411.35,"size":0.25,"client_ref":"tv_2026-11-03T09:15:00Z_L1"}',
    ),
    Example(
        "algo_trade_analytics",
        '{"auth_key":"ata-demo-77","ticker":"MSFT","positionDirection":"entryLong","orderType":"stop_limit","qty":15,"marketPrice":417.2,"stopPrice":418.0,"limitPrice":418.6,\n "metadata":{"timestamp":"2026-11-03T14:30:05Z","strategy":"Range Break","signal":"Upper band"}}',
        "ata-demo-77",
    ),
    Example(
        "nova",
        '{"passphrase":"demo-pass-04","action":"close_long","ticker":"SOLUSDT","exchange":"BYBIT","price":151.4,"volume":12.5,"strategy_id":"trend_v3","timeframe":"15","bar_time":"2026-11-03T09:15:01Z"}',
        "demo-pass-04",
    ),
    Example(
        "traderspost",
        '{"ticker":"MNQZ2026","action":"buy","sentiment":"long","quantity":"2","price":"20850.25","takeProfit":{"amount":60},"stopLoss":{"type":"stop","stopPrice":20810},"time":"2026-11-03T14:30:02Z","interval":"5"}',
    ),
    Example("traderspost", '{"ticker":"MNQZ2026","action":"sell","sentiment":"flat"}'),
    Example(
        "openalgo",
        '{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40","pricetype":"LIMIT","product":"MIS","price":"148.35","trigger_price":"0","disclosed_quantity":"0","position_size":"-40"}',
        "oa-demo-9",
    ),
    Example(
        "openalgo",
        '{"apikey":"oa-demo-9","strategy":"ema_pair","exchange":"NSE","symbol":"TATASTEEL","action":"SELL","quantity":"40","pricetype":"LIMIT","product":"MIS","price":"148.35"}',
        "oa-demo-9",
    ),
    Example("openalgo_signal", '{"action":"long_entry","symbol":"TATASTEEL","exchange":"NSE"}'),
    Example("openalgo_signal", '{"action":"long_entry","symbol":"TATASTEEL"}'),
    Example(
        "three_commas",
        '{"secret":"3c-demo","max_lag":"120","timestamp":"2026-11-03T09:15:01Z","trigger_price":"68120.5","tv_exchange":"BINANCE","tv_instrument":"BTCUSDT.P","action":"sell","bot_uuid":"8c1f0f3e-0000-4a1b-9c55-1d2e3f405162",\n "strategy_info":{"market_position":"short","market_position_size":"0.4","prev_market_position":"long","prev_market_position_size":"0.3"},"order":{"amount":"0.7","currency_type":"base"}}',
        "3c-demo",
    ),
    Example(
        "junta",
        '{"exchange":"hyperliquid","strategy":"donchian-4h","market":"ETH_USD","sizeUsd":1500,"order":"sell","position":"short","price":2405.1,"reverse":true,"passphrase":"junta-demo"}',
        "junta-demo",
    ),
    Example(
        "tv_hub",
        '{"token":"5f0d2a11-0000-4000-8000-0a0b0c0d0e0f","apiKey":"main-futures","exchange":"binance-futures","pair":"BTCUSDT","isSell":true,"isMarket":true,"units":0.05,"unitsType":"absolute","leverage":5,"alertTimestamp":"BTCUSDT-2026-11-03T09:15:01Z"}',
        "5f0d2a11-0000-4000-8000-0a0b0c0d0e0f",
    ),
    Example(
        "bascule",
        '{"bascule":1,"secret":"own-demo","id":"a-1","action":"target","position":"short","symbol":"BTCUSDT","quantity":"2","unit":"risk_percent","order_type":"limit","limit_price":68000,"stop_loss":{"value":"1.5","unit":"percent"},"take_profit":66000,"max_age":"60s","time_in_force":"gtc","bar_time":"2026-11-03T09:15:00Z","interval":"15"}',
        "own-demo",
    ),
    Example(
        "pineconnector",
        '60123450001,closelongsell,GBPUSD,risk=0.5,sl=35,tp=70,comment="ldn-open"',
        "60123450001",
        {"risk": "units", "stops": "distance"},
    ),
    Example("pineconnector", "60123450001,buy,GBPUSD,vol_dollar=50,sl_price=1.21", "60123450001"),
    Example(
        "octobot",
        "EXCHANGE=binance;SYMBOL=SOLUSDT;SIGNAL=SELL;ORDER_TYPE=LIMIT;VOLUME=50a%;PRICE=162.4;STOP_PRICE=149;REDUCE_ONLY=true;TOKEN=octo-demo",
        "octo-demo",
    ),
    Example(
        "octobot", "EXCHANGE=binance\nTOKEN=octo-demo\nSYMBOL=SOLUSDT\nSIGNAL=BUY\nVOLUME=2%", "octo-demo"
    ),
    Example(
        "crosstrade",
        "key=xt-demo; command=PLACE; account=Sim101; instrument=MNQ 12-26; action=SELL; qty=2; order_type=MARKET; tif=DAY; flatten_first=true; take_profit=20780; stop_loss=20895; rate_limit=1/60; id=mnq-a;",
        "xt-demo",
    ),
    Example("crosstrade", "key=xt-demo;\ncommand=CANCELORDERS;\ninstrument=MNQ 12-26;", "xt-demo"),
    Example(
        "autoview",
        "c=position e=bybit a=sub1 s=BTCUSDT b=short\ne=bybit a=sub1 s=BTCUSDT b=long q=15% sl=1.5% tp=3%",
    ),
    Example("autoview", "e=bybit s=BTCUSDT b=long q=2 tp=3%&sl=1%"),
    Example("whook", "// trend v3, account A\nacctA ETHUSDT.P pos -1.5 x3"),
    Example("whook", "// trend v3\nacctB ETH/USDT buy 250$ x2 limit:e17:2380.5"),
    Example("whook", "ETHUSDT close 33.3% secret=wh-demo", "wh-demo"),
)

every_example = pytest.mark.parametrize("example", EXAMPLES, ids=str)
with_credential = pytest.mark.parametrize("example", [one for one in EXAMPLES if one.credential], ids=str)


def read(example: Example, body: str | bytes, content_type: str = "") -> tuple[str, AlertContent]:
    """The credential and the meaning of a body that is a variant of an example."""
    raw = body.encode() if isinstance(body, str) else body
    document = recognise(
        raw, content_type, pinned=example.dialect if example.options else None, options=example.settled
    )
    assert document.dialect == example.dialect
    return document.credential, document.read()


def outcome(body: bytes, content_type: str = "", **how: Any) -> AlertContent | AdmissionError:
    """What a body is read as, or how it is refused: with 400 where its dialect is not told yet."""
    try:
        document = recognise(body, content_type, **how)
    except AdmissionError as error:
        return error if error.status == 400 else AdmissionError(500, "too_early", str(error))
    assert isinstance(document.credential, str)
    try:
        return document.read()
    except AdmissionError as error:
        return error


def test_every_dialect_has_an_example() -> None:
    assert {example.dialect for example in EXAMPLES} == set(BY_NAME)


def test_every_dialect_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(DIALECTS)
    for dialect in DIALECTS:
        assert re.fullmatch("[a-z0-9_]+", dialect.name)
        assert dialect.title


@pytest.mark.parametrize("name", BY_NAME)
def test_the_template_of_every_dialect_is_recognised_with_its_credential(name: str) -> None:
    dialect = BY_NAME[name]
    assert (PLACEHOLDER in dialect.template) == (dialect.credential is not None)
    document = recognise(filled(name, strategy__order__alert_message=MESSAGES.get(name, "")).encode())
    assert document.dialect == name
    assert document.credential == (SECRET if dialect.credential is not None else "")


@pytest.mark.parametrize("name", BY_NAME)
def test_the_documentation_has_an_example_of_every_dialect_and_it_is_read(name: str) -> None:
    section = DOCUMENTATION.read_text().partition(f"\n## `{name}`\n")[2].partition("\n## ")[0]
    example = section.partition("```")[2].partition("\n")[2].partition("```")[0]
    document = recognise(rendered(example).encode())
    assert document.dialect == name
    assert (document.credential == SECRET) == (BY_NAME[name].credential is not None)
    assert document.read().dialect == name


@every_example
def test_an_example_is_recognised_as_its_own_dialect(example: Example) -> None:
    document = recognise(example.body.encode())
    assert (document.dialect, document.credential) == (example.dialect, example.credential)


@every_example
def test_a_webhook_of_one_dialect_reads_what_the_others_recognise(example: Example) -> None:
    pinned = recognise(example.body.encode(), pinned=example.dialect, options=example.settled)
    assert pinned.credential == example.credential
    if not example.options:
        assert pinned.read() == recognise(example.body.encode()).read()


@every_example
def test_a_webhook_of_one_dialect_refuses_the_form_of_another(example: Example) -> None:
    other = "octobot" if example.is_json else "nova"
    with pytest.raises(AdmissionError) as caught:
        recognise(example.body.encode(), pinned=other)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "start", [b"", b"\n \t", b"\xef\xbb\xbf", b" \xef\xbb\xbf\n", b"\xef\xbb\xbf\xef\xbb\xbf"]
)
@pytest.mark.parametrize("body", [b'{"a": "\xff"}', b"X buy 1 \xc3(", b"\xff"])
def test_a_byte_that_is_not_utf8_is_counted_from_where_the_body_begins(start: bytes, body: bytes) -> None:
    with pytest.raises(AdmissionError) as caught:
        recognise(start + body + b" \n")
    place = next(at for at, byte in enumerate(body) if byte >= 0xC0)
    assert (caught.value.status, caught.value.code) == (400, "not_utf8")
    assert caught.value.detail == f"byte {len(start) + place} of the body is not UTF-8"


def test_what_is_of_no_dialect_is_refused_before_the_credential_only_as_text() -> None:
    text, shape = outcome(b"hello"), outcome(b'{"secret": "s", "a": 1}')
    assert isinstance(text, AdmissionError)
    assert isinstance(shape, AdmissionError)
    assert (text.status, text.code) == (400, "unknown_dialect")
    assert (shape.status, shape.code) == (422, "unknown_dialect")


# Names ---------------------------------------------------------------------------------------------------------------

MODEL_NAMES: Final = {
    "id": "sender_id",
    **{name: name for name in ("symbol", "action", "exchange", "strategy", "interval")},
}
"""What the model calls its fields in refusals -> the attribute."""


def written(name: str, body: str) -> dict[str, Any]:
    """The values of a body by the names of its fields, with dots before those below."""
    dialect = BY_NAME[name]
    if dialect.split is not None:
        fields = dialect.split(body)
        assert fields is not None
        return {one: fields.text(one) for one in fields.names()}
    document: dict[str, Any] = json.loads(body)
    below = {
        f"{one}.{inner}": found
        for one, value in document.items()
        if isinstance(value, dict)
        for inner, found in value.items()
    }
    return document | below


@pytest.mark.parametrize("name", BY_NAME)
def test_a_dialect_names_only_what_it_calls_otherwise(name: str) -> None:
    names = BY_NAME[name].names
    assert set(names) <= set(MODEL_NAMES)
    assert all(own != model for model, own in names.items())


@pytest.mark.parametrize("name", BY_NAME)
@given(
    ticker=st.from_regex("[A-Z]{3,12}", fullmatch=True), order_id=st.from_regex("[a-z]{1,8}", fullmatch=True)
)
def test_a_dialects_template_has_its_fields_where_its_names_say(
    name: str, ticker: str, order_id: str
) -> None:
    values = {"strategy__order__id": order_id, "strategy__order__alert_message": MESSAGES.get(name, "")}
    body = filled(name, ticker=f"{ticker}USDT", **values)
    content = recognise(body.encode()).read()
    found = written(name, body)
    for model, attribute in MODEL_NAMES.items():
        value = getattr(content, attribute)
        if value is not None:
            own = BY_NAME[name].names.get(model, model)
            assert own in found
            # An action is said in many ways; the rest stands there as it was sent.
            assert model == "action" or found[own] == value


# Credentials ---------------------------------------------------------------------------------------------------------

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",;\r\n"), max_size=30)
AWKWARD = st.sampled_from(
    [
        "",
        "{",
        '{"a":1}',
        '["a"]',
        '"quoted"',
        "%7B%22",
        "%2C",
        "SIGNAL=BUY",
        "key=a",
        "command=PLACE",
        "b=long s=X q=1",
        "buy",
        "60123",
        "-1",
        "null",
        "true",
        "abc==",
        "a b",
        "\ufeff",
        "{{close}}",
        "bascule",
    ]
)


@with_credential
@settings(deadline=None)
@given(credential=LINE | AWKWARD)
def test_recognition_does_not_depend_on_the_form_of_the_credential(example: Example, credential: str) -> None:
    if example.is_json:
        body = json.dumps(json.loads(example.body) | {BY_NAME[example.dialect].credential: credential})
    elif BY_NAME[example.dialect].credential is None:
        assume(credential.split() == [credential] and "{{" not in credential)
        body = example.body.replace(example.credential, credential)
    else:
        body = example.body.replace(example.credential, credential, 1)
    document = recognise(body.encode())
    assert document.dialect == example.dialect
    is_plain = (
        credential.isprintable() and credential == credential.strip() and not credential.startswith("\ufeff")
    )
    if is_plain:
        assert document.credential == credential


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.is_json and one.credential], ids=str)
@pytest.mark.parametrize("credential", [None, 4711, True, ["a"], {"a": 1}])
def test_recognition_does_not_depend_on_the_kind_of_the_credential(example: Example, credential: Any) -> None:
    body = json.loads(example.body) | {BY_NAME[example.dialect].credential: credential}
    assert recognise(json.dumps(body).encode()).dialect == example.dialect


@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.is_json and not one.credential], ids=str)
@pytest.mark.parametrize("place", ["secret", "password"])
def test_a_dialect_without_a_place_may_carry_the_credential_beside_its_fields(
    example: Example, place: str
) -> None:
    document = recognise(json.dumps(json.loads(example.body) | {place: "demo-1"}).encode())
    assert document.dialect == example.dialect
    if BY_NAME[example.dialect].credential is None:
        assert document.credential == "demo-1"


@pytest.mark.parametrize(
    "credential",
    [
        "key=a;command=PLACE",
        "x=1;SIGNAL=BUY",
        "SIGNAL=SELL",
        "a;b",
        "b=long s=X q=1",
        "// a",
        "ETHUSDT buy 1",
    ],
)
def test_a_licence_id_may_look_like_another_dialect(credential: str) -> None:
    document = recognise(f"{credential},buy,EURUSD".encode())
    assert (document.dialect, document.credential) == ("pineconnector", credential)


@pytest.mark.parametrize("credential", ["a+b", "%41bc", "a%20b", "a&b=c"])
def test_a_text_that_is_declared_a_form_keeps_its_credential(credential: str) -> None:
    document = recognise(f"{credential},buy,EURUSD".encode(), FORM_TYPE)
    assert (document.dialect, document.credential) == ("pineconnector", credential)


def test_the_quick_way_for_plain_bodies_finds_what_the_long_way_finds() -> None:
    body = b'{"secret":"s","id":"a","symbol":"X","action":"long_entry"}'
    assert recognise(body).dialect == recognise(b"\xef\xbb\xbf" + body).dialect == "openalgo_signal"


# Wrappings -----------------------------------------------------------------------------------------------------------


def wrappings(example: Example) -> Iterator[tuple[str, bytes, str]]:
    """The same body as other senders would send it: a name, bytes and content type."""
    text = example.body
    lines = text.replace("\n", "\r\n")
    yield "byte-order mark", b"\xef\xbb\xbf" + text.encode(), ""
    yield "white space", b"\r\n\t " + text.encode() + b" \n\n", "text/plain; charset=utf-8"
    yield "carriage returns", lines.encode() + b"\r\n", "text/plain"
    yield "all of it", b"\n\xef\xbb\xbf\n" + lines.encode() + b"\n", "application/json"
    yield "declared a form", text.encode(), FORM_TYPE
    yield "declared a form, with its sign", text.encode() + b"=", f"{FORM_TYPE}; charset=UTF-8"
    yield "a form's one key", quote_plus(text).encode() + b"=", FORM_TYPE
    yield "percent-encoded", quote(text, safe="").encode(), FORM_TYPE.upper()
    yield "percent-encoded lines", quote(lines, safe="").encode() + b"=", FORM_TYPE
    if example.is_json:
        yield "a trailing sign", text.encode() + b"=", "application/json"
        yield "percent-encoded, undeclared", quote(text, safe="").encode(), "text/plain"
        yield "indented", json.dumps(json.loads(text), indent=2).encode(), ""
        fields = json.loads(text)
        if not any(isinstance(value, dict) for value in fields.values()):
            yield "a form's fields", urlencode(fields).encode(), FORM_TYPE


@pytest.mark.parametrize(
    ("example", "body", "content_type"),
    [
        pytest.param(example, body, content_type, id=f"{name}: {example}")
        for example in EXAMPLES
        for name, body, content_type in wrappings(example)
    ],
)
def test_a_wrapping_changes_nothing(example: Example, body: bytes, content_type: str) -> None:
    assert read(example, body, content_type) == read(example, example.body)


# Placeholders --------------------------------------------------------------------------------------------------------

UNFILLED = "{{strategy.order_id}}"
_VALUE = re.compile(r"(?<==)[^;,&\s]+")
_WORD = re.compile(r"\S+")


def with_placeholder(example: Example) -> Iterator[str]:
    """The example again and again, each time another value of it unfilled; never its credential."""
    text = example.body
    if example.is_json:
        yield from (
            json.dumps(body) for body in _unfilled(json.loads(text), BY_NAME[example.dialect].credential)
        )
        return
    places = [found.span() for found in _VALUE.finditer(text)]
    if example.dialect == "pineconnector":
        commas = [found.start() for found in re.finditer(",", text)]
        places += [(commas[0] + 1, commas[1]), (commas[1] + 1, commas[2])]
    if example.dialect == "whook":
        start = text.find("\n") + 1
        places = [(start + a, start + b) for a, b in (found.span() for found in _WORD.finditer(text[start:]))]
    for start, end in places:
        if example.credential not in text[start:end] or not example.credential:
            yield text[:start] + UNFILLED + text[end:]


def _unfilled(body: dict[str, Any], credential: str | None) -> Iterator[dict[str, Any]]:
    for name, value in body.items():
        if name == credential:
            continue
        if isinstance(value, dict):
            yield from (body | {name: below} for below in _unfilled(value, None))
        yield body | {name: UNFILLED}


@pytest.mark.parametrize(
    ("example", "body"),
    [
        pytest.param(example, body, id=body[:150])
        for example in EXAMPLES
        for body in with_placeholder(example)
    ],
)
def test_a_placeholder_that_was_not_filled_in_is_refused_as_one_wherever_it_is_read(
    example: Example, body: str
) -> None:
    expected = example.recognised().read()
    match outcome(
        body.encode(), pinned=example.dialect if example.options else None, options=example.settled
    ):
        case AdmissionError() as error:
            # The place of an object is none for a placeholder.
            assert (error.status, error.code) == (
                422,
                "unfilled_placeholder",
            ) or error.code == "wrong_type", error
        case content:
            assert content == expected, "it was read as a value"


# Round trip ----------------------------------------------------------------------------------------------------------


def assert_kept(content: AlertContent) -> None:
    """A content must come back from the store as it went in, to the last digit."""
    alert = Alert(
        alert_id=AlertId("a-1"),
        webhook=WebhookName("default"),
        content=content,
        received_at_ms=1,
        accounts=(AccountName("demo"),),
        raw="",
    )
    kept = ALERT.decode(ALERT.encode(alert)).content
    assert kept == content
    assert [str(one) for one in decimals_of(kept)] == [str(one) for one in decimals_of(content)]


def decimals_of(content: AlertContent) -> list[Decimal]:
    levels = [level.value for level in (content.take_profit, content.stop_loss) if level is not None]
    values = [getattr(content, name) for name in content.__struct_fields__]
    return [*levels, *(value for value in values if isinstance(value, Decimal))]


@every_example
def test_a_content_comes_back_from_the_store_as_it_was(example: Example) -> None:
    assert_kept(example.recognised().read())


# Any body ------------------------------------------------------------------------------------------------------------

CONTENT_TYPES: Final = ("", "application/json", "text/plain; charset=utf-8", FORM_TYPE)
PINS: Final = (None, None, None, *BY_NAME)


def settlings(name: str | None) -> list[dict[str, str]]:
    """What a webhook of this dialect may settle, a few of the ways."""
    options = {} if name is None else BY_NAME[name].options
    return [
        {},
        *(
            {key: sorted(values)[place % len(values)] for key, values in options.items()}
            for place in range(5)
        ),
    ]


def documented_codes() -> set[tuple[str, int]]:
    """The codes of refusals that the documentation lists, each with its status."""
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (400|422) \|", DOCUMENTATION.read_text(), re.MULTILINE)
    return {(code, int(status)) for codes, status in rows for code in re.findall(r"\w+", codes)}


DOCUMENTED: Final = documented_codes()


def assert_read_or_refused(
    body: bytes, content_type: str, pinned: str | None, options: Mapping[str, str]
) -> None:
    """A body must be a document or refused with 400, and a document must be read or refused with 400 or 422."""
    content = outcome(body, content_type, pinned=pinned, options=options)
    if isinstance(content, AdmissionError):
        assert (content.code, content.status) in DOCUMENTED
        assert content.detail
        return
    assert content.dialect in BY_NAME
    assert content.symbol.isascii()
    assert content.symbol.isprintable()
    assert all(number.is_finite() and number >= 0 for number in decimals_of(content))
    assert content.quantity is None or content.quantity > 0
    assert "{{" not in repr(content)
    assert_kept(content)


FRAGMENTS: Final = st.sampled_from(
    [
        *(part for example in EXAMPLES for part in re.findall(r"[^;,\s\"{}:=]+|[;,\s\"{}:=]", example.body)),
        "\n", "//", "|", "&", "{{close}}", "NaN", "1e999", "-0", "0", "%", "$", "x3", "cancel:all", "limit::1", "null",
        '"', "\\ud800", "\x00", "é",
    ]
)  # fmt: skip
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(["buy", "1", "{{x}}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS: Final = sorted({key for example in EXAMPLES if example.is_json for key in json.loads(example.body)})
BODIES = (
    st.binary(max_size=200)
    | st.lists(FRAGMENTS, max_size=40).map(lambda parts: "".join(parts).encode())
    | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), JSON, max_size=12).map(
        lambda one: json.dumps(one).encode()
    )
)


@settings(deadline=None)
@given(
    body=BODIES,
    content_type=st.sampled_from(CONTENT_TYPES),
    pinned=st.sampled_from(PINS),
    place=st.integers(0, 5),
)
def test_any_bytes_are_read_or_refused(
    body: bytes, content_type: str, pinned: str | None, place: int
) -> None:
    assert_read_or_refused(body, content_type, pinned, settlings(pinned)[place])


@every_example
@settings(deadline=None)
@given(data=st.data())
def test_any_values_in_an_examples_fields_are_read_or_refused(example: Example, data: st.DataObject) -> None:
    if example.is_json:
        body = json.loads(example.body)
        body |= data.draw(st.dictionaries(st.sampled_from(sorted(body)), JSON, min_size=1, max_size=3))
        raw = json.dumps(body).encode()
    else:
        values = st.text(max_size=12) | FRAGMENTS
        raw = _VALUE.sub(lambda found: data.draw(values | st.just(found[0])), example.body).encode(
            "utf-8", "replace"
        )
    for options in settlings(example.dialect)[:2]:
        assert_read_or_refused(raw, "", example.dialect, options)
    assert_read_or_refused(raw, "", None, NOTHING_SETTLED)


TOKENS: Final = tuple(
    one.encode()
    for one in (
        "{{close}}", "NaN", "Infinity", "1e999", "1e30", "-1", "0", "-0.0", "", " ", "null", "true", "[]", "{}", '""', '"', "\\",
        "\\u0000", "\\ud800", "9" * 50, "0." + "0" * 40 + "1", "x" * 300, "\n", "\r\n", ";", ",", "=", "&", "|", "//", "%", "%7B",
        "$", "@", "x3", "0x10", "1_000", "1,5", "buy", "sell", "flat", "close", "cancel:all", "limit:a:", "60s", "\ufeff", "é",
        "\u2028", "٣", "﹪", "secret=", "{", "}", "[" * 2000,
    )
)  # fmt: skip


VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 0.5, "1", "2.50", "-3", "buy", "SELL", "long", "flat", "short", "limit", "percent", "close_all",
    "2026-11-03T09:15:00Z", 1_793_697_300, [], {}, [{"amount": 100, "takeProfitPercent": "2"}], {"value": 1}, {"percent": 2},
)  # fmt: skip
FIELDS: Final = tuple(
    (name, value)
    for example in EXAMPLES
    if example.is_json
    for name, value in json.loads(example.body).items()
)


def with_other_fields(example: Example, chance: random.Random) -> bytes:
    """An example whose fields have other values, of other examples too, or stand there no more."""
    body = json.loads(example.body)
    for _ in range(chance.randint(1, 3)):
        at = chance.choice([body, *(below for below in body.values() if isinstance(below, dict))])
        name = chance.choice([*at, "x"])
        match chance.randint(0, 4):
            case 0:
                at.pop(name, None)
            case 1:
                at |= deepcopy(dict([chance.choice(FIELDS)]))
            case 2:
                at[name] = chance.choice(TOKENS).decode()
            case _:
                at[name] = deepcopy(chance.choice(VALUES))
    return json.dumps(body, ensure_ascii=chance.random() < 0.5).encode()


def with_other_words(example: Example, chance: random.Random) -> bytes:
    """An example whose words are others, of other examples too, in another order, or stand there no more."""
    words = re.split(r"([;,=\s]+)", example.body)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(words))
        match chance.randint(0, 5):
            case 0:
                words[place] = ""
            case 1:
                other = chance.randrange(len(words))
                words[place], words[other] = words[other], words[place]
            case 2:
                words[place] = chance.choice(TOKENS).decode()
            case 3:
                words.insert(place, chance.choice((";", ",", "=", " ", "\n", "&", "|")))
            case 4:
                words[place] = str(chance.choice(VALUES))
            case _:
                more = chance.choice(EXAMPLES).body
                words[place] = chance.choice(re.split(r"[;,=\s]+", more))
    return "".join(words).encode()


def damaged(example: Example, chance: random.Random) -> bytes:
    """An example with a few bytes gone, doubled or replaced, or grown into another."""
    body = bytearray(example.body.encode())
    for _ in range(chance.randint(1, 3)):
        start = chance.randint(0, len(body))
        end = min(len(body), start + chance.choice((0, 1, 1, 2, 5, 20)))
        match chance.randint(0, 5):
            case 0:
                del body[start:end]
            case 1:
                body[start:end] = chance.choice(TOKENS)
            case 2:
                body[start:start] = body[start:end]
            case 3:
                other = chance.choice(EXAMPLES).body.encode()
                body[start:] = other[chance.randint(0, len(other)) :]
            case 4:
                body[start:end] = chance.randbytes(end - start)
            case _:
                body[start:end] = bytes(byte ^ (1 << chance.randint(0, 6)) for byte in body[start:end])
    return bytes(body)


def assert_mutations_are_read_or_refused(count: int, seed: int) -> None:
    chance = random.Random(seed)
    for number in range(count):
        example = chance.choice(EXAMPLES)
        change = with_other_fields if example.is_json else with_other_words
        body = chance.choice((change, change, change, damaged))(example, chance)
        pinned = chance.choice((None, None, example.dialect, chance.choice(tuple(BY_NAME))))
        content_type, options = chance.choice(CONTENT_TYPES), chance.choice(settlings(pinned))
        try:
            assert_read_or_refused(body, content_type, pinned, options)
        except Exception as error:
            error.add_note(
                f"seed {seed}, body {number}: {body!r} as {content_type!r} for {pinned} with {options}"
            )
            raise


def test_damaged_examples_are_read_or_refused() -> None:
    assert_mutations_are_read_or_refused(3_000, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", range(10, 20))
def test_very_many_damaged_examples_are_read_or_refused(seed: int) -> None:
    assert_mutations_are_read_or_refused(25_000, seed)
