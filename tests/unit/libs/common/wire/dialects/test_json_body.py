"""What the dialects' own tests do not say of reading JSON."""

import msgspec
import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.json_body import fields_of, first_repeated, kind_of, text_of


@pytest.mark.parametrize(
    "body", [b'{"a":1}', b'\xef\xbb\xbf{"a":1}', b' \n{"a":1}=', b'\xef\xbb\xbf \n{"a":1}= \n']
)
def test_what_senders_put_around_an_object_is_taken_off(body: bytes) -> None:
    assert fields_of(body) == {"a": msgspec.Raw(b"1")}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "not_json"),
        (b"=", "not_json"),
        (b"\xef\xbb\xbf", "not_json"),
        (b'{"a":1}==', "not_json"),
        (b"[1]", "not_an_object"),
        (b'"a"', "not_an_object"),
        (b"1", "not_an_object"),
    ],
)
def test_what_is_no_object_is_refused_at_once(body: bytes, code: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        fields_of(body)
    assert (caught.value.status, caught.value.code) == (400, code)


@pytest.mark.parametrize("body", [b'{"a":' + b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000])
def test_no_depth_of_nesting_ends_the_process(body: bytes) -> None:
    with pytest.raises(AdmissionError) as caught:
        fields_of(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("body", "repeated"),
    [
        (b"{}", None),
        (b'{"a":1,"b":1}', None),
        (b'{"a":{"a":1}}', None),
        (b'{"a":1,"b":2,"a":1}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"a":' + b"9" * 5_000 + b',"a":1}', "a"),
    ],
)
def test_a_key_that_is_given_twice_is_found_however_it_is_written(body: bytes, repeated: str | None) -> None:
    assert first_repeated(body) == repeated


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [(b"1", 422, "wrong_type"), (b"null", 422, "wrong_type"), (b'"\\x"', 400, "not_json")],
)
def test_what_is_no_text_is_refused(raw: bytes, status: int, code: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        text_of(msgspec.Raw(raw), "x")
    assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        (b"{}", "an object"),
        (b"[]", "a list"),
        (b'""', "a string"),
        (b"true", "true"),
        (b"false", "false"),
        (b"null", "null"),
        (b"-1", "a number"),
    ],
)
def test_every_kind_of_value_has_a_name(written: bytes, kind: str) -> None:
    assert kind_of(written) == kind
