import json
from decimal import Decimal
from typing import Any

import pytest

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.fields import Fields

ABSENT: dict[str, Any] = {}
NULL = {"x": None}
EMPTY = {"x": ""}
BLANK = {"x": " \t"}


def of(values: dict[str, Any]) -> Fields:
    return Fields.of_json(json.dumps(values).encode())


def refused(read: Any) -> AdmissionError:
    with pytest.raises(AdmissionError) as caught:
        read()
    assert caught.value.status == 422
    return caught.value


@pytest.mark.parametrize("values", [ABSENT, NULL, EMPTY, BLANK])
def test_no_value_null_and_an_empty_text_are_the_same(values: dict[str, Any]) -> None:
    fields = of(values)
    assert fields.text("x") is None
    assert fields.choice("x", {"a": 1}) is None
    assert fields.time("x") is None
    assert fields.flag("x") is None
    assert fields.section("x") is None
    assert fields.sections("x") == ()
    assert fields.optional_number("x") is None
    fields.refuse_if_given("x", "send it without")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_of_another_form_is_none_either(text: str) -> None:
    fields = Fields.of_pairs([("x", text)])
    assert fields.text("x") is None
    assert fields.section("x") is None
    assert fields.sections("x") == ()
    assert fields.optional_number("x") is None
    fields.refuse_if_given("x", "send it without")


@pytest.mark.parametrize("fields", [of(EMPTY), of(BLANK), Fields.of_pairs([("x", "")])])
def test_an_empty_text_is_a_value_that_is_no_number(fields: Fields) -> None:
    assert fields.given("x")
    assert fields.one_of("x", "y") == "x"
    assert refused(lambda: fields.number("x")).code == "invalid_number"


@pytest.mark.parametrize("values", [ABSENT, NULL])
def test_null_is_no_value(values: dict[str, Any]) -> None:
    assert not of(values).given("x")
    assert of(values).number("x") is None


def test_the_word_null_is_a_text_like_any_other() -> None:
    assert of({"x": "null"}).text("x") == "null"
    assert Fields.of_pairs([("x", "null")]).given("x")
    assert refused(lambda: of({"x": "null"}).refuse_if_given("x", "send it without")).field == "x"


@pytest.mark.parametrize("value", [False, "false", "False"])
def test_false_says_that_a_thing_is_not_wanted(value: Any) -> None:
    of({"x": value}).refuse_if_given("x", "send it without")


@pytest.mark.parametrize("value", [True, 0, 1, "a", "0", {}, []])
def test_a_field_that_says_what_cannot_be_done_is_refused_with_what_to_send(value: Any) -> None:
    error = refused(lambda: of({"x": value}).refuse_if_given("x", "send it without", code="contradiction"))
    assert (error.code, error.field) == ("contradiction", "x")
    assert error.detail == '"x" cannot be followed: send it without'


def test_what_is_unsupported_is_named_with_the_object_that_it_stands_in() -> None:
    below = of({"a": {"x": 1}}).section("a")
    assert below is not None
    error = below.unsupported("x", "send it without")
    assert (error.status, error.code, error.field) == (422, "not_supported", "a.x")
    assert error.detail == '"a.x" cannot be followed: send it without'


@pytest.mark.parametrize(
    ("value", "number"), [(0, None), ("0", None), ("-0.0", None), ("1.50", Decimal("1.50")), (2, Decimal(2))]
)
def test_an_optional_number_of_0_is_none(value: Any, number: Decimal | None) -> None:
    found = of({"x": value}).optional_number("x")
    assert str(found) == str(number)


@pytest.mark.parametrize("value", [-1, "x", "{{close}}", "NaN", True])
def test_an_optional_number_is_one_if_it_stands_there(value: Any) -> None:
    assert refused(lambda: of({"x": value}).optional_number("x")).field == "x"


@pytest.mark.parametrize("value", ["text", 1, True, [], [1]])
def test_a_section_is_an_object(value: Any) -> None:
    error = refused(lambda: of({"x": value}).section("x"))
    assert (error.code, error.field) == ("wrong_type", "x")


@pytest.mark.parametrize("value", ["text", 1, {}, [1], ["a"]])
def test_sections_are_a_list_of_objects(value: Any) -> None:
    error = refused(lambda: of({"x": value}).sections("x"))
    assert (error.code, error.field) == ("wrong_type", "x")


def test_a_repeated_name_is_refused_wherever_it_stands() -> None:
    inside = Fields.of_json(b'{"x": [{"a": 1, "a": 2}]}')
    assert refused(lambda: inside.sections("x")).field == "x[0].a"
    pairs = Fields.of_pairs([("a", "1"), ("a", "1")])
    assert refused(pairs.refuse_repeated).code == "repeated_field"


def test_what_a_webhook_settles_is_known_below_too() -> None:
    below = of({"x": {"a": 1}}).settled({"risk": "units"}).section("x")
    assert below is not None
    assert below.option("risk") == "units"
    assert below.option("stops") is None


@pytest.mark.parametrize(
    ("value", "text"), [("a", "a"), (60123, "60123"), (None, ""), (True, ""), ([1], ""), ({"a": 1}, "")]
)
def test_a_peek_refuses_nothing(value: Any, text: str) -> None:
    assert of({"x": value}).peek("x") == text


@pytest.mark.parametrize("symbol", ["BYBIT:", ":BTCUSDT", ":", "BYBIT: "])
def test_a_symbol_has_a_name_on_both_sides_of_its_colon(symbol: str) -> None:
    error = refused(lambda: of({"x": symbol}).symbol("x"))
    assert (error.code, error.field) == ("invalid_symbol", "x")
    assert "expected EXCHANGE:SYMBOL" in error.detail


@pytest.mark.parametrize("symbol", ["BYBIT:BTCUSDT", "BTC/USDT:USDT"])
def test_a_colon_between_names_is_part_of_a_symbol(symbol: str) -> None:
    assert of({"x": symbol}).symbol("x") == symbol
