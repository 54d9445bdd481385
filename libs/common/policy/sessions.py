"""Trading hours: tables of sessions in the local time of a market, right on the days when clocks change too.

An entry is `Mon-Fri 09:30-16:00 America/New_York`, with `except 2026-12-24, 2026-12-25` behind it where days are left
out; or the name of a table. Hours that end before they begin end on the next day: `Sun-Thu 18:00-17:00 ...`. A session
belongs to the day on which it begins.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from libs.common.policy.holidays import EARLY_CLOSE, nyse_closed, nyse_early

FORM: Final = (
    'hours such as "Mon-Fri 09:30-16:00 America/New_York", with "except 2026-12-25" behind them for days without, '
    "or one of the tables always, forex, nyse"
)

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ENTRY: Final = re.compile(
    r"(?P<days>[a-z,-]+) (?P<from>\d{2}:\d{2})-(?P<to>\d{2}:\d{2}) (?P<zone>[a-z0-9_+/-]+)(?: except (?P<dates>[\d, -]+))?",
    re.ASCII | re.IGNORECASE,
)
_DAY_MINUTES: Final = 24 * 60
_ONE_DAY: Final = dt.timedelta(days=1)

_NEW_YORK: Final = "America/New_York"
_TABLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "always": ("Mon-Sun 00:00-24:00 UTC",),
        "forex": (
            f"Sun 17:00-24:00 {_NEW_YORK}",
            f"Mon-Thu 00:00-24:00 {_NEW_YORK}",
            f"Fri 00:00-17:00 {_NEW_YORK}",
        ),
        "nyse": (f"Mon-Fri 09:30-16:00 {_NEW_YORK}",),
    }
)


def _never_early(day: dt.date) -> int | None:  # noqa: ARG001 - the shape of every calendar
    return None


def _nyse_end(day: dt.date) -> int | None:
    """Return the minute at which the exchange closes on a day of its own; None on any other."""
    if day in nyse_closed(day.year):
        return 0
    return EARLY_CLOSE.hour * 60 + EARLY_CLOSE.minute if day in nyse_early(day.year) else None


_CALENDARS: Final[Mapping[str, Callable[[dt.date], int | None]]] = MappingProxyType({"nyse": _nyse_end})


@dataclass(frozen=True, slots=True)
class _Hours:
    """One entry: the same hours on some days of the week."""

    weekdays: frozenset[int]
    from_minute: int
    to_minute: int
    """Above `from_minute`; beyond 24 hours where they end on the next day."""
    zone: ZoneInfo
    left_out: frozenset[dt.date]
    calendar_end: Callable[[dt.date], int | None] = _never_early

    def is_open(self, at: dt.datetime) -> bool:
        local = at.astimezone(self.zone)
        minute = local.hour * 60 + local.minute
        day = local.date()
        return self._is_within(day, minute) or self._is_within(day - _ONE_DAY, minute + _DAY_MINUTES)

    def _is_within(self, day: dt.date, minute: int) -> bool:
        if not self.from_minute <= minute < self.to_minute:
            return False
        if day.weekday() not in self.weekdays or day in self.left_out:
            return False
        end = self.calendar_end(day)
        return end is None or minute < end


@dataclass(frozen=True, slots=True)
class Sessions:
    """When something trades: in any of its sessions."""

    text: str
    """As it was written."""
    _hours: tuple[_Hours, ...]

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Sessions":
        """Return the sessions that are written so. Looks the time zones up in the system's tables.

        Raises:
            ValueError: An entry cannot be read; the text says what was expected.
        """
        written = tuple(entries)
        hours: list[_Hours] = []
        for entry in written:
            name = entry.strip().lower()
            calendar_end = _CALENDARS.get(name, _never_early)
            hours.extend(_parse(one, calendar_end) for one in _TABLES.get(name, (entry,)))
        return cls(", ".join(written), tuple(hours))

    def is_open(self, at_ms: int) -> bool:
        """Tell whether it trades at a time, ms since the epoch."""
        at = dt.datetime.fromtimestamp(at_ms // 1_000, dt.UTC)
        return any(hours.is_open(at) for hours in self._hours)


def _parse(entry: str, calendar_end: Callable[[dt.date], int | None]) -> _Hours:
    found = _ENTRY.fullmatch(" ".join(entry.split()))
    if found is None:
        raise ValueError(FORM)
    from_minute, to_minute = _minute(found["from"]), _minute(found["to"])
    if from_minute in {_DAY_MINUTES, to_minute}:
        raise ValueError(f"{FORM}; they begin before 24:00, and last some time")
    return _Hours(
        _weekdays(found["days"]),
        from_minute,
        to_minute if to_minute > from_minute else to_minute + _DAY_MINUTES,
        _zone(found["zone"]),
        _dates(found["dates"] or ""),
        calendar_end,
    )


def _weekdays(text: str) -> frozenset[int]:
    days: set[int] = set()
    for part in text.lower().split(","):
        first, _, last = part.partition("-")
        if first not in _DAYS or (last or first) not in _DAYS:
            raise ValueError(f"{FORM}; the days are Mon, Tue, Wed, Thu, Fri, Sat and Sun")
        at = _DAYS.index(first)
        count = (_DAYS.index(last or first) - at) % 7 + 1
        days.update((at + n) % 7 for n in range(count))
    return frozenset(days)


def _minute(text: str) -> int:
    hour, minute = int(text[:2]), int(text[3:])
    if minute > 59 or hour * 60 + minute > _DAY_MINUTES:
        raise ValueError(f"{FORM}; the times are 00:00 to 24:00")
    return hour * 60 + minute


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{FORM}; there is no time zone {name}") from error


def _dates(text: str) -> frozenset[dt.date]:
    try:
        return frozenset(dt.date.fromisoformat(one.strip()) for one in text.split(",") if one.strip())
    except ValueError as error:
        raise ValueError(f"{FORM}; a day that is left out is written 2026-12-25") from error
