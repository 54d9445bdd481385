"""Which orders of a head may exist at the venue without our knowing: one on record, or one that Redis forgot. Pure."""

from typing import Final

from libs.common.domain.alert import Action
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import client_order_id
from libs.common.domain.instruction import SCHEMA_VERSION, Instruction
from libs.common.domain.lifecycle import AMBIGUOUS, OrderState
from libs.common.store.head import Head, KnownOrder
from libs.common.wire import codec
from services.worker.work import plan_of

_OF_TWO: Final = frozenset({Action.TARGET, Action.FLIP})


def is_ambiguous(head: Head) -> bool:
    """Tell whether an order of a head may exist at the venue without our knowing: one on record, or one forgotten."""
    return has_ambiguous_order(head) or doubtful_leg(head) is not None


def has_ambiguous_order(head: Head) -> bool:
    """Tell whether an order on record may exist at the venue without our knowing."""
    return any(order.state in AMBIGUOUS for order in head.orders)


def doubtful_leg(head: Head) -> int | None:
    """Return the leg that may have left though Redis forgot it, and that is not being looked up for that; None of most.

    A second order leaves only once it is on record that the first one is filled.
    """
    if not head.is_suspect:
        return None
    first = order_of(head, 0)
    if first is None or _is_doubtful(first):
        return 0
    if first.state is not OrderState.FILLED or not _may_have_second(head):
        return None
    second = order_of(head, 1)
    return 1 if second is None or _is_doubtful(second) else None


def order_of(head: Head, leg: int) -> KnownOrder | None:
    """Return what is on record of a leg."""
    order_id = client_order_id(head.account, head.alert_id, leg)
    return next((one for one in head.orders if one.client_order_id == order_id), None)


def may_be_of_two(instruction: Instruction) -> bool:
    """Tell whether an instruction may come to an order that closes and one that opens."""
    return instruction.action in _OF_TWO


def has_no_orders(instruction: Instruction) -> bool:
    """Tell whether an instruction never comes to an order."""
    return instruction.action is Action.CANCEL


def _may_have_second(head: Head) -> bool:
    """Tell by its plan whether a head has a second order; by what it asks for, where the plan is lost or unreadable."""
    try:
        if head.plan:
            return len(plan_of(head).legs) > 1
    except StoreCorrupt:
        pass
    if head.version > SCHEMA_VERSION:
        return True
    try:
        return may_be_of_two(codec.INSTRUCTION.decode(head.body))
    except StoreCorrupt:
        return True


def _is_doubtful(order: KnownOrder) -> bool:
    return not order.is_cleared and (order.state in AMBIGUOUS or order.state is OrderState.NOT_EXECUTED)
