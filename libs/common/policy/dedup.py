"""When two posts are the same alert."""

import hashlib
from dataclasses import dataclass
from typing import Final

BODY_WINDOW_MS: Final = 60 * 1000
"""How long a body without an id counts as seen: longer than TradingView's resends, shorter than most meant repeats."""


@dataclass(frozen=True, slots=True)
class DedupKey:
    """What tells one alert of a webhook from another."""

    key: str
    window_ms: int
    is_sender_id: bool
    """Whether the sender named it: only then another body under the same key is a conflict."""


def body_digest(masked: str) -> str:
    """Return the digest of a body whose credential has been masked, 32 hexadecimal digits.

    The credential must not enter: after a change of secret a resend would be another alert.
    """
    return hashlib.blake2b(masked.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def dedup_key(sender_id: str | None, digest: str, window_ms: int) -> DedupKey:
    """Return the key of an alert: the sender's id where it gave one, else the digest of its body.

    Args:
        sender_id: The id, if the dialect carries one.
        digest: See `body_digest`.
        window_ms: How long an id stays taken; a body without one at most `BODY_WINDOW_MS`.
    """
    if sender_id is None:
        return DedupKey(f"body:{digest}", min(window_ms, BODY_WINDOW_MS), is_sender_id=False)
    return DedupKey(f"id:{sender_id}", window_ms, is_sender_id=True)
