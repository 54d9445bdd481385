"""Single values of an alert, as text: exact numbers, times, resolutions. Lenient about form, strict about meaning."""

import re
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from libs.common.domain.errors import AdmissionError

MAX_DIGITS: Final = 40
MAX_EXPONENT: Final = 30

_MAX_NUMBER_LENGTH: Final = 100
_PLAIN_NUMBER: Final = re.compile(r"\d{1,20}(?:\.\d{1,20})?", re.ASCII)
"""As nearly all are: within every bound."""
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_EPOCH: Final = re.compile(r"\d{9,13}(?:\.\d{1,6})?", re.ASCII)
_SECONDS_DIGITS: Final = 10
"""Of an epoch time: what has more counts milliseconds."""
_TIME_FORM: Final = "a time such as 2026-11-03T09:15:01Z, or seconds or milliseconds since the epoch"
_INTERVAL: Final = re.compile(r"(\d{0,5})\s*([A-Za-z]*)", re.ASCII)
_INTERVAL_UNIT_MS: Final = {
    "": 60_000,
    "s": 1_000,
    "sec": 1_000,
    "m": 60_000,
    "min": 60_000,
    "h": 3_600_000,
    "hr": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
}
"""TradingView's `S`, `D` and `W`, bare minutes, and how people write them. `M`, a month, has no fixed length."""


def number_from(text: str, field: str, *, is_signed: bool = False, allows_zero: bool = False) -> Decimal:
    """Return a number exactly as written, above 0 unless said otherwise.

    Args:
        text: As the sender wrote it.
        field: What an error calls it.
        is_signed: Whether it may be below 0.
        allows_zero: Whether it may be 0.

    Raises:
        AdmissionError: 422, it is no such number.
    """
    if _PLAIN_NUMBER.fullmatch(text) and (plain := Decimal(text)):
        return plain
    expected = "a number" if is_signed else "a number of at least 0" if allows_zero else "a number above 0"
    text = text.strip()
    refuse_placeholder(text, field)
    if len(text) > _MAX_NUMBER_LENGTH:
        raise _absurd(field)
    if not _NUMBER.fullmatch(text):
        raise _wrong(text, field, expected)
    try:
        number = Decimal(text)
    except InvalidOperation as error:
        raise _absurd(field) from error
    _, digits, exponent = number.as_tuple()
    if not isinstance(exponent, int) or len(digits) > MAX_DIGITS or exponent < -MAX_EXPONENT:
        raise _absurd(field)
    if (number < 0 and not is_signed) or (number == 0 and not allows_zero):
        raise _wrong(text, field, expected)
    if number.adjusted() > MAX_EXPONENT:
        raise _absurd(field)
    # 1E+3 is 1000 to us; as an exponent it would surprise a venue.
    return Decimal(f"{number:f}") if exponent > 0 else number


def time_from(text: str, field: str) -> int:
    """Return a time in ms since the epoch; one without a zone is UTC, as TradingView writes its own.

    Raises:
        AdmissionError: 422, it is no time.
    """
    text = text.strip()
    refuse_placeholder(text, field)
    if _EPOCH.fullmatch(text):
        whole = text.partition(".")[0]
        scale = 1_000 if len(whole) <= _SECONDS_DIGITS else 1
        return int(Decimal(text) * scale)
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        at_ms = round(moment.timestamp() * 1_000)
    except (ValueError, OverflowError) as error:
        raise AdmissionError(
            422, "invalid_time", f'"{field}" is "{text[:80]}", expected {_TIME_FORM}', field=field
        ) from error
    if at_ms < 0:
        detail = f'"{field}" is "{text}", expected a time since 1970'
        raise AdmissionError(422, "invalid_time", detail, field=field)
    return at_ms


def interval_ms(text: str) -> int | None:
    """Return the length of a bar; None where the text is no resolution of fixed length."""
    found = _INTERVAL.fullmatch(text.strip())
    if found is None or not (found[1] or found[2]):
        return None
    # TradingView writes minutes bare and months as `M`; people write minutes as `m`.
    unit_ms = None if found[2] == "M" else _INTERVAL_UNIT_MS.get(found[2].lower())
    count = int(found[1] or 1)
    return unit_ms * count if unit_ms is not None and count > 0 else None


def refuse_placeholder(value: str, field: str) -> None:
    """Refuse a value in which TradingView left a placeholder as it was, since its name is not one.

    Raises:
        AdmissionError: 422.
    """
    if "{{" in value:
        detail = f'"{field}" is "{value}", with a placeholder that TradingView did not fill in'
        raise AdmissionError(422, "unfilled_placeholder", detail, field=field)


def _wrong(text: str, field: str, expected: str) -> AdmissionError:
    return AdmissionError(422, "invalid_number", f'"{field}" is "{text}", expected {expected}', field=field)


def _absurd(field: str) -> AdmissionError:
    detail = f'"{field}" has more than {MAX_DIGITS} digits or an exponent beyond {MAX_EXPONENT}'
    return AdmissionError(422, "invalid_number", detail, field=field)
