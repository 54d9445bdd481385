"""Finds out about orders that Redis may have forgotten, when it came back without its newest writes.

Whatever was admitted before that may have an order at its venue of which no record is left. Such an order is put on
record as one whose outcome is unknown, and then the rules for these hold. What it was is told again where the
instruction comes to the same order whenever it is planned, as most do. Where it depended on what the venue said at the
time, the order is only told by its end, and nothing is sent after it.
"""

from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import LookUpUnavailable, StoreCorrupt
from libs.common.domain.ids import Market, client_order_id
from libs.common.domain.instruction import Instruction
from libs.common.domain.lifecycle import AMBIGUOUS, RESTING, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.policy.following import LOST_LOOK_UPS
from libs.common.store.head import Closed, HandedBack, Head, KnownOrder, Moved, Stale
from libs.common.store.lanes import Lanes
from libs.common.store.order_answers import Noted, TooEarly
from libs.common.store.orders import Doubt, Finding, Orders
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.doubts import has_no_orders, may_be_of_two, order_of
from services.worker.leases import Lease
from services.worker.look_ups import LookUps
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.planning import Planner
from services.worker.resolver import Adopted, NeverExecuted
from services.worker.work import AGAIN_MS, Done, Ended, Step, Work, plan_of

RESTING_MS: Final = 10_000
"""How often an order is looked up that rests, and that cannot be followed since nobody knows what it was."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Recovered:
    """The venue has told the end of an order whose plan is lost."""

    order: KnownOrder
    done: Done
    may_lack_another: bool
    """Whether another order may have been meant to follow."""


@dataclass(frozen=True, slots=True)
class NothingExecuted:
    """Certainly nothing of the head was executed: it is planned anew."""


class Recovery:
    """Takes up suspect heads."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        orders: Orders,
        look_ups: LookUps,
        planner: Planner,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._lanes = lanes
        self._parker = Parker(lanes)
        self._orders = orders
        self._look_ups = look_ups
        self._planner = planner
        self._clock = clock
        self._metrics = metrics

    async def doubt(self, work: Work, leg: int) -> Step:
        """Put a leg on record as one that may have left; answers the head again.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        head, plan = work.head, b""
        order = order_of(head, leg)
        # Planned anew, it may have left as another than the one on record.
        may_be_another = leg == 0 and order is not None and order.state is OrderState.NOT_EXECUTED
        if head.plan and not may_be_another:
            plan = _plan_of_leg(head, leg)
        elif may_be_another or not head.orders:
            try:
                remade = await self._planner.remake(work)
            except LookUpUnavailable as error:
                if work.left_ms(self._clock):
                    return await self._parker.park(work.lease, AGAIN_MS, Reason.RESOLVING, detail=str(error))
                # What the venue may never tell must not keep the order from being looked up, or decided by an operator.
                remade = None
            if remade is not None:
                plan = codec.ORDER_PLAN.encode(remade)
        return await self._doubt(work.lease, head, leg, work.instruction.market, plan, work.instruction)

    async def doubt_blindly(
        self, lease: Lease, head: Head, leg: int, market: Market, instruction: Instruction | None
    ) -> Step:
        """Do the same where the venue cannot be asked here: the account is not known, or the instruction (None).

        Raises:
            StoreUnavailable: The lane is lost.
        """
        return await self._doubt(lease, head, leg, market, b"", instruction)

    async def _doubt(
        self,
        lease: Lease,
        head: Head,
        leg: int,
        market: Market,
        plan: bytes,
        instruction: Instruction | None,
    ) -> Step:
        order_id = client_order_id(head.account, head.alert_id, leg)
        may_exist = instruction is None or not has_no_orders(instruction)
        log.info("order_suspected", client_order_id=order_id, may_exist=may_exist)
        doubt = Doubt(lease.held, head.entry_id, order_id, market, plan, may_exist)
        return await persist(lambda: self._orders.doubt.submit(doubt), lease)

    async def go_on(self, work: Work) -> Recovered | NothingExecuted | Ended | Step:
        """Find out what a head has come to whose plan is lost.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        last: KnownOrder | None = None
        for leg in (0, 1):
            order = order_of(work.head, leg)
            if order is None or order.state is OrderState.NOT_EXECUTED:
                break
            if order.state in AMBIGUOUS:
                found = await self._look_ups.look_up(
                    work, order.client_order_id, order.attempt, unknown_for_ms=work.unknown_for_ms(order)
                )
                match found:
                    case Adopted(report):
                        return await self._note(work, order, report)
                    case NeverExecuted():
                        return await self._open_again(work)
                    case Ended() | Head() | Closed() | HandedBack() | Moved() | Stale():
                        return found
                    case _:
                        assert_never(found)
            if order.state in RESTING:
                return await self._look_again(work, order)
            last = order
        if last is None:
            return NothingExecuted()
        report = codec.ORDER_REPORT.decode(last.answer)
        is_first = last.client_order_id == client_order_id(work.head.account, work.head.alert_id, 0)
        has_traded = report.state is OrderState.FILLED or report.filled_quantity > 0
        may_lack_another = is_first and has_traded and may_be_of_two(work.instruction)
        return Recovered(last, Done(last.attempt, report), may_lack_another)

    async def _look_again(self, work: Work, order: KnownOrder) -> Step:
        """Look up an order that rests at its venue, until it does no more."""
        try:
            found = await work.account.broker.find(order.client_order_id, work.instruction.market)
        except LookUpUnavailable as error:
            return await self._parker.park(work.lease, AGAIN_MS, Reason.RESOLVING, detail=str(error))
        if found is None:
            return await self._miss(work, order)
        if order.state is OrderState.PARTIAL and found.state is OrderState.REJECTED:
            # As in `policy/following.py`: what is filled in part was not refused.
            found = msgspec.structs.replace(found, state=OrderState.CANCELED)
        # A part that was filled stays filled, whatever a venue that lags says.
        is_back = order.state is OrderState.PARTIAL and found.state is OrderState.ACCEPTED
        if found.state is not order.state and not is_back:
            return await self._note(work, order, found)
        detail = f"order {order.client_order_id} rests at its venue, and its plan is lost"
        return await self._parker.park(work.lease, RESTING_MS, Reason.RESOLVING, detail=detail)

    async def _miss(self, work: Work, order: KnownOrder) -> Step:
        """Count a look-up that did not find an order that rested; after some of them an operator should decide.

        It may have been filled and be forgotten since: nothing of it is ever sent again for that.
        """
        finding = Finding(
            work.held,
            order.client_order_id,
            order.attempt,
            None,
            None,
            margin_ms=0,
            answer=order.answer,
        )
        noted = await persist(lambda: self._orders.resolve.submit(finding), work.lease)
        match noted:
            case Moved() | Stale():
                return noted
            case TooEarly():
                pass
            case Noted(misses):
                if misses >= LOST_LOOK_UPS:
                    log.error("order_held", client_order_id=order.client_order_id, look_ups=misses)
                    self._metrics.order_held(work.head.account)
            case _:
                assert_never(noted)
        detail = f"order {order.client_order_id} rested, its venue knows it no more, and its plan is lost"
        return await self._parker.park(work.lease, RESTING_MS, Reason.RESOLVING, detail=detail)

    async def _note(self, work: Work, order: KnownOrder, report: OrderReport) -> Step:
        finding = Finding(
            work.held,
            order.client_order_id,
            order.attempt,
            report.state,
            None,
            margin_ms=0,
            detail="found at its venue",
            answer=codec.ORDER_REPORT.encode(report),
            market=work.instruction.market,
        )
        noted = await persist(lambda: self._orders.resolve.submit(finding), work.lease)
        return noted if isinstance(noted, Moved | Stale) else await self._open_again(work)

    async def _open_again(self, work: Work) -> Step:
        return await persist(lambda: self._lanes.open.submit(work.held), work.lease)


def _plan_of_leg(head: Head, leg: int) -> bytes:
    """Return what is on record of what an order was; empty where nobody can read it, or there is none."""
    try:
        legs = plan_of(head).legs
    except StoreCorrupt:
        return b""
    return codec.ORDER_PLAN.encode(legs[leg]) if leg < len(legs) else b""
