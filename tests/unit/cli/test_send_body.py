import json
from urllib.parse import unquote_plus

import pytest

from cli.send_body import FORM_TYPE, JSON_TYPE, TEXT_TYPE, Form, Wanted, content_type_of, needs_secret, posts
from libs.common.wire.dialects.catalogue import DIALECTS
from libs.common.wire.signing import is_signed

SECRET = "Sekret4711"
KEY = "the key"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"a": 1}', JSON_TYPE),
        (b"[]", JSON_TYPE),
        (b"1", JSON_TYPE),
        (b'{"a": {{close}}}', TEXT_TYPE),
        (b'{"a": 1,}', TEXT_TYPE),
        (b"BTCUSDT buy 1", TEXT_TYPE),
        (b"", TEXT_TYPE),
        (b"\xff\xfe", TEXT_TYPE),
    ],
)
def test_the_content_type_is_the_one_that_tradingview_chooses(body: bytes, expected: str) -> None:
    assert content_type_of(body) == expected


def test_a_plain_sample_has_what_was_given_and_a_fresh_id_each() -> None:
    first, second = posts(Wanted(symbol="ETHUSDT", quantity="abc"), Form(), SECRET, 2)

    body = json.loads(first.content)
    assert body.pop("id") == first.sender_id != second.sender_id
    assert body == {"secret": SECRET, "symbol": "ETHUSDT", "action": "buy", "quantity": "abc"}
    assert first.headers == {"content-type": JSON_TYPE}


def test_a_given_id_is_every_posts() -> None:
    assert [one.sender_id for one in posts(Wanted(sender_id="mine"), Form(), SECRET, 2)] == ["mine", "mine"]


@pytest.mark.parametrize("content_type", [None, TEXT_TYPE, FORM_TYPE])
@pytest.mark.parametrize("body", [b'{"a": "b c+d"}', b"\xff", b""])
def test_the_signature_is_over_the_very_bytes_that_are_posted(body: bytes, content_type: str | None) -> None:
    [post] = posts(Wanted(body=body), Form(content_type, KEY), "", 1)

    assert is_signed(KEY, post.content, post.headers["X-Signature"])
    assert not is_signed("another key", post.content, post.headers["X-Signature"])


def test_a_form_holds_the_body_as_its_only_key() -> None:
    [post] = posts(Wanted(body=b'{"a": "b c+d%"}'), Form(FORM_TYPE), "", 1)

    assert post.headers["content-type"] == FORM_TYPE
    assert unquote_plus(post.content.decode().removesuffix("=")) == '{"a": "b c+d%"}'


@pytest.mark.parametrize("dialect", [one.name for one in DIALECTS])
def test_a_secret_is_needed_but_where_a_signature_or_the_token_stands_for_it(dialect: str) -> None:
    wanted = Wanted(dialect=dialect)
    has_place = next(one.credential for one in DIALECTS if one.name == dialect) is not None

    assert needs_secret(wanted, has_token=False, is_signed=False)
    assert not needs_secret(wanted, has_token=False, is_signed=True)
    assert needs_secret(wanted, has_token=True, is_signed=False) is has_place


def test_a_file_needs_no_secret() -> None:
    assert not needs_secret(Wanted(body=b"{}"), has_token=False, is_signed=False)
