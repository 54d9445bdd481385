"""Finds out about orders that Redis may have forgotten, when it came back without its newest writes.

Whatever was admitted before that may have an order at its venue of which no record is left. Such an order is put on
record as one whose outcome is unknown, and then the rules for these hold. What it was is told again where the
instruction comes to the same order whenever it is planned, as most do. Where it depended on what the venue said at the
time, the order is only told by its end, and nothing is sent after it.
"""

from dataclasses import dataclass
from typing import Final

from libs.common.domain.alert import Action
from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import Market, client_order_id
from libs.common.domain.lifecycle import AMBIGUOUS, RESTING, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.store.head import Head, KnownOrder, Moved, Stale
from libs.common.store.lanes import Lanes
from libs.common.store.orders import Doubt, Finding, Orders
from libs.common.telemetry.logs import get_logger
from libs.common.wire import codec
from services.worker.attempts import Attempts
from services.worker.leases import Lease
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.planning import Planner
from services.worker.work import Done, Ended, Step, Work, order_of, plan_of

AGAIN_MS: Final = 1_000
"""How long a lane waits for what its venue did not say."""

RESTING_MS: Final = 10_000
"""How often an order is looked up that rests, and that cannot be followed since nobody knows what it was."""

_OF_TWO: Final = frozenset({Action.TARGET, Action.FLIP})
"""What may come to an order that closes and one that opens."""

log = get_logger()


@dataclass(frozen=True, slots=True)
class Recovered:
    """The venue has told the end of an order whose plan is lost."""

    order: KnownOrder
    done: Done
    may_lack_another: bool
    """Whether another order may have been meant to follow."""


class Recovery:
    """Takes up suspect heads."""

    def __init__(self, *, lanes: Lanes, orders: Orders, attempts: Attempts, planner: Planner) -> None:
        self._lanes = lanes
        self._parker = Parker(lanes)
        self._orders = orders
        self._attempts = attempts
        self._planner = planner

    async def doubt(self, work: Work, leg: int) -> Step:
        """Put a leg on record as one that may have left; answers the head again.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        head, plan = work.head, b""
        if head.plan and (legs := plan_of(head).legs):
            plan = codec.ORDER_PLAN.encode(legs[leg])
        elif not head.plan and not head.orders:
            try:
                remade = await self._planner.remake(work)
            except LookUpUnavailable as error:
                return await self._parker.park(work.lease, AGAIN_MS, Reason.RESOLVING, detail=str(error))
            if remade is not None:
                plan = codec.ORDER_PLAN.encode(remade)
        return await self._doubt(work.lease, head, leg, work.instruction.market, plan)

    async def doubt_blindly(self, lease: Lease, head: Head, leg: int, market: Market) -> Step:
        """Do the same where the head's account, and so its venue, is not known here.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        return await self._doubt(lease, head, leg, market, b"")

    async def _doubt(self, lease: Lease, head: Head, leg: int, market: Market, plan: bytes) -> Step:
        order_id = client_order_id(head.account, head.alert_id, leg)
        log.info("order_suspected", alert_id=head.alert_id, client_order_id=order_id)
        doubt = Doubt(lease.held, head.entry_id, order_id, market, plan)
        return await persist(lambda: self._orders.doubt.submit(doubt), lease)

    async def go_on(self, work: Work) -> Recovered | Ended | Step | None:
        """Find out what a head has come to whose plan is lost; None where certainly nothing, so that it is planned anew.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        last: KnownOrder | None = None
        for leg in (0, 1):
            order = order_of(work.head, leg)
            if order is None or order.state is OrderState.NOT_EXECUTED:
                break
            if order.state in AMBIGUOUS:
                found = await self._attempts.look_up(work, order)
                if isinstance(found, OrderReport):
                    return await self._note(work, order, found)
                return await self._open_again(work) if found is None else found
            if order.state in RESTING:
                return await self._look_again(work, order)
            last = order
        if last is None:
            return None
        report = codec.ORDER_REPORT.decode(last.answer)
        is_first = last.client_order_id == client_order_id(work.head.account, work.head.alert_id, 0)
        has_traded = report.state is OrderState.FILLED or report.filled_quantity > 0
        may_lack_another = is_first and has_traded and work.instruction.action in _OF_TWO
        return Recovered(last, Done(last.attempt, report), may_lack_another)

    async def _look_again(self, work: Work, order: KnownOrder) -> Step:
        """Look up an order that rests at its venue, until it does no more."""
        try:
            found = await work.account.broker.find(order.client_order_id, work.instruction.market)
        except LookUpUnavailable as error:
            return await self._parker.park(work.lease, AGAIN_MS, Reason.RESOLVING, detail=str(error))
        if found is not None and found.state is not order.state:
            return await self._note(work, order, found)
        detail = f"order {order.client_order_id} rests at its venue, and its plan is lost"
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
