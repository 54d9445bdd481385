import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.runtime.durations import (
    UNIT_MS,
    DurationMs,
    DurationOrZeroMs,
    Rate,
    format_duration,
)


@pytest.mark.parametrize(
    ("text", "value_ms"),
    [
        ("1ms", 1),
        ("500ms", 500),
        ("2s", 2_000),
        ("1.5s", 1_500),
        ("1.001s", 1_001),
        ("0.29s", 290),
        ("30min", 1_800_000),
        ("24h", 86_400_000),
        ("7d", 604_800_000),
    ],
)
def test_a_duration_is_milliseconds(text, value_ms):
    assert DurationMs.parse(text) == value_ms


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        2,
        2.0,
        None,
        True,
        "s",
        "2 sec",
        "2m",
        "-2s",
        "2S",
        "0s",
        "0.0001s",
        "4000d",
        "٢s",
        "2s\n",
        "1e3s",
        ["2s"],
    ],
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="duration"):
        DurationMs.parse(text)


def test_zero_is_a_duration_only_where_it_makes_sense():
    assert DurationOrZeroMs.parse("0s") == 0
    with pytest.raises(ValueError, match="at least 1ms"):
        DurationMs.parse("0ms")


@pytest.mark.parametrize(
    ("text", "rate", "interval_us"),
    [
        ("5/s", Rate(5, 1_000), 200_000),
        ("30/min", Rate(30, 60_000), 2_000_000),
        ("1/10s", Rate(1, 10_000), 10_000_000),
        ("3 / s", Rate(3, 1_000), 333_333),
        ("999999999/s", Rate(999_999_999, 1_000), 1),
    ],
)
def test_a_rate_has_an_interval(text, rate, interval_us):
    assert Rate.parse(text) == rate
    assert Rate.parse(text).interval_us == interval_us


@pytest.mark.parametrize(
    "text", ["", "5", 5, None, "0/s", "5/0s", "-1/s", "5/sec", "5/s/s", "1.5/s", "Off", False, "5 s"]
)
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="rate"):
        Rate.parse(text)


def test_a_rate_does_not_change_and_can_be_a_key():
    rate = Rate(5, 1_000)
    with pytest.raises(AttributeError):
        rate.count = 6  # type: ignore[misc]
    assert {rate: 1}[Rate(5, 1_000)] == 1
    assert rate != Rate(5, 1_001)


@given(st.integers(1, 10_000), st.sampled_from(sorted(UNIT_MS)))
def test_a_written_duration_reads_as_itself(number, unit):
    value_ms = number * UNIT_MS[unit]
    if value_ms <= 3_650 * UNIT_MS["d"]:
        assert DurationMs.parse(format_duration(value_ms)) == value_ms


def test_off_is_a_rate_that_limits_nothing():
    assert Rate.parse("off") is Rate.OFF
    assert Rate.OFF.is_off
    assert not Rate(1, 1_000).is_off


@given(st.integers(1, 10**9 - 1), st.integers(1, 100), st.sampled_from(sorted(UNIT_MS)))
def test_a_written_rate_reads_as_itself(count, number, unit):
    assert Rate.parse(f"{count}/{number}{unit}") == Rate(count, number * UNIT_MS[unit])


@given(st.integers(0, 10**9))
def test_every_whole_millisecond_can_be_written_in_seconds(value_ms):
    assert DurationOrZeroMs.parse(f"{value_ms // 1_000}.{value_ms % 1_000:03}s") == value_ms


def test_no_time_is_written_with_a_unit():
    assert format_duration(0) == "0s"
