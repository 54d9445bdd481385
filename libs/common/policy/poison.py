"""When an instruction counts as what kills its workers."""

from enum import StrEnum
from typing import Final

SOLO_AFTER: Final = 3
"""Lost holders from which a head is executed with no other lane in the process.

A worker that dies takes up to its concurrency of innocent heads with it, each of which then counts one lost
holder. Running all of those alone would stretch a take-over from seconds to minutes, so the first two are
forgiven; whatever really kills workers is alone from its third time on, long before the poison limit.
"""


class Treatment(StrEnum):
    """How a head is to be executed."""

    NORMAL = "normal"
    """Beside other lanes."""
    SOLO = "solo"
    """With no other lane in the process."""
    GIVE_UP = "give_up"
    """Not at all: dead-letter it."""


def treatment(lost_holders: int, *, limit: int, is_order_ambiguous: bool) -> Treatment:
    """Decide how to execute a head.

    Args:
        lost_holders: Workers that died or failed while they executed it.
        limit: The poison limit, 1 or more.
        is_order_ambiguous: Whether an order of it may exist at the venue; such a head is never given up.
    """
    if is_order_ambiguous:
        # A look-up kills nobody, and one that hangs must not keep every other lane of the worker waiting.
        return Treatment.NORMAL
    if lost_holders >= limit:
        return Treatment.GIVE_UP
    return Treatment.SOLO if lost_holders >= SOLO_AFTER else Treatment.NORMAL
