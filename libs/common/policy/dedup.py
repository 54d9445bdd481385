"""When two posts are the same alert: by the sender's id, else by strategy and bar, else by their body."""

import hashlib
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import msgspec

from libs.common.domain.alert import AlertContent
from libs.common.policy.webhook import DedupWindows

FIRST_DIALECT: Final = "factorqx"

# A copy of it costs half of what a new one does.
_EMPTY: Final = hashlib.blake2b(digest_size=16)


class DedupKind(StrEnum):
    """What an alert is recognised by."""

    ID = "id"
    """The sender named it: another body under the same id is a conflict."""
    BAR = "bar"
    """One alert of a strategy, bar, symbol and action; or as many as the webhook allows."""
    BODY = "body"


class DedupKey(msgspec.Struct, frozen=True):
    """What tells one alert of a webhook from another."""

    kind: DedupKind
    keys: tuple[str, ...]
    """One for each alert that may have it."""
    window_ms: int


def body_digest(masked: str) -> str:
    """Return the digest of a body whose credential has been masked, 32 hexadecimal digits.

    The credential must not enter: after a change of secret a resend would be another alert.
    """
    digest = _EMPTY.copy()
    digest.update(masked.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def dedup_key(
    content: AlertContent,
    digest: str,
    windows: DedupWindows,
    interval_ms: Callable[[str], int | None],
) -> DedupKey:
    """Return the key of an alert.

    Args:
        content: What it means.
        digest: See `body_digest`.
        windows: The webhook's.
        interval_ms: Reads the length of a bar from its resolution.
    """
    if content.sender_id is not None:
        # Tools number their alerts each in its own way. FactorQX came first, and its keys stay as they were.
        of = "id" if content.dialect == FIRST_DIALECT else f"id:{content.dialect}"
        return DedupKey(DedupKind.ID, (f"{of}:{content.sender_id}",), windows.id_ms)
    if content.strategy is None or content.bar_at_ms is None:
        return DedupKey(DedupKind.BODY, (f"body:{digest}",), windows.body_ms)
    bar_at_ms = content.bar_at_ms
    length_ms = None if content.interval is None else interval_ms(content.interval)
    if length_ms is not None:
        # Many templates put the time of firing there: a strategy that flickers fires twice seconds apart.
        bar_at_ms -= bar_at_ms % length_ms
    # Of a target and a flip the position is what the action is.
    action = content.action if content.position is None else f"{content.action} {content.position}"
    name = "\n".join((content.strategy, str(bar_at_ms), content.exchange or "", content.symbol, action))
    digested = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return DedupKey(
        DedupKind.BAR,
        tuple(f"bar:{digested}:{number}" for number in range(windows.entries_per_bar)),
        windows.bar_ms,
    )
