import datetime as dt

import pytest

from libs.common.policy.holidays import easter, nyse_closed, nyse_early

CLOSED = {
    2024: "01-01 01-15 02-19 03-29 05-27 06-19 07-04 09-02 11-28 12-25",
    2025: "01-01 01-20 02-17 04-18 05-26 06-19 07-04 09-01 11-27 12-25",
    2026: "01-01 01-19 02-16 04-03 05-25 06-19 07-03 09-07 11-26 12-25",
    2027: "01-01 01-18 02-15 03-26 05-31 06-18 07-05 09-06 11-25 12-24",
    2028: "01-17 02-21 04-14 05-29 06-19 07-04 09-04 11-23 12-25",
}
EARLY = {
    2024: "07-03 11-29 12-24",
    2025: "07-03 11-28 12-24",
    2026: "11-27 12-24",
    2027: "11-26",
    2028: "07-03 11-24",
}


def days(year: int, text: str) -> set[dt.date]:
    return {dt.date.fromisoformat(f"{year}-{day}") for day in text.split()}


@pytest.mark.parametrize("year", list(CLOSED))
def test_the_calendar_is_the_one_that_the_exchange_publishes(year: int) -> None:
    assert nyse_closed(year) == days(year, CLOSED[year])
    assert nyse_early(year) == days(year, EARLY[year])


@pytest.mark.parametrize("day", ["2024-03-31", "2025-04-20", "2026-04-05", "2027-03-28", "2038-04-25"])
def test_easter_is_found(day: str) -> None:
    expected = dt.date.fromisoformat(day)
    assert easter(expected.year) == expected
