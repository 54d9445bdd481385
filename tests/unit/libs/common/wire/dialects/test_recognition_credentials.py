"""Recognition does not depend on what a credential looks like."""

import json
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import FORM_TYPE, recognise
from tests.unit.libs.common.wire.dialects.recognition_examples import EXAMPLES, Example, with_credential

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
