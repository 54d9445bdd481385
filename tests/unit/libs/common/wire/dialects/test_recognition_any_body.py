"""Whatever comes is read, or refused as documented."""

import json
import random
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.catalogue import BY_NAME
from libs.common.wire.dialects.recognition import FORM_TYPE
from tests.unit.libs.common.wire.dialects.recognition_examples import (
    DOCUMENTATION,
    EXAMPLES,
    NOTHING_SETTLED,
    VALUE,
    Example,
    assert_kept,
    decimals_of,
    every_example,
    outcome,
)

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
        raw = VALUE.sub(lambda found: data.draw(values | st.just(found[0])), example.body).encode(
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
