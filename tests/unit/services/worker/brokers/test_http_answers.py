from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import LookUpUnavailable
from services.worker.brokers.http_answers import (
    Answer,
    UnusableError,
    asked,
    decode,
    number,
    number_or_none,
)


class Figure(msgspec.Struct):
    figure: Decimal | None = None


FIGURE = msgspec.json.Decoder(Figure)


@given(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30), st.booleans()
)
def test_a_number_is_exact_as_a_string_and_as_a_number(value: Decimal, is_text: bool) -> None:
    text = format(value, "f")
    written = f'"{text}"' if is_text else text
    content = decode(Answer(200, {}, f'{{"figure":{written}}}'.encode()), FIGURE)
    assert content.figure is not None
    assert content.figure.as_tuple() == Decimal(text).as_tuple()


@pytest.mark.parametrize("text", ["0", "-0.0", "1E-8", "1E+63", "9" * 64, f"0.{'0' * 63}1"])
def test_numbers_of_any_sensible_size_pass(text: str) -> None:
    assert number("figure", Decimal(text)) == Decimal(text)
    assert number_or_none("figure", Decimal(text)) == Decimal(text)


@pytest.mark.parametrize(
    "text", ["NaN", "sNaN", "Infinity", "-Infinity", "1E999999", "1E+64", "1E-65", "9" * 65]
)
def test_a_number_that_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(UnusableError, match="figure"):
        number("figure", Decimal(text))
    with pytest.raises(UnusableError, match="figure"):
        number_or_none("figure", Decimal(text))


def test_a_number_that_may_be_missing_is_none_and_one_that_must_not_be_is_refused() -> None:
    assert number_or_none("figure", None) is None
    with pytest.raises(UnusableError, match="figure is missing"):
        number("figure", None)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b'{"figure":"x"}', b'{"figure":NaN}', b'{"figure":', b"\xff"]
)
def test_a_body_of_another_shape_is_no_answer_to_a_question(body: bytes) -> None:
    with pytest.raises(LookUpUnavailable, match="no usable price"):
        asked(Answer(200, {}, body), FIGURE, "price")


@pytest.mark.parametrize("status", [201, 202, 204, 301, 401, 404, 429, 500, 503])
def test_only_a_200_answers_a_question(status: int) -> None:
    with pytest.raises(LookUpUnavailable, match=str(status)):
        asked(Answer(status, {}, b'{"figure":"1"}'), FIGURE, "price")
