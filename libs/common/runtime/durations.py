"""Durations and rates as the configuration writes them: `500ms`, `2s`, `30min`, `24h`, `7d`; `5/s`, `30/min`."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Final, Self

UNIT_MS: Final = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
DURATION_FORM: Final = "a duration such as 500ms, 2s, 30min, 24h or 7d"
RATE_FORM: Final = 'a rate such as 5/s, 30/min or 1/10s, or "off"'

_MAX_MS: Final = 3_650 * UNIT_MS["d"]
_NUMBER_UNIT: Final = re.compile(r"(\d{1,12}(?:\.\d{1,3})?)\s?(ms|s|min|h|d)", re.ASCII)
_RATE: Final = re.compile(r"(\d{1,9})\s?/\s?(\d{0,6})(ms|s|min|h|d)", re.ASCII)


class DurationMs(int):
    """Milliseconds, above 0; an `int` in every respect, written with a unit in the configuration."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the duration that `text` writes.

        Raises:
            ValueError: It is no text of that form, is no whole number of milliseconds, or is out of range.
        """
        found = _NUMBER_UNIT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(DURATION_FORM)
        value_ms = Decimal(found[1]) * UNIT_MS[found[2]]
        if value_ms != int(value_ms):
            raise ValueError(f"{DURATION_FORM}, a whole number of milliseconds")
        if not cls.smallest_ms() <= value_ms <= _MAX_MS:
            raise ValueError(
                f"a duration of at least {cls.smallest_ms()}ms and at most {_MAX_MS // UNIT_MS['d']}d"
            )
        return cls(int(value_ms))

    @staticmethod
    def smallest_ms() -> int:
        """Return the least that is allowed."""
        return 1


class DurationOrZeroMs(DurationMs):
    """The same where nothing (`0s`) makes sense."""

    @staticmethod
    def smallest_ms() -> int:
        """Return the least that is allowed."""
        return 0


class DurationOrOffMs(DurationMs):
    """The same where it may be `"off"`, which is 0."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the duration that `text` writes.

        Raises:
            ValueError: It is neither a duration nor "off".
        """
        if text == "off":
            return cls(0)
        try:
            return super().parse(text)
        except ValueError as error:
            raise ValueError(f'{error}, or "off"') from error


@dataclass(frozen=True, slots=True)
class Rate:
    """So many of something in a time, for example 30 a minute; or `Rate.OFF`, as many as there are."""

    OFF: ClassVar["Rate"]

    count: int
    per_ms: int

    @property
    def is_off(self) -> bool:
        """Return whether nothing is limited; the numbers mean nothing then."""
        return self.count == 0

    @property
    def interval_us(self) -> int:
        """Return the time between two at this rate, in microseconds, at least 1."""
        return max(1, self.per_ms * 1_000 // self.count)

    @classmethod
    def parse(cls, text: object) -> "Rate":
        """Return the rate that `text` writes.

        Raises:
            ValueError: It is no text of that form, or one of its numbers is 0.
        """
        if text == "off":
            return Rate.OFF
        found = _RATE.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(RATE_FORM)
        count, per_ms = int(found[1]), int(found[2] or 1) * UNIT_MS[found[3]]
        if count == 0 or per_ms == 0:
            raise ValueError(f"{RATE_FORM}; not 0")
        return cls(count, per_ms)


Rate.OFF = Rate(0, 0)


def format_duration(value_ms: int) -> str:
    """Return a duration as the configuration writes it, in the largest unit that keeps it whole."""
    for unit, unit_ms in reversed(UNIT_MS.items()):
        if value_ms and value_ms % unit_ms == 0:
            return f"{value_ms // unit_ms}{unit}"
    return "0s"
