"""What the dialects' own tests do not say of single values."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.domain.errors import AdmissionError
from libs.common.wire.dialects.values import interval_ms, number_from, refuse_placeholder, time_from


@pytest.mark.parametrize(
    ("text", "written"),
    [("007", "7"), ("+1", "1"), (".5", "0.5"), ("5.", "5"), ("1E+3", "1000"), ("1e-3", "0.001"), (" 2.50 ", "2.50")],
)  # fmt: skip
def test_a_number_comes_out_in_plain_digits(text: str, written: str) -> None:
    assert f"{number_from(text, 'x')}" == written


@given(st.decimals(min_value="1e-20", max_value="1e19", places=20))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    text = f"{number:f}"
    assert f"{number_from(text, 'x'):f}" == text


@pytest.mark.parametrize("text", ["٣", "1_000", "0x10", "1,5", "--1", "1e", "∞", ""])
def test_what_other_readers_take_for_a_number_is_none(text: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        number_from(text, "x")
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "invalid_number", "x")


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1793697301", 1_793_697_301_000),
        ("1793697301.5", 1_793_697_301_500),
        ("1793697301000", 1_793_697_301_000),
        ("2026-11-03T09:15:01Z", 1_793_697_301_000),
        ("2026-11-03T09:15:01", 1_793_697_301_000),
        ("2026-11-03T11:15:01.250+02:00", 1_793_697_301_250),
        ("2026-11-03", 1_793_664_000_000),
    ],
)
def test_a_time_is_read_in_any_of_its_forms(text: str, at_ms: int) -> None:
    assert time_from(text, "x") == at_ms


@pytest.mark.parametrize(
    "text", ["", "now", "12", "1969-12-31T23:59:59Z", "2026-13-01", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_time_since_1970_is_refused(text: str) -> None:
    with pytest.raises(AdmissionError) as caught:
        time_from(text, "x")
    assert (caught.value.status, caught.value.code, caught.value.field) == (422, "invalid_time", "x")


@pytest.mark.parametrize(
    ("text", "length_ms"),
    [("15", 900_000), ("1S", 1_000), ("45s", 45_000), ("5m", 300_000), ("4h", 14_400_000), ("D", 86_400_000), ("1W", 604_800_000)],
)  # fmt: skip
def test_the_length_of_a_bar_is_known(text: str, length_ms: int) -> None:
    assert interval_ms(text) == length_ms


@pytest.mark.parametrize("text", ["", "1M", "M", "0", "chart", "1 fortnight", "999999", "-5"])
def test_what_has_no_fixed_length_has_none(text: str) -> None:
    assert interval_ms(text) is None


def test_a_placeholder_that_was_not_filled_in_is_told_by_its_braces() -> None:
    refuse_placeholder("{close}", "x")
    with pytest.raises(AdmissionError) as caught:
        refuse_placeholder("a{{close}}", "x")
    assert (caught.value.code, caught.value.field) == ("unfilled_placeholder", "x")
