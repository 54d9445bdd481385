"""One head under execution, and what a step of it may come to."""

from dataclasses import dataclass
from typing import Final

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.ids import ClientOrderId
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import InstructionState
from libs.common.domain.order import OrderPlan, OrderReport, Plan
from libs.common.domain.reasons import Reason
from libs.common.store.head import HandedOut, Head, Held, KnownOrder
from libs.common.store.lanes import Return
from libs.common.store.order_answers import Begun
from libs.common.store.orders import Intent
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.leases import Lease

Step = HandedOut | Return
"""What comes next in a lane: another head, or the end of holding it."""


class Work(msgspec.Struct, frozen=True):
    """One head under execution."""

    held: Held
    lease: Lease
    head: Head
    instruction: Instruction
    account: Account
    begun_at_ms: int
    """Monotonic; when the head's own `now_ms` was true."""

    def passed_ms(self, clock: Clock) -> int:
        """Return how long the head has been under execution."""
        return clock.monotonic_ms() - self.begun_at_ms

    def now_ms(self, clock: Clock) -> int:
        """Return Redis' time when the head was handed out, and what has passed since: never later than it is there."""
        return self.head.now_ms + self.passed_ms(clock)

    def left_ms(self, clock: Clock) -> int:
        """Return how long the alert may still be sent, at least 0."""
        return max(0, self.head.deadline_ms - self.now_ms(clock))

    def unknown_for_ms(self, order: KnownOrder) -> int:
        """Return how long the request of an order on record had been over when the head was handed out."""
        return max(0, self.head.now_ms - order.expires_at_ms)

    def order(self, client_order_id: ClientOrderId) -> KnownOrder | None:
        """Return what was on record of an order when the head was handed out."""
        return next((one for one in self.head.orders if one.client_order_id == client_order_id), None)


class Leg(msgspec.Struct, frozen=True):
    """One order of a plan."""

    index: int
    plan: OrderPlan
    client_order_id: ClientOrderId
    whole: Plan | None
    """The plan of all legs, where it is not the only one."""
    led_to_it: bytes
    """A JSON object for the journal. Empty where there is nothing to say."""
    budgets: bytes
    """Account-wide risk limits it counts against, JSON; empty where there are none."""
    read_at_ms: int
    """Redis' time before the venue was asked for what the budgets are counted from."""
    wants_successor: bool = False
    """Whether it is worth knowing what is behind its instruction: that may be planned while the venue has this order."""


class Prepared(msgspec.Struct, frozen=True):
    """The instruction behind a head, planned, to be begun with the end of that head."""

    work: Work
    leg: Leg
    """Its only order."""
    intent: Intent


class BegunHead(msgspec.Struct, frozen=True):
    """A head that was begun by the call which made it that: as its lane was taken, or with the end of the one before."""

    work: Work
    leg: Leg
    """Its only order."""
    intent: Intent
    """As it was sent."""
    answer: Begun
    """To the intent."""
    asked_at_ms: int
    """Monotonic; before the call was made."""


Next = Step | BegunHead
"""The same where the call may have begun the head: as a lane is taken, or once a head was executed as far as it could be."""


@dataclass(frozen=True, slots=True)
class Done:
    """The venue has said what became of an order."""

    attempt: int
    report: OrderReport
    refused_for: Reason = Reason.VENUE_REJECTED
    """Why the instruction is REJECTED, where the order is."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The instruction is over, without an order of which anything would have to be noted."""

    state: InstructionState
    reason: Reason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """What the plan depends on cannot be told now: ask again later."""

    detail: str
    reason: Reason = Reason.BACK_OFF
    wait_ms: int | None = None
    """How long it takes at least; None where nobody knows."""


AGAIN_MS: Final = 1_000
"""How long a lane waits for what its venue did not say, or has not confirmed yet."""

TOO_OLD: Final = Ended(InstructionState.EXPIRED, Reason.TOO_OLD, "before it could be sent")


def plan_of(head: Head) -> Plan:
    """Return the plan on record; there must be one.

    Raises:
        StoreCorrupt: It cannot be read.
    """
    plan = codec.PLAN.decode(head.plan)
    if not plan.legs and not plan.cancels:
        # One of a single order is stored as that order's alone, as the first workers did.
        plan = Plan(legs=(codec.ORDER_PLAN.decode(head.plan),))
    return plan
