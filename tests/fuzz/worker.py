"""A worker as the protocol has it, in steps that others may come between at any point.

It believes in no lease: what keeps it from harm must be the scripts and the venue's expiry.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import ClientOrderId, Holder, Nonce, client_order_id
from libs.common.domain.lifecycle import AMBIGUOUS, InstructionState, OrderState
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment, treatment
from libs.common.store.breakers import BreakerReport, SharedBreakers
from libs.common.store.head import Closed, HandedBack, Head, Held, Moved, Queued, Stale
from libs.common.store.lanes import Lanes, Parking, Reader
from libs.common.store.order_answers import Begun, BegunNext, Expired, Go, TooEarly, Wait
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
from libs.common.store.retention import Retention
from tests.fuzz.venue import Request

if TYPE_CHECKING:
    from tests.fuzz.world import World

MISSES_NEEDED: Final = 2
POISON_LIMIT: Final = 4
RESET_MS: Final = 40
PROBE_MS: Final = 30
RETENTION: Final = Retention(alerts_ms=86_400_000, dead_letters_ms=2 * 86_400_000)
KILLER: Final = b"kills whoever executes it"
FLIP: Final = b"closes, and then opens"
"""An instruction of two legs."""

_MAY_LACK_ATTEMPTS: Final = AMBIGUOUS | {OrderState.NOT_EXECUTED}

Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Pause:
    """Nothing before that time."""

    until_ms: int


Steps = Generator[Call | Pause, Any, Any]


@dataclass(frozen=True)
class BegunHead:
    """A head that was begun as its lane was taken, or with the end of the one before."""

    head: Head
    intent: Intent
    begun: Begun


def begun_head(queued: Queued, intent: Intent, answer: BegunNext) -> BegunHead:
    """Return what a worker goes on with."""
    head = answer.confirmed(queued.as_head(now_ms=answer.now_ms))
    return BegunHead(head, replace(intent, entry_id=head.entry_id), answer.begun)


class Dropped(Exception):
    """The lane is given up without a word: its lease will lapse."""


class Killed(Exception):
    """The whole process dies."""


class Process:
    """One start of a worker."""

    _numbers = count(1)

    def __init__(self, world: "World") -> None:
        self.holder = Holder(f"w{next(self._numbers)}")
        self.lanes: Lanes = world.network.attach(Lanes(world.client, world.keys, self.holder, now_ms=0))
        self.orders: Orders = world.network.attach(
            Orders(world.client, world.keys, self.holder, RETENTION, now_ms=0)
        )
        self.breakers: SharedBreakers = world.network.attach(
            SharedBreakers(world.client, world.keys, now_ms=0)
        )
        self.reader = Reader(world.client, world.keys, self.holder)
        self.tasks: dict[Held, Task] = {}
        self.reads_own_first = True
        self.stalled_until_ms = 0


class Task:
    """One lane in the hands of one process."""

    def __init__(self, world: "World", process: Process, held: Held, head: Queued | None) -> None:
        self.world = world
        self.rng = world.rng
        self.process = process
        self.held = held
        self.steps = self._run(head)
        self.wakes_at_ms = 0
        self.leg = 0
        self.unsent: Request | None = None
        """A request that has its Go and may leave at any step."""
        self.successor: Queued | None = None
        """What Redis has told is behind the head."""
        self.reply: Any = None
        """What the last call answered, for the next step."""

    def _run(self, head: Queued | None) -> Steps:
        step: Any = yield from self._take(head)
        while not isinstance(step, Closed | Stale | HandedBack):
            if isinstance(step, Moved):
                step = yield from self._ask(lambda: self.process.lanes.open.submit(self.held))
            elif isinstance(step, BegunHead):
                self.leg = 0
                step = yield from self._attempt(step.head, 1, step.intent, step.begun)
            elif self.rng.random() < 0.1:
                step = yield from self._ask(lambda: self.process.lanes.yield_.submit(self.held))
            else:
                step = yield from self._execute(step)

    def _take(self, head: Queued | None) -> Steps:
        """Take the lane, mostly with the begin of what its token told is the head."""
        if head is None or head.body == KILLER or self.rng.random() < 0.2:
            return (yield from self._ask(lambda: self.process.lanes.open.submit(self.held)))
        intent = self._intent(head, client_order_id(head.account, head.alert_id, 0), 1)
        taken = yield from self._ask(lambda: self.process.orders.take.submit(Taking(head.alert_id, intent)))
        if not isinstance(taken, BegunNext):
            return taken
        return begun_head(head, intent, taken)

    def _ask(self, call: Call) -> Steps:
        while True:
            try:
                return (yield call)
            except StoreUnavailable:
                if self.rng.random() < 0.15:
                    raise Dropped from None
            yield Pause(self.world.now_ms + self.rng.randint(0, 20))

    def _execute(self, head: Head) -> Steps:
        leg = self._doubtful_leg(head)
        if leg is not None:
            order_id = client_order_id(head.account, head.alert_id, leg)
            market = self.world.market_of(self.held.lane)
            doubt = Doubt(self.held, head.entry_id, order_id, market, b"plan")
            return (yield from self._ask(lambda: self.process.orders.doubt.submit(doubt)))
        is_ambiguous = any(order.state in AMBIGUOUS for order in head.orders)
        verdict = treatment(head.lost_holders, limit=POISON_LIMIT, is_order_ambiguous=is_ambiguous)
        if verdict is Treatment.GIVE_UP:
            return (yield from self._settle(head, InstructionState.DEAD, Reason.POISON))
        if head.body == KILLER and self.rng.random() < 0.7:
            raise Killed
        if self.rng.random() < 0.01:
            return (yield from self._park(self.rng.randint(0, 30), Reason.FAILED, is_to_blame=True))
        self.leg = 0
        return (yield from self._go_on(head))

    def _doubtful_leg(self, head: Head) -> int | None:
        """Return the leg that may have left without a record, as `services/worker/doubts.py` finds it."""
        if not head.is_suspect:
            return None
        for leg in (0, 1) if head.body == FLIP else (0,):
            order_id = client_order_id(head.account, head.alert_id, leg)
            order = next((one for one in head.orders if one.client_order_id == order_id), None)
            if order is None or (not order.is_cleared and order.state in _MAY_LACK_ATTEMPTS):
                return leg
            if order.state is not OrderState.FILLED:
                return None
        return None

    def _go_on(self, head: Head) -> Steps:
        order = next((one for one in head.orders if one.client_order_id == self._order_id(head)), None)
        if order is None:
            return (yield from self._attempt(head, 1))
        if order.state in AMBIGUOUS:
            return (yield from self._resolve(head, order.attempt))
        if order.state is OrderState.NOT_EXECUTED:
            return (yield from self._attempt(head, order.attempt + 1))
        return (yield from self._end(head, order.attempt, order.state, is_recorded=True))

    def _intent(self, head: Head | Queued, order_id: ClientOrderId, attempt: int) -> Intent:
        symbol, account = self.world.limits
        return Intent(
            held=self.held,
            entry_id=head.entry_id,
            account=head.account,
            market=self.world.market_of(self.held.lane),
            client_order_id=order_id,
            attempt=attempt,
            nonce=Nonce(f"n{self.rng.getrandbits(48)}"),
            window_ms=self.rng.randint(*self.world.windows_ms),
            plan=b"plan",
            symbol_limit=symbol,
            account_limit=account,
            probe_ms=PROBE_MS,
            is_lease_young=self.rng.random() < 0.5,
            wants_successor=self.rng.random() < 0.7,
        )

    def _attempt(self, head: Head, attempt: int, intent: Intent | None = None, begun: Any = None) -> Steps:
        """Make an attempt, unless the end of the head before has begun it already."""
        scope = str(self.held.lane)
        if intent is None:
            intent = self._intent(head, self._order_id(head), attempt)
        nonce = intent.nonce
        while True:
            if begun is None:
                begun = yield from self._ask(lambda: self.process.orders.begin.submit(intent))
            if isinstance(begun, Go):
                self.successor = begun.successor
                break
            if isinstance(begun, Expired):
                return (yield from self._settle(head, InstructionState.EXPIRED, Reason.TOO_OLD))
            if not isinstance(begun, Wait):
                return begun
            if begun.until_ms - begun.now_ms > 250 or self.rng.random() < 0.5:
                return (yield from self._park_until(begun.until_ms, begun.reason))
            yield Pause(begun.until_ms)
            begun = None
        self.unsent = Request(
            order_id=self._order_id(head),
            lane=self.held.lane,
            position=self.world.promises.positions.get((head.alert_id, head.account), 0),
            expires_at_ms=begun.expires_at_ms,
            deadline_ms=head.deadline_ms,
            nonce=nonce,
        )
        yield Pause(self.world.now_ms + begun.wait_ms)
        return (yield from self._place(head, attempt, nonce, begun, scope))

    def _place(self, head: Head, attempt: int, nonce: Nonce, go: Go, scope: str) -> Steps:
        request, self.unsent = self.unsent, None
        assert request is not None
        venue, now_ms = self.world.venue, self.world.now_ms
        fate = self.rng.random()
        if fate < 0.1:
            # "Too many requests", or it never left: certainly not executed.
            finding = self._finding(head, attempt, OrderState.NOT_EXECUTED, nonce)
            noted = yield from self._ask(lambda: self.process.orders.resolve.submit(finding))
            if isinstance(noted, Moved | Stale):
                return noted
            if self.rng.random() < 0.5:
                return (yield from self._park(self.rng.randint(0, 60), Reason.BACK_OFF))
            return (yield from self._attempt(head, attempt + 1))
        if fate < 0.15:
            return (yield from self._end(head, attempt, OrderState.REJECTED))
        if fate < 0.75:
            if venue.arrive(request, now_ms):
                if go.market_breaker.is_probe:
                    yield from self._report(scope, go, opens=False)
                if self.rng.random() < 0.85:
                    return (yield from self._end(head, attempt, OrderState.FILLED))
        elif fate < 0.9:
            venue.delay(request, now_ms + self.rng.randint(1, 90))
        # Whatever became of it, no answer came.
        if self.rng.random() < 0.3:
            yield from self._report(scope, go, opens=True)
        if self.rng.random() < 0.5:
            finding = self._finding(head, attempt, OrderState.UNKNOWN)
            noted = yield from self._ask(lambda: self.process.orders.resolve.submit(finding))
            if isinstance(noted, Moved | Stale):
                return noted
        return (yield from self._resolve(head, attempt))

    def _resolve(self, head: Head, attempt: int) -> Steps:
        misses = 0
        while misses < MISSES_NEEDED:
            is_known = self.world.venue.knows(self._order_id(head))
            if self.rng.random() < 0.5:
                yield Pause(self.world.now_ms + self.rng.randint(0, 15))
            if is_known:
                return (yield from self._end(head, attempt, OrderState.FILLED))
            miss = self._finding(head, attempt, None)
            noted = yield from self._ask(lambda miss=miss: self.process.orders.resolve.submit(miss))  # type: ignore[misc]
            if isinstance(noted, Moved | Stale):
                return noted
            if isinstance(noted, TooEarly):
                if self.rng.random() < 0.4:
                    return (yield from self._park(noted.wait_ms, Reason.RESOLVING))
                yield Pause(self.world.now_ms + noted.wait_ms)
            else:
                misses = noted.misses
        finding = self._finding(head, attempt, OrderState.NOT_EXECUTED)
        noted = yield from self._ask(lambda: self.process.orders.resolve.submit(finding))
        if isinstance(noted, Moved | Stale):
            return noted
        if isinstance(noted, TooEarly):
            return (yield from self._park(noted.wait_ms, Reason.RESOLVING))
        return (yield from self._attempt(head, attempt + 1))

    def _end(self, head: Head, attempt: int, order: OrderState, *, is_recorded: bool = False) -> Steps:
        if self.leg == 0 and head.body == FLIP and order is OrderState.FILLED:
            if not is_recorded:
                order_id = self._order_id(head)
                finding = Finding(self.held, order_id, attempt, order, None, margin_ms=0, answer=b"report")
                noted = yield from self._ask(lambda: self.process.orders.resolve.submit(finding))
                if isinstance(noted, Moved | Stale):
                    return noted
            self.leg = 1
            return (yield from self._go_on(head))
        outcome = OrderOutcome(self._order_id(head), attempt, order, b"report")
        if order is OrderState.FILLED:
            return (yield from self._settle(head, InstructionState.EXECUTED, Reason.FILLED, outcome))
        return (yield from self._settle(head, InstructionState.REJECTED, Reason.VENUE_REJECTED, outcome))

    def _settle(
        self, head: Head, state: InstructionState, reason: Reason, order: OrderOutcome | None = None
    ) -> Steps:
        goes_back = self.rng.choice((GoesBack.NO, GoesBack.NO, GoesBack.IF_WANTED, GoesBack.ALWAYS))
        successor, self.successor, intent = self.successor, None, None
        if successor is not None and successor.body != KILLER and self.rng.random() < 0.8:
            order_id = client_order_id(successor.account, successor.alert_id, 0)
            intent = self._intent(successor, order_id, 1)
        settlement = Settlement(self.held, head.entry_id, state, reason, "", order, goes_back, intent)
        settled = yield from self._ask(lambda: self.process.orders.settle.submit(settlement))
        if not isinstance(settled, BegunNext):
            return settled
        assert successor is not None
        assert intent is not None
        return begun_head(successor, intent, settled)

    def _park(self, wait_ms: int, reason: Reason, *, is_to_blame: bool = False) -> Steps:
        parking = Parking(self.held, wait_ms, 0, reason, is_to_blame)
        return (yield from self._ask(lambda: self.process.lanes.park.submit(parking)))

    def _park_until(self, due_at_ms: int, reason: Reason) -> Steps:
        parking = Parking(self.held, None, due_at_ms, reason)
        return (yield from self._ask(lambda: self.process.lanes.park.submit(parking)))

    def _report(self, scope: str, go: Go, *, opens: bool) -> Steps:
        report = BreakerReport(scope, go.market_breaker.generation, opens, RESET_MS)
        try:
            yield lambda: self.process.breakers.report(report)
        except StoreUnavailable:
            return

    def _finding(
        self, head: Head, attempt: int, state: OrderState | None, nonce: Nonce | None = None
    ) -> Finding:
        return Finding(self.held, self._order_id(head), attempt, state, nonce, margin_ms=0)

    def _order_id(self, head: Head) -> ClientOrderId:
        return client_order_id(head.account, head.alert_id, self.leg)
