"""What the watchdog raises, and what is told of it to whoever is to know."""

from enum import StrEnum

import msgspec


class AlarmKind(StrEnum):
    """What an alarm is about."""

    SILENCE = "silence"
    """A strategy is quiet for longer than usual; its subject is the strategy."""
    REFUSALS = "refusals"
    """Many more posts are refused than usual."""
    CERTIFICATE = "certificate"
    """The certificate of `ingress.public_url` is not valid, is not renewed, or cannot be seen; its subject is the host."""
    SKEW = "skew"
    """A clock is not with that of Redis; its subject is the machine."""


class Change(StrEnum):
    """What became of an alarm."""

    RAISED = "raised"
    CLEARED = "cleared"


class Message(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is told, as the JSON of one post; keys that say nothing are left out."""

    id: str
    """The same each time that it is told: by it a target drops repeats."""
    type: str
    """`alarm`, `dead_letter`, or `test`."""
    text: str
    """All of it in one line, for people; chat services show this."""
    at_ms: int
    kind: str = ""
    """Of an alarm."""
    state: str = ""
    """Of an alarm `raised` or `cleared`; of a dead letter REJECTED, EXPIRED or DEAD."""
    subject: str = ""
    """Of an alarm what it is about: a strategy, a host."""
    detail: str = ""
    reason: str = ""
    """Of a dead letter its reason code; so are those that follow."""
    alert_id: str = ""
    account: str = ""
    market: str = ""
    strategy: str = ""
    action: str = ""
    quantity: str = ""
    attempts: int = 0
