"""Whether the certificate of our own address is renewed in time."""

from dataclasses import dataclass
from typing import Final

import msgspec

from libs.common.policy.length_in_words import in_words

MISSED_AT_MOST: Final = 3
"""Looks in a row that found nobody, before it is told: one may have been the network's hiccup."""


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """What the last looks at a certificate found."""

    at_ms: int
    """When it was last looked at."""
    not_before_ms: int | None = None
    """Of the certificate that was seen last; None where none was yet."""
    not_after_ms: int | None = None
    invalid: str = ""
    """Why it was not valid when it was last seen; empty where it was."""
    missed: int = 0
    """Looks since then that found nobody."""
    problem: str = ""
    """Why they did not."""

    def share_left(self, now_ms: int) -> float | None:
        """Return how much of its lifetime is left, 0 to 1; 0 where it is not valid, None where it was never seen."""
        if self.invalid:
            return 0.0
        if self.not_before_ms is None or self.not_after_ms is None:
            return None
        lifetime_ms = max(1, self.not_after_ms - self.not_before_ms)
        return min(1.0, max(0.0, (self.not_after_ms - now_ms) / lifetime_ms))

    def is_believed(self, now_ms: int) -> bool | None:
        """Return whether clients reach the address and believe it; None where that is not known yet."""
        if self.invalid or self.missed >= MISSED_AT_MOST:
            return False
        return None if self.not_after_ms is None else now_ms < self.not_after_ms


@dataclass(frozen=True, slots=True)
class Seen:
    """A certificate that clients believe."""

    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True)
class NotValid:
    """A certificate that clients refuse."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody answered, or not with TLS."""

    reason: str


Look = Seen | NotValid | Unreachable


def sighted(before: Sighting | None, look: Look, at_ms: int) -> Sighting:
    """Return what is known after one more look."""
    match look:
        case Seen(not_before_ms, not_after_ms):
            return Sighting(at_ms=at_ms, not_before_ms=not_before_ms, not_after_ms=not_after_ms)
        case NotValid(reason):
            known = before or Sighting(at_ms=at_ms)
            return Sighting(
                at_ms=at_ms,
                not_before_ms=known.not_before_ms,
                not_after_ms=known.not_after_ms,
                invalid=reason,
            )
        case Unreachable(reason):
            known = before or Sighting(at_ms=at_ms)
            return msgspec.structs.replace(known, at_ms=at_ms, missed=known.missed + 1, problem=reason)


def problem_of(sighting: Sighting, now_ms: int, *, share: float) -> str | None:
    """Return what is wrong with a certificate, in words; None where nothing is.

    Args:
        sighting: What the last looks found.
        now_ms: The time.
        share: Of its lifetime; with less left it should have been renewed.
    """
    if sighting.invalid:
        return f"it is not valid: {sighting.invalid}"
    if sighting.missed >= MISSED_AT_MOST:
        return f"it cannot be seen: {sighting.problem}"
    left, not_after_ms = sighting.share_left(now_ms), sighting.not_after_ms
    if left is None or not_after_ms is None or left >= share:
        return None
    left_ms = not_after_ms - now_ms
    if left_ms <= 0:
        return "it has expired"
    return f"it expires in {in_words(left_ms)}, {left:.0%} of its lifetime: it was not renewed in time"
