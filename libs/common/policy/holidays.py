"""The days on which the New York Stock Exchange does not trade, or closes early.

Source: NYSE rule 7.2 and its published calendars, as they hold since 2022. Closings that no rule foresees, such as days
of mourning, are not known here.
"""

import calendar
import datetime as dt
from functools import lru_cache
from typing import Final

EARLY_CLOSE: Final = dt.time(13)
"""On the days of `nyse_early`, New York's time."""

_MONDAY, _THURSDAY, _SATURDAY = 0, 3, 5
_ONE_DAY: Final = dt.timedelta(days=1)


@lru_cache(maxsize=16)
def nyse_closed(year: int) -> frozenset[dt.date]:
    """Return the weekdays of a year on which it does not trade."""
    new_year = dt.date(year, 1, 1)
    days = [
        _nth(year, 1, _MONDAY, 3),  # Martin Luther King
        _nth(year, 2, _MONDAY, 3),  # Washington
        easter(year) - 2 * _ONE_DAY,  # Good Friday
        _last_monday(year, 5),  # Memorial Day
        _observed(dt.date(year, 6, 19)),  # Juneteenth
        _observed(dt.date(year, 7, 4)),  # Independence Day
        _nth(year, 9, _MONDAY, 1),  # Labor Day
        _nth(year, 11, _THURSDAY, 4),  # Thanksgiving
        _observed(dt.date(year, 12, 25)),  # Christmas
    ]
    # On a Saturday it would be observed in the year before, and is not observed at all.
    if new_year.weekday() != _SATURDAY:
        days.append(_observed(new_year))
    return frozenset(days)


@lru_cache(maxsize=16)
def nyse_early(year: int) -> frozenset[dt.date]:
    """Return the days of a year on which it closes at `EARLY_CLOSE`."""
    days = [
        dt.date(year, 7, 3),
        _nth(year, 11, _THURSDAY, 4) + _ONE_DAY,
        dt.date(year, 12, 24),
    ]
    return frozenset(day for day in days if day.weekday() < _SATURDAY and day not in nyse_closed(year))


def easter(year: int) -> dt.date:
    """Return Easter Sunday, by the Gregorian calendar.

    Source:
        The anonymous algorithm of 1876, after Meeus, "Astronomical Algorithms", chapter 8.
    """
    golden, (century, of_century) = year % 19, divmod(year, 100)
    leaps, rest = divmod(century, 4)
    moon = (19 * golden + century - leaps - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * rest + 2 * (of_century // 4) - moon - of_century % 4) % 7
    late = (golden + 11 * moon + 22 * sunday) // 451
    month, day = divmod(moon + sunday - 7 * late + 114, 31)
    return dt.date(year, month, day + 1)


def _nth(year: int, month: int, weekday: int, n: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))


def _last_monday(year: int, month: int) -> dt.date:
    last = dt.date(year, month, calendar.monthrange(year, month)[1])
    return last - dt.timedelta(days=last.weekday())


def _observed(day: dt.date) -> dt.date:
    """Return the Friday before a Saturday, and the Monday after a Sunday."""
    if day.weekday() < _SATURDAY:
        return day
    return day - _ONE_DAY if day.weekday() == _SATURDAY else day + _ONE_DAY
