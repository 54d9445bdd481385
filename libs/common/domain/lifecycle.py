"""The states of instructions and orders, and every legal move between them.

The scripts in `store/lua/` make these moves; tests hold them against the tables here.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class InstructionState(StrEnum):
    """Where an instruction stands. It ends in exactly one of the last five."""

    QUEUED = "QUEUED"
    """On disk in its lane, behind others or waiting for a worker. Set by `admit`; a crash here loses nothing."""
    ACTIVE = "ACTIVE"
    """Head of its lane, handed to a worker. A crash leaves it ACTIVE; the next holder continues it."""
    EXECUTED = "EXECUTED"
    """The venue took the order. Kept for `retention.alerts`."""
    REJECTED = "REJECTED"
    """Refused for good, by the venue, by a check, or by its account at admission. Leaves a dead letter."""
    SKIPPED = "SKIPPED"
    """There was nothing to do: nothing to close, or the account takes no such alerts. Not an error."""
    EXPIRED = "EXPIRED"
    """Older than its maximum age before it could be sent. Leaves a dead letter."""
    DEAD = "DEAD"
    """Given up: malformed, poison, or its order's outcome stays unknown and its account does not wait for it. Leaves a
    dead letter, which may be replayed."""


class OrderState(StrEnum):
    """Where an order stands, as far as we know."""

    SENDING = "SENDING"
    """The intent is on disk and the request may have left, or Redis may have forgotten that it did. A crash here means:
    look it up."""
    UNKNOWN = "UNKNOWN"
    """Sent, without an answer that can be trusted. Looked up until it is known."""
    NOT_EXECUTED = "NOT_EXECUTED"
    """This attempt certainly did nothing and can no longer do anything. Another may follow."""
    ACCEPTED = "ACCEPTED"
    """The venue holds it as a resting order."""
    PARTIAL = "PARTIAL"
    """A resting order of which a part is filled."""
    FILLED = "FILLED"
    """Executed in full."""
    REJECTED = "REJECTED"
    """The venue refused it for good."""
    CANCELED = "CANCELED"
    """A resting order that was taken back."""
    EXPIRED = "EXPIRED"
    """A resting order that ran out of its time in force."""


ENDED: Final = frozenset(
    {
        InstructionState.EXECUTED,
        InstructionState.REJECTED,
        InstructionState.SKIPPED,
        InstructionState.EXPIRED,
        InstructionState.DEAD,
    }
)
"""States in which nothing more happens to an instruction by itself."""

DEAD_LETTERED: Final = frozenset({InstructionState.REJECTED, InstructionState.EXPIRED, InstructionState.DEAD})
"""End states that leave a dead letter."""

AMBIGUOUS: Final = frozenset({OrderState.SENDING, OrderState.UNKNOWN})
"""States in which an order may or may not exist at the venue."""

RESTING: Final = frozenset({OrderState.ACCEPTED, OrderState.PARTIAL})
"""States in which an order waits at the venue for what is still open of it."""

WORST_FIRST: Final = (
    InstructionState.DEAD,
    InstructionState.EXPIRED,
    InstructionState.REJECTED,
    InstructionState.ACTIVE,
    InstructionState.QUEUED,
    InstructionState.SKIPPED,
    InstructionState.EXECUTED,
)
"""Which of several instructions' states stands for their alert: the first of these that occurs."""

INSTRUCTION_MOVES: Final[Mapping[InstructionState | None, frozenset[InstructionState]]] = MappingProxyType(
    {
        # The last two where the account declines its share of the alert.
        None: frozenset({InstructionState.QUEUED, InstructionState.REJECTED, InstructionState.SKIPPED}),
        # DEAD and EXPIRED straight from QUEUED: a malformed entry, and one that expires behind a held head.
        InstructionState.QUEUED: frozenset(
            {InstructionState.ACTIVE, InstructionState.EXPIRED, InstructionState.DEAD}
        ),
        InstructionState.ACTIVE: ENDED | {InstructionState.ACTIVE},
        InstructionState.EXECUTED: frozenset(),
        InstructionState.SKIPPED: frozenset(),
        # The way back is a replay.
        InstructionState.REJECTED: frozenset({InstructionState.QUEUED}),
        InstructionState.EXPIRED: frozenset({InstructionState.QUEUED}),
        InstructionState.DEAD: frozenset({InstructionState.QUEUED}),
    }
)

ORDER_MOVES: Final[Mapping[OrderState | None, frozenset[OrderState]]] = MappingProxyType(
    {
        # NOT_EXECUTED: of a cancel, which never comes to an order, once it is asked what Redis may have forgotten.
        None: frozenset({OrderState.SENDING, OrderState.NOT_EXECUTED}),
        OrderState.SENDING: frozenset(
            {
                OrderState.UNKNOWN,
                OrderState.NOT_EXECUTED,
                OrderState.ACCEPTED,
                OrderState.PARTIAL,
                OrderState.FILLED,
                OrderState.REJECTED,
                OrderState.CANCELED,
                OrderState.EXPIRED,
            }
        ),
        OrderState.UNKNOWN: frozenset(
            {
                OrderState.NOT_EXECUTED,
                OrderState.ACCEPTED,
                OrderState.PARTIAL,
                OrderState.FILLED,
                OrderState.REJECTED,
                OrderState.CANCELED,
                OrderState.EXPIRED,
            }
        ),
        OrderState.NOT_EXECUTED: frozenset({OrderState.SENDING}),
        # REJECTED: a stop order whose trigger came, and for which the venue then had no margin left.
        OrderState.ACCEPTED: frozenset(
            {
                OrderState.PARTIAL,
                OrderState.FILLED,
                OrderState.CANCELED,
                OrderState.EXPIRED,
                OrderState.REJECTED,
            }
        ),
        OrderState.PARTIAL: frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED}),
        OrderState.FILLED: frozenset(),
        # A replay: the venue said no, so nothing of this order exists there.
        OrderState.REJECTED: frozenset({OrderState.NOT_EXECUTED}),
        OrderState.CANCELED: frozenset(),
        OrderState.EXPIRED: frozenset(),
    }
)


def worst(states: list[InstructionState]) -> InstructionState:
    """Return the state that stands for an alert with these instructions; at least one is given."""
    return min(states, key=WORST_FIRST.index)
