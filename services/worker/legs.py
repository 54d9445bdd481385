"""Does what a plan names: its cancels, then one order after the other."""

from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BrokerError, LookUpUnavailable, OrderRejected
from libs.common.domain.ids import client_order_id
from libs.common.domain.lifecycle import RESTING, InstructionState, OrderState
from libs.common.domain.order import OrderReport
from libs.common.domain.reasons import Reason
from libs.common.policy.exact import signed, subtract
from libs.common.policy.following import see
from libs.common.store.head import Moved, Stale
from libs.common.store.lanes import Lanes
from libs.common.store.order_answers import Expired, Halted, Planned, Wait
from libs.common.store.orders import Finding, OrderOutcome, Orders, Planning
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.ahead import Ahead
from services.worker.attempts import Attempts, Outcome
from services.worker.endings import Endings, ended_by
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.planning import Made, Planner
from services.worker.work import AGAIN_MS, TOO_OLD, BegunHead, Done, Ended, Leg, Next, Unread, Work

_CANCELED: Final = Ended(InstructionState.EXECUTED, Reason.CANCELED)


class Legs:
    """Carries out plans."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        orders: Orders,
        attempts: Attempts,
        ahead: Ahead,
        planner: Planner,
        endings: Endings,
        parker: Parker,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._lanes = lanes
        self._orders = orders
        self._attempts = attempts
        self._ahead = ahead
        self._planner = planner
        self._endings = endings
        self._parker = parker
        self._clock = clock
        self._metrics = metrics

    async def carry_out(self, work: Work, made: Made, *, is_recorded: bool) -> Next:
        """Do all that a plan names, from where it stands.

        Args:
            work: The head.
            made: Its plan.
            is_recorded: Whether it was on record already: then what it was judged by may have changed since.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
            StoreCorrupt: A record of this head cannot be used.
        """
        plan = made.plan
        # One that cancels alone may have an order on record all the same, which never was; see `doubt`.
        if plan.cancels and (not work.head.orders or not plan.legs):
            step = await self._cancel(work, made)
            if step is not None:
                return step
        last = len(plan.legs) - 1
        for index in range(len(plan.legs)):
            known = work.order(client_order_id(work.head.account, work.head.alert_id, index))
            if is_recorded and index == last and (known is None or known.state is OrderState.NOT_EXECUTED):
                judged = await self._planner.judge(work, plan)
                match judged:
                    case Ended():
                        return await self._endings.settle(work.lease, work.head, judged)
                    case Unread():
                        return await self._endings.ask_again(work, judged)
                    case _:
                        made = judged
            leg = made.leg(work.head, index)
            outcome = await self._attempts.run(work, leg)
            if index == last or not isinstance(outcome, Done):
                return await self._conclude(work, leg, outcome)
            step = await self._confirm(work, leg, outcome)
            if step is not None:
                return step
        return await self._endings.settle(work.lease, work.head, _CANCELED)

    async def go_on(self, begun: BegunHead) -> Next:
        """Do what a plan of one order names, which was begun by the call that made it the head.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
            StoreCorrupt: A record of this head cannot be used.
        """
        return await self._conclude(begun.work, begun.leg, await self._attempts.go_on(begun))

    async def _conclude(self, work: Work, leg: Leg, outcome: Outcome) -> Next:
        """Settle what can be, by what became of the last order, or of the one that another would have followed."""
        match outcome:
            case Done():
                return await self._end(work, leg, outcome)
            case Ended():
                return await self._endings.settle(work.lease, work.head, outcome)
            case _:
                return outcome

    async def _cancel(self, work: Work, made: Made) -> Next | None:
        """Cancel the resting orders that a plan names, once it is on disk; None where the plan goes on."""
        planning = Planning(
            work.held,
            work.head.entry_id,
            codec.PLAN.encode(made.plan),
            work.instruction.market,
            work.instruction.strategy,
            made.led_to_it(),
        )
        # Again, where it is on disk already: halts and age hold for whoever takes over too.
        planned = await persist(lambda: self._orders.plan.submit(planning), work.lease)
        match planned:
            case Planned():
                pass
            case Wait(until_ms, reason, _, detail):
                self._metrics.waited(reason)
                return await self._parker.park_until(work.lease, until_ms, reason, detail=detail)
            case Halted(detail):
                ended = Ended(InstructionState.REJECTED, Reason.HALTED, detail)
                return await self._endings.settle(work.lease, work.head, ended)
            case Expired():
                return await self._endings.settle(work.lease, work.head, TOO_OLD)
            case Moved() | Stale():
                return planned
            case _:
                assert_never(planned)
        try:
            await work.account.broker.cancel_open(
                work.instruction.market, made.plan.cancels, work.lease.is_ours
            )
        except OrderRejected as error:
            ended = Ended(InstructionState.REJECTED, Reason.VENUE_REJECTED, str(error))
            return await self._endings.settle(work.lease, work.head, ended)
        except BrokerError as error:
            # Cancelling the same orders again is harmless.
            return await self._endings.ask_again(work, Unread(f"not cancelled: {error}"))
        return None

    async def _confirm(self, work: Work, leg: Leg, done: Done) -> Next | None:
        """Note what a leg came to that another one waits for; None where that one may go."""
        known = work.order(leg.client_order_id)
        is_suspect = work.head.is_suspect
        try:
            report = await self._look_again(work, leg, done.report)
        except LookUpUnavailable as error:
            if is_suspect:
                # Forgotten may be that it was filled, and that the other one left then.
                return await self._parker.park(work.lease, AGAIN_MS, Reason.RESOLVING, detail=str(error))
            report = done.report
        if known is None or known.state is not report.state:
            finding = Finding(
                work.held,
                leg.client_order_id,
                done.attempt,
                report.state,
                None,
                margin_ms=0,
                answer=codec.ORDER_REPORT.encode(report),
                market=work.instruction.market,
                filled=_newly_filled(work, leg, report),
            )
            noted = await persist(lambda: self._orders.resolve.submit(finding), work.lease)
            if isinstance(noted, Moved | Stale):
                return noted
            if is_suspect:
                # Filled only now, as far as Redis knows: the other one is looked up before anything is judged or sent.
                return await persist(lambda: self._lanes.open.submit(work.held), work.lease)
        if report.state is OrderState.FILLED:
            return None
        if report.state in RESTING:
            if work.left_ms(self._clock) == 0:
                detail = "the order that closes is not filled yet, so the one that opens was not sent"
                ended = Ended(InstructionState.EXPIRED, Reason.NOT_CONFIRMED, detail)
                return await self._endings.settle(work.lease, work.head, ended)
            return await self._parker.park(work.lease, AGAIN_MS, Reason.AWAITING_FILL)
        detail = f"the order that closes ended {report.state}, so the one that opens was not sent"
        if report.detail:
            detail += f": {report.detail}"
        ended = Ended(InstructionState.REJECTED, Reason.NOT_CONFIRMED, detail)
        return await self._endings.settle(work.lease, work.head, ended)

    async def _look_again(self, work: Work, leg: Leg, report: OrderReport) -> OrderReport:
        """Return what an order is by now that rested when it was last heard of; what was filled once stays filled.

        Raises:
            LookUpUnavailable: The venue did not say.
        """
        known = work.order(leg.client_order_id)
        if known is None or known.state not in RESTING:
            return see(leg.plan, OrderState.ACCEPTED, None, report).report
        found = await work.account.broker.find(leg.client_order_id, work.instruction.market)
        return report if found is None else see(leg.plan, known.state, report, found).report

    async def _end(self, work: Work, leg: Leg, done: Done) -> Next:
        """Settle by what the venue said of the last order."""
        outcome = OrderOutcome(
            leg.client_order_id,
            done.attempt,
            done.report.state,
            codec.ORDER_REPORT.encode(done.report),
            work.instruction.market,
            _newly_filled(work, leg, done.report),
        )
        return await self._endings.settle(
            work.lease, work.head, ended_by(done), outcome, self._ahead.prepare_next(work)
        )


def _newly_filled(work: Work, leg: Leg, report: OrderReport) -> str:
    """Return the signed quantity that nobody noted yet; empty where there is none, or nobody compares."""
    if not work.account.is_reconciled:
        return ""
    known = work.order(leg.client_order_id)
    before = codec.ORDER_REPORT.decode(known.answer).filled_quantity if known and known.answer else Decimal(0)
    filled = subtract(report.filled_quantity, before)
    return format(signed(leg.plan.side, filled), "f") if filled else ""
