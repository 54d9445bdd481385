"""A worker as the protocol has it, one move at a time; which move, of which lane, and when, the machine decides."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from itertools import count
from typing import Any, Final

import msgspec
from msgspec.structs import replace
from redis.asyncio import Redis

from libs.common.domain.ids import ClientOrderId, Holder, Market, Nonce, client_order_id
from libs.common.domain.lifecycle import AMBIGUOUS, RESTING, InstructionState, OrderState
from libs.common.domain.order import OrderPlan, OrderReport, Side
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment, treatment
from libs.common.store.breakers import SharedBreakers
from libs.common.store.following import FollowedOrder, FollowedOrders
from libs.common.store.head import Head, Held, Moved, Queued
from libs.common.store.keys import Keys
from libs.common.store.lanes import Lanes, Reader
from libs.common.store.order_answers import BegunNext, Expired, Go, Halted, Noted, OverBudget, TooEarly, Wait
from libs.common.store.orders import (
    Doubt,
    Finding,
    GoesBack,
    Intent,
    OrderOutcome,
    Orders,
    Settlement,
    Taking,
)
from libs.common.wire import codec
from tests.fuzz.venue import Request
from tests.fuzz.worker import FLIP, KILLER, MISSES_NEEDED, POISON_LIMIT, RETENTION
from tests.machine.watch import PROBE_MS

EXIT: Final = b"only closes"
LIMIT: Final = b"rests at the venue"
PLAIN: Final = b"body"

Limits = tuple[tuple[int, int], tuple[int, int]]
"""Of a symbol and of its account, each as an `Intent` has it."""

MOST_RESTING: Final = 2
"""How many orders of one account may rest at the venue."""

PLAN: Final = codec.ORDER_PLAN.encode(OrderPlan(side=Side.BUY, quantity=Decimal(1)))


def report_of(state: OrderState) -> OrderReport:
    filled = Decimal(1) if state is OrderState.FILLED else Decimal(0)
    return OrderReport(order_id="venue", state=state, filled_quantity=filled)


class Step(Enum):
    """What a worker does next with a lane that it thinks is its own."""

    OPEN = "open"
    DOUBT = "doubt"
    BEGIN = "begin"
    SEND = "send"
    LOOK_UP = "look up"
    TELL = "tell"
    SETTLE = "settle"


class Process:
    """One start of a worker."""

    _numbers = count(1)

    def __init__(self, client: Redis, keys: Keys, attach: Callable[[Any], Any]) -> None:
        self.holder = Holder(f"w{next(self._numbers)}")
        self.lanes: Lanes = attach(Lanes(client, keys, self.holder, now_ms=0))
        self.orders: Orders = attach(Orders(client, keys, self.holder, RETENTION, now_ms=0))
        self.breakers: SharedBreakers = attach(SharedBreakers(client, keys, now_ms=0))
        self.following: FollowedOrders = attach(
            FollowedOrders(client, keys, self.holder, RETENTION, now_ms=0)
        )
        self.reader = Reader(client, keys, self.holder)
        self.hands: dict[Held, Hand] = {}
        self.claimed: list[FollowedOrder] = []
        self.is_stalled = False


@dataclass(eq=False)
class Hand:
    """A lane as its worker believes in it, right or wrong."""

    process: Process
    held: Held
    step: Step = Step.OPEN
    head: Head | None = None
    leg: int = 0
    attempt: int = 0
    intent: Intent | None = None
    go: Go | None = None
    request: Request | None = None
    """What has its Go and may leave at any time."""
    finding: Finding | None = None
    settlement: Settlement | None = None
    successor: Queued | None = None
    """What Redis has told is behind the head."""
    prepared: Queued | None = None
    """What is to be begun as the lane is taken, or with the end of the head."""
    not_before_ms: int = 0
    resting: tuple[int, int] | None = None
    """How many orders of the account rested at the venue, and when it was asked."""

    @property
    def order_id(self) -> ClientOrderId:
        assert self.head is not None
        return client_order_id(self.head.account, self.head.alert_id, self.leg)

    def take(self, head: Head) -> None:
        """Begin with the head that was handed out."""
        self.head, self.leg, self.not_before_ms, self.resting = head, 0, 0, None
        self.intent = self.go = self.request = self.finding = self.settlement = None
        doubtful = self._doubtful_leg(head)
        is_ambiguous = doubtful is not None or any(order.state in AMBIGUOUS for order in head.orders)
        verdict = treatment(head.lost_holders, limit=POISON_LIMIT, is_order_ambiguous=is_ambiguous)
        if doubtful is not None:
            self.leg, self.step = doubtful, Step.DOUBT
            return
        if verdict is Treatment.GIVE_UP:
            self.ends(InstructionState.DEAD, Reason.POISON)
        else:
            self.go_on()

    def _doubtful_leg(self, head: Head) -> int | None:
        """Return the leg that may have left though Redis forgot it."""
        if not head.is_suspect:
            return None
        known = {order.client_order_id: order for order in head.orders}
        for leg in (0, 1) if head.body == FLIP else (0,):
            order = known.get(client_order_id(head.account, head.alert_id, leg))
            if order is None:
                return leg
            if order.state in AMBIGUOUS or order.state is OrderState.NOT_EXECUTED:
                return None if order.is_cleared else leg
            if order.state is not OrderState.FILLED:
                return None
        return None

    def doubt(self) -> Doubt:
        """Return what is said of an order that may have left."""
        assert self.head is not None
        return Doubt(self.held, self.head.entry_id, self.order_id, Market(self.held.lane.split(":")[1]), PLAN)

    def go_on(self) -> None:
        """Decide by what is known of the leg's order."""
        assert self.head is not None
        order = next((one for one in self.head.orders if one.client_order_id == self.order_id), None)
        if order is None:
            self.attempts(1)
        elif order.state in AMBIGUOUS:
            self.attempt, self.step = order.attempt, Step.LOOK_UP
        elif order.state is OrderState.NOT_EXECUTED:
            self.attempts(order.attempt + 1)
        else:
            self.attempt = order.attempt
            self.came_to(order.state, is_on_record=True)

    def attempts(self, attempt: int) -> None:
        self.attempt, self.intent, self.step, self.not_before_ms = attempt, None, Step.BEGIN, 0

    def came_to(self, state: OrderState, *, is_on_record: bool = False) -> None:
        """The leg is over."""
        assert self.head is not None
        answer = codec.ORDER_REPORT.encode(report_of(state))
        market = self.held.lane.split(":")[1]
        filled = "1" if state is OrderState.FILLED else ""
        if self.leg == 0 and self.head.body == FLIP and state is OrderState.FILLED:
            if is_on_record:
                self.leg = 1
                self.go_on()
            else:
                self.tells(state, answer=answer, market=market, filled=filled)
            return
        outcome = OrderOutcome(self.order_id, self.attempt, state, answer, market, filled)
        if state is OrderState.REJECTED:
            self.ends(InstructionState.REJECTED, Reason.VENUE_REJECTED, outcome)
        else:
            reason = Reason.ACCEPTED if state in RESTING else Reason.FILLED
            self.ends(InstructionState.EXECUTED, reason, outcome)

    def tells(self, state: OrderState | None, nonce: Nonce | None = None, **more: Any) -> None:
        """Say what was found out about the order."""
        self.finding = Finding(self.held, self.order_id, self.attempt, state, nonce, margin_ms=0, **more)
        self.step = Step.TELL

    def ends(self, state: InstructionState, reason: Reason, order: OrderOutcome | None = None) -> None:
        """Settle it."""
        assert self.head is not None
        # By its number: a run that is repeated does the same.
        goes_back = list(GoesBack)[int(self.head.alert_id[1:]) % 3]
        self.settlement = Settlement(self.held, self.head.entry_id, state, reason, "", order, goes_back)
        self.step = Step.SETTLE

    # Calls, and what is made of their answers.

    def intend(self, nonce: Nonce, window_ms: int, limits: Limits, strategy: str) -> Intent:
        """Return what `begin` is asked; the same for as long as no answer came."""
        assert self.head is not None
        if self.intent is not None:
            return self.intent
        budgets, read_at_ms = b"", 0
        if self.head.body == LIMIT:
            assert self.resting is not None
            base, read_at_ms = self.resting
            budgets = msgspec.json.encode(
                [{"rule": "max_orders", "limit": MOST_RESTING, "measure": "orders", "base": base, "add": 1}]
            )
        self.intent = self._intent(
            self.head,
            self.leg,
            self.attempt,
            nonce,
            window_ms,
            limits,
            strategy=strategy or None,
            budgets=budgets,
            read_at_ms=read_at_ms,
        )
        return self.intent

    def prepares(self, nonce: Nonce, window_ms: int, limits: Limits) -> None:
        """Have what is behind the head begun with its end, where nobody need be asked for that."""
        assert self.settlement is not None
        successor, self.successor = self.successor, None
        if successor is None or successor.body in {KILLER, LIMIT, FLIP}:
            return
        self.prepared = successor
        intent = self._intent(successor, 0, 1, nonce, window_ms, limits)
        self.settlement = replace(self.settlement, intent=intent)

    def takes(self, nonce: Nonce, window_ms: int, limits: Limits) -> None:
        """Have what the token told is the head begun as the lane is taken; the same for as long as no answer came."""
        head, is_first = self.prepared, self.head is None
        if self.intent is None and is_first and head is not None and head.body not in {KILLER, LIMIT, FLIP}:
            self.intent = self._intent(head, 0, 1, nonce, window_ms, limits)

    def taking(self) -> Taking:
        """Return what is asked as the lane is taken."""
        assert self.prepared is not None
        assert self.intent is not None
        return Taking(self.prepared.alert_id, self.intent)

    def _intent(
        self,
        head: Head | Queued,
        leg: int,
        attempt: int,
        nonce: Nonce,
        window_ms: int,
        limits: Limits,
        **more: Any,
    ) -> Intent:
        return Intent(
            held=self.held,
            entry_id=head.entry_id,
            account=head.account,
            market=Market(self.held.lane.split(":")[1]),
            client_order_id=client_order_id(head.account, head.alert_id, leg),
            attempt=attempt,
            nonce=nonce,
            window_ms=window_ms,
            plan=PLAN,
            symbol_limit=limits[0],
            account_limit=limits[1],
            probe_ms=PROBE_MS,
            is_exit=head.body == EXIT,
            wants_successor=True,
            **more,
        )

    def continues(self, answer: BegunNext, position: int, now_ms: int) -> None:
        """Go on with the head that was begun with the end of the one before."""
        assert self.prepared is not None
        intent = self.intent if self.settlement is None else self.settlement.intent
        assert intent is not None
        self.take(answer.confirmed(self.prepared.as_head(now_ms=now_ms)))
        self.intent = replace(intent, entry_id=answer.entry_id)
        self.begun(answer.begun, position, now_ms)

    def begun(self, answer: Any, position: int, now_ms: int) -> bool:
        """Go on from what `begin` answered; tells whether the lane is still ours."""
        assert self.head is not None
        assert self.intent is not None
        if isinstance(answer, Go):
            self.successor = answer.successor
            self.go, self.step, self.not_before_ms = answer, Step.SEND, now_ms + answer.wait_ms
            self.request = Request(
                order_id=self.order_id,
                lane=self.held.lane,
                position=position,
                expires_at_ms=answer.expires_at_ms,
                deadline_ms=self.head.deadline_ms,
                nonce=self.intent.nonce,
                account=self.head.account,
                rests=self.head.body == LIMIT,
            )
            return True
        if isinstance(answer, Wait):
            self.not_before_ms = answer.until_ms
            return True
        self.intent = None
        if isinstance(answer, Expired):
            self.ends(InstructionState.EXPIRED, Reason.TOO_OLD)
        elif isinstance(answer, Halted):
            self.ends(InstructionState.REJECTED, Reason.HALTED)
        elif isinstance(answer, OverBudget):
            self.ends(InstructionState.REJECTED, Reason.RISK)
        else:
            return self.lost(answer)
        return True

    def told(self, answer: Any, now_ms: int) -> bool:
        """Go on from what `resolve` answered; tells whether the lane is still ours."""
        assert self.finding is not None
        if isinstance(answer, TooEarly):
            self.step, self.not_before_ms = Step.LOOK_UP, now_ms + answer.wait_ms
            return True
        if not isinstance(answer, Noted):
            return self.lost(answer)
        state = self.finding.state
        if state is None and answer.misses >= MISSES_NEEDED:
            self.tells(OrderState.NOT_EXECUTED)
        elif state is None or state is OrderState.UNKNOWN:
            self.step = Step.LOOK_UP
        elif state is OrderState.NOT_EXECUTED:
            self.attempts(self.attempt + 1)
        else:
            self.leg = 1
            self.go_on()
        return True

    def lost(self, answer: Any) -> bool:
        """Open again, or give the lane up."""
        if isinstance(answer, Moved):
            self.step, self.not_before_ms = Step.OPEN, 0
            return True
        self.process.hands.pop(self.held, None)
        return False
