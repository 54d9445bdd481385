import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.policy.sessions import Sessions


def is_open(entries: list[str], at: str) -> bool:
    return Sessions.parse(entries).is_open(int(dt.datetime.fromisoformat(at).timestamp() * 1000))


NEW_YORK = ["Mon-Fri 09:30-16:00 America/New_York"]


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-20T14:29:59.999Z", False),
        ("2026-11-20T14:30Z", True),
        ("2026-11-20T20:59:59.999Z", True),
        ("2026-11-20T21:00Z", False),
        ("2026-11-21T15:00Z", False),  # a Saturday
        # The clocks of New York and of UTC drift apart by an hour twice a year: 8 March and 1 November 2026.
        ("2026-03-06T13:45Z", False),
        ("2026-03-09T13:45Z", True),
        ("2026-10-30T13:45Z", True),
        ("2026-11-02T13:45Z", False),
    ],
)
def test_hours_are_those_of_the_markets_own_clock(at: str, expected: bool) -> None:
    assert is_open(NEW_YORK, at) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-22T22:59Z", False),  # Sunday, before 17:00 in Chicago
        ("2026-11-22T23:00Z", True),
        ("2026-11-23T21:59Z", True),  # Monday, until 16:00
        ("2026-11-23T22:30Z", False),
        ("2026-11-23T23:00Z", True),
        ("2026-11-27T21:59Z", True),  # Friday's end belongs to Thursday's session
        ("2026-11-27T23:30Z", False),
    ],
)
def test_hours_past_midnight_belong_to_the_day_they_begin_on(at: str, expected: bool) -> None:
    assert is_open(["Sun-Thu 17:00-16:00 America/Chicago"], at) is expected


def test_days_that_are_left_out_are_closed() -> None:
    entries = ["Mon-Fri 08:00-17:00 UTC except 2026-12-24, 2026-12-25"]
    assert not is_open(entries, "2026-12-24T12:00Z")
    assert is_open(entries, "2026-12-23T12:00Z")


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-25T20:00Z", True),
        ("2026-11-26T16:00Z", False),  # Thanksgiving
        ("2026-11-27T17:59Z", True),  # until 13:00
        ("2026-11-27T18:00Z", False),
        ("2027-12-24T16:00Z", False),
    ],
)
def test_the_table_of_new_york_knows_its_holidays(at: str, expected: bool) -> None:
    assert is_open(["nyse"], at) is expected


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-20T21:59Z", True),
        ("2026-11-20T22:00Z", False),
        ("2026-11-22T21:59Z", False),
        ("2026-11-22T22:00Z", True),
        ("2026-11-24T03:00Z", True),
    ],
)
def test_currencies_trade_from_sunday_to_friday_evening(at: str, expected: bool) -> None:
    assert is_open(["Forex"], at) is expected


@given(st.integers(0, 4_000_000_000_000))
def test_always_is_always(at_ms: int) -> None:
    assert Sessions.parse(["always"]).is_open(at_ms)


def test_one_of_several_sessions_is_enough() -> None:
    entries = ["Mon 08:00-09:00 UTC", "Mon,Wed 12:00-24:00 UTC"]
    assert is_open(entries, "2026-11-23T08:30Z")
    assert is_open(entries, "2026-11-25T23:59Z")
    assert not is_open(entries, "2026-11-23T10:00Z")


@pytest.mark.parametrize(
    ("entry", "remark"),
    [
        ("", "Mon-Fri 09:30"),
        ("lse", "always, forex, nyse"),
        ("Mon-Fri 09:30-16:00", "Mon-Fri 09:30"),
        ("Mon-Fry 09:30-16:00 UTC", "the days are"),
        ("Mon 09:60-16:00 UTC", "00:00 to 24:00"),
        ("Mon 09:30-25:00 UTC", "00:00 to 24:00"),
        ("Mon 09:30-09:30 UTC", "last some time"),
        ("Mon 24:00-08:00 UTC", "before 24:00"),
        ("Mon 09:30-16:00 Europe/Atlantis", "no time zone Europe/Atlantis"),
        ("Mon 09:30-16:00 ../etc/passwd", "Mon-Fri 09:30"),
        ("Mon 09:30-16:00 UTC except 2026-13-01", "2026-12-25"),
    ],
)
def test_an_entry_that_cannot_be_read_says_what_was_expected(entry: str, remark: str) -> None:
    with pytest.raises(ValueError, match=remark):
        Sessions.parse([entry])
