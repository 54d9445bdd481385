"""When a venue that is asked too often wants to hear from us again. Pure."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_RETRY_AFTER_MS: Final = 86_400_000
"""What asks for more is cut to it."""


def retry_after_ms(headers: Mapping[str, str], now_ms: int) -> int | None:
    """Return the wait that an answer's `Retry-After` asks for; None where it says nothing usable.

    Args:
        headers: The answer's, by lower-case name. A date is held against the answer's own where it has one, so that
            it does not matter whose clock is right.
        now_ms: Ours.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:12]) * 1_000, LONGEST_RETRY_AFTER_MS)
    due_ms = _date_ms(text)
    if due_ms is None:
        return None
    own_ms = _date_ms(headers.get("date", ""))
    return max(0, min(due_ms - (now_ms if own_ms is None else own_ms), LONGEST_RETRY_AFTER_MS))


def _date_ms(text: str) -> int | None:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1_000)
    except (ValueError, OverflowError):
        return None
