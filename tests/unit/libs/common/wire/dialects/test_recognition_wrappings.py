"""Recognition does not depend on how a body is wrapped, and finds what was not filled in."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus, urlencode

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import FORM_TYPE
from tests.unit.libs.common.wire.dialects.recognition_examples import (
    EXAMPLES,
    VALUE,
    WORD,
    Example,
    outcome,
    read,
)

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


def with_placeholder(example: Example) -> Iterator[str]:
    """The example again and again, each time another value of it unfilled; never its credential."""
    text = example.body
    if example.is_json:
        yield from (
            json.dumps(body) for body in _unfilled(json.loads(text), BY_NAME[example.dialect].credential)
        )
        return
    places = [found.span() for found in VALUE.finditer(text)]
    if example.dialect == "pineconnector":
        commas = [found.start() for found in re.finditer(",", text)]
        places += [(commas[0] + 1, commas[1]), (commas[1] + 1, commas[2])]
    if example.dialect == "whook":
        start = text.find("\n") + 1
        places = [(start + a, start + b) for a, b in (found.span() for found in WORD.finditer(text[start:]))]
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
