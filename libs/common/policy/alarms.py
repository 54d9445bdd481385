"""What the watchdog raises, and what is told of it to whoever is to know."""

import datetime as dt
from enum import StrEnum
from typing import Final

import msgspec

from libs.common.domain.instruction import Instruction

DETAIL_AT_MOST: Final = 1_000
"""Characters that are told of a detail: that of what nobody can read is all it holds, and `bascule dead-letters` shows it."""


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


def alarm_message(
    message_id: str,
    *,
    kind: str,
    subject: str,
    change: str,
    detail: str,
    at_ms: int,
    is_standing: bool = False,
) -> Message:
    """Return what is told of an alarm that was raised or cleared; of one that stands, it says since when."""
    about = f"{kind} of {subject}" if subject else kind
    since = (
        f" on {dt.datetime.fromtimestamp(at_ms // 1_000, dt.UTC):%Y-%m-%d at %H:%M} UTC"
        if is_standing
        else ""
    )
    return Message(
        id=message_id,
        type="alarm",
        text=f"Bascule: {about} {change}{since}: {detail}",
        at_ms=at_ms,
        kind=kind,
        state=change,
        subject=subject,
        detail=detail,
    )


def dead_letter_message(
    message_id: str,
    instruction: Instruction | None,
    *,
    alert_id: str,
    account: str,
    lane: str,
    market: str,
    state: str,
    reason: str,
    detail: str,
    attempts: int,
    at_ms: int,
) -> Message:
    """Return what is told of a dead letter; the body of its alert is not.

    Args:
        message_id: The same each time.
        instruction: What was not executed; None where nobody can read it.
        alert_id: Empty where nobody knows it, as are the texts that follow.
        account: That it was for.
        lane: That it waited in; named where nothing else tells what was asked for.
        market: What the venue calls its symbol.
        state: REJECTED, EXPIRED or DEAD.
        reason: Its code.
        detail: In words; its beginning is told.
        attempts: Calls that may have placed an order.
        at_ms: When it was given up.
    """
    strategy = action = quantity = ""
    detail = detail if len(detail) <= DETAIL_AT_MOST else f"{detail[:DETAIL_AT_MOST]}..."
    if instruction is not None:
        strategy, action = instruction.strategy or "", instruction.action.value
        quantity = "" if instruction.quantity is None else f"{instruction.quantity:f}"
    asked = " ".join(part for part in (action, quantity, market) if part)
    return Message(
        id=message_id,
        type="dead_letter",
        text=f"Bascule: {account} did not trade ({state}, {reason}): {asked or lane}; {detail}",
        at_ms=at_ms,
        state=state,
        detail=detail,
        reason=reason,
        alert_id=alert_id,
        account=account,
        market=market,
        strategy=strategy,
        action=action,
        quantity=quantity,
        attempts=attempts,
    )
