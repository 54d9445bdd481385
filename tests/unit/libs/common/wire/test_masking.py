import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from libs.common.wire.masking import EXCERPT_BYTES, Masker

SECRET = "demo-secret-01"

SECRETS = st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=4, max_size=20)
VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def test_the_secret_is_replaced_and_nothing_else() -> None:
    raw = '{"secret": "demo-secret-01",  "id": "a", "price": 1.50}'
    assert Masker([SECRET]).mask_json(raw) == '{"secret": "***",  "id": "a", "price": 1.50}'


def test_every_occurrence_goes_whatever_the_field() -> None:
    raw = '{"secret":"demo-secret-01","comment":"my secret is demo-secret-01!"}'
    assert SECRET not in Masker([SECRET]).mask_json(raw)


@pytest.mark.parametrize(
    "raw",
    [
        '{"secret":"\\u0064emo-secret-01","price":1.50}',
        '{"secret":"demo\\u002Dsecret-01","price":1.50}',
        '{"secret":"x","secret":"\\u0064emo-secret-01","price":1.50}',
        '{"\\u0064emo-secret-01":1,"price":1.50}',
    ],
)
def test_escapes_do_not_hide_a_secret(raw: str) -> None:
    masked = Masker([SECRET]).mask_json(raw)
    assert "***" in masked
    assert SECRET not in json.dumps(json.loads(masked))
    assert "1.50" in masked


def test_a_secret_that_json_must_escape_is_found_in_both_forms() -> None:
    secret = 'pass"word\\1'
    masker = Masker([secret])
    assert masker.mask_json(json.dumps({"secret": secret})) == '{"secret": "***"}'
    assert masker.mask_text(f"got {secret}") == "got ***"


def test_of_two_secrets_that_overlap_the_longer_one_goes_first() -> None:
    assert Masker(["secret", "secret-2"]).mask_text("secret-2 secret") == "*** ***"


@pytest.mark.parametrize("secret", ["e", "name", "null", ",", '"', "1", "\\"])
def test_a_secret_that_is_a_part_of_anything_leaves_a_document_its_form(secret: str) -> None:
    document = {"name": [{"e": secret, "count": 1}, None, True, [1.5, f"<{secret}>"]]}
    masked = {"name": [{"e": "***", "count": 1}, None, True, [1.5, "<***>"]]}
    assert Masker([secret]).mask_values(document) == masked


def test_an_empty_secret_masks_nothing() -> None:
    assert Masker([""]).mask_text("text") == "text"


@given(SECRETS, VALUES, st.booleans())
def test_no_secret_is_left_in_any_document(secret: str, value: Any, is_ascii: bool) -> None:
    # Four such digits are a part of an escape by chance; what is left of it then is no JSON.
    assume(not set(secret) <= set("0123456789abcdefABCDEF"))
    document = {"secret": secret, "value": value, "both": f"<{secret}>"}
    masked = Masker([secret]).mask_json(json.dumps(document, ensure_ascii=is_ascii))
    left: list[str] = []

    def collect(value: Any) -> None:
        match value:
            case str():
                left.append(value)
            case list():
                for item in value:
                    collect(item)
            case dict():
                for key, item in value.items():
                    collect(key)
                    collect(item)

    collect(json.loads(masked, strict=False))
    assert not any(secret in text for text in left if secret not in {"secret", "value", "both"})


@given(SECRETS, st.binary(max_size=40), st.binary(max_size=40), st.integers(0, 20))
def test_no_secret_is_left_in_what_is_kept_of_any_bytes(
    secret: str, before: bytes, after: bytes, times: int
) -> None:
    excerpt = Masker([secret]).excerpt(before + secret.encode() * times + after)
    if times:
        assert secret not in excerpt.partition("] ")[2]


def test_a_broken_body_does_not_hide_an_escaped_secret() -> None:
    excerpt = Masker([SECRET]).excerpt(b'{"x: "a, "secret": "\\u0064emo-secret-01"')
    assert "***" in excerpt
    assert "emo-secret" not in excerpt


def test_a_secret_is_not_cut_in_two_at_the_end_of_the_excerpt() -> None:
    for padding in range(EXCERPT_BYTES - len(SECRET) - 2, EXCERPT_BYTES + 2):
        excerpt = Masker([SECRET]).excerpt(b"x" * padding + SECRET.encode() + b"y" * 20)
        assert "demo" not in excerpt


def test_an_excerpt_is_short_and_tells_bodies_apart() -> None:
    one, other = (Masker([]).excerpt(b"x" * 10_000 + end) for end in (b"1", b"2"))
    assert len(one) < EXCERPT_BYTES + 100
    assert one != other


SEPARATED = "p@ss:word, Zürich/9"


@pytest.mark.parametrize(
    "written",
    [
        quote_plus(SEPARATED),
        quote_plus(SEPARATED).lower().replace("z", "Z", 1),
        quote(SEPARATED),
        json.dumps(SEPARATED)[1:-1],
    ],
)
def test_a_secret_is_found_however_a_form_writes_it(written: str) -> None:
    assert Masker([SEPARATED]).mask_json(f"secret={written}&id=a") == "secret=***&id=a"


@pytest.mark.parametrize(
    "body",
    [
        f'{{"note":"5" wide","secret":"{SEPARATED}","id":',
        f"key={SEPARATED}; action SELL",
        f"TOKEN = {SEPARATED}\nSIGNAL",
        f'{{\\"passphrase\\": "{SEPARATED}"',
        f"apiKey: {SEPARATED}",
    ],
)
def test_of_a_body_that_cannot_be_read_the_usual_places_of_secrets_are_blanked(body: str) -> None:
    assert "word" not in Masker([]).excerpt(body.encode())


@pytest.mark.parametrize("mask", [Masker([SECRET]).mask_text, Masker([SECRET]).mask_json])
def test_an_escaped_secret_is_found_outside_of_json_too(mask: Callable[[str], str]) -> None:
    masked = mask("a,buy,demo-secret-0\\u0031,x")
    assert masked == "a,buy,***,x"
