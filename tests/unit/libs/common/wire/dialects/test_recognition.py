"""Every dialect is recognised, under names of its own, and comes back from the store as it was."""

import json
import re
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME, DIALECTS
from libs.common.wire.dialects.dialect import PLACEHOLDER
from libs.common.wire.dialects.recognition import recognise
from tests.support.dialect_bodies import SECRET, filled, rendered
from tests.unit.libs.common.wire.dialects.recognition_examples import (
    DOCUMENTATION,
    EXAMPLES,
    MESSAGES,
    Example,
    assert_kept,
    every_example,
    outcome,
)


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


# Round trip ----------------------------------------------------------------------------------------------------------


@every_example
def test_a_content_comes_back_from_the_store_as_it_was(example: Example) -> None:
    assert_kept(example.recognised().read())
