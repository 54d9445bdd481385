"""Takes one instruction through: age -> plan -> cancels -> one order after the other -> settle."""

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BrokerError,
    LookUpUnavailable,
    OrderRejected,
    StoreCorrupt,
)
from libs.common.domain.ids import AccountName, client_order_id, market_of
from libs.common.domain.instruction import SCHEMA_VERSION
from libs.common.domain.lifecycle import RESTING, InstructionState, OrderState
from libs.common.domain.order import OrderReport, Plan
from libs.common.domain.reasons import Reason
from libs.common.policy.exact import signed, subtract
from libs.common.policy.following import see
from libs.common.policy.poison import Treatment, treatment
from libs.common.policy.retry import backoff_ms
from libs.common.store.head import Closed, Head, Moved, Stale
from libs.common.store.lanes import HandedBack, Lanes
from libs.common.store.order_answers import Expired, Halted, Planned, Wait
from libs.common.store.orders import Finding, OrderOutcome, Orders, Planning, Settlement
from libs.common.telemetry.execution_spans import note_ended, note_instruction
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.attempts import Attempts
from services.worker.doubts import doubtful_leg, has_ambiguous_order, is_ambiguous
from services.worker.leases import Lease
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.planning import Made, Planner, Unread
from services.worker.recovery import NothingExecuted, Recovered, Recovery
from services.worker.work import (
    TOO_OLD,
    Done,
    Ended,
    Leg,
    Step,
    Work,
    plan_of,
)

FOR_OTHERS_MS: Final = 1_000
"""How long a lane waits whose head another worker may be able to execute, as in a rolling update."""

HELD_MS: Final = 5_000
"""How long a lane waits whose head cannot be settled, because its order may still execute."""

AGAIN_MS: Final = 1_000
"""How long a lane waits for what its venue did not say, or has not confirmed yet."""

log = get_logger()


class Executor:
    """Executes heads; knows nothing of lanes, slots or reading."""

    def __init__(
        self,
        *,
        accounts: Mapping[AccountName, Account],
        lanes: Lanes,
        orders: Orders,
        attempts: Attempts,
        planner: Planner,
        clock: Clock,
        metrics: WorkerMetrics,
        poison_limit: int,
    ) -> None:
        self._accounts = accounts
        self._parker = Parker(lanes)
        self._orders = orders
        self._attempts = attempts
        self._planner = planner
        self._lanes = lanes
        self._recovery = Recovery(
            lanes=lanes, orders=orders, attempts=attempts, planner=planner, clock=clock, metrics=metrics
        )
        self._clock = clock
        self._metrics = metrics
        self._poison_limit = poison_limit

    def treatment(self, head: Head) -> Treatment:
        """Decide how a head is to be executed."""
        return treatment(head.lost_holders, limit=self._poison_limit, is_order_ambiguous=is_ambiguous(head))

    async def execute(self, lease: Lease, head: Head) -> Step:
        """Execute the head of a held lane, as far as it can be now.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
            StoreCorrupt: A record of this head cannot be used.
        """
        begun_at_ms = self._clock.monotonic_ms()
        leg = doubtful_leg(head)
        if head.version > SCHEMA_VERSION:
            if leg is not None and head.now_ms >= head.deadline_ms:
                # Nobody who can read it may ever come: an operator can tell.
                return await self._recovery.doubt_blindly(lease, head, leg, market_of(lease.held.lane), None)
            return await self._leave_to_others(
                lease, head, Reason.NEWER_VERSION, "only a newer worker can read it"
            )
        if self.treatment(head) is Treatment.GIVE_UP:
            detail = f"{head.lost_holders} workers died or failed on it"
            return await self._settle(lease, head, Ended(InstructionState.DEAD, Reason.POISON, detail))
        try:
            instruction = codec.INSTRUCTION.decode(head.body)
        except StoreCorrupt as error:
            ended = Ended(InstructionState.DEAD, Reason.MALFORMED, str(error))
            return await self._end_unplanned(lease, head, ended)
        account = self._accounts.get(head.account)
        if account is None and leg is not None:
            # So that it is found among the orders that nobody can tell, and an operator can.
            return await self._recovery.doubt_blindly(lease, head, leg, instruction.market, instruction)
        if account is None:
            detail = f"account {head.account!r} is not in the configuration"
            return await self._leave_to_others(lease, head, Reason.UNKNOWN_ACCOUNT, detail)
        work = Work(lease.held, lease, head, instruction, account, begun_at_ms)
        note_instruction(instruction.symbol or instruction.market, instruction.market, instruction.strategy)
        if leg is not None:
            return await self._recovery.doubt(work, leg)
        if head.orders and not head.plan:
            recovered = await self._recovery.go_on(work)
            match recovered:
                case Recovered():
                    return await self._end_recovered(work, recovered)
                case Ended():
                    return await self._settle(lease, head, recovered)
                case NothingExecuted():
                    pass
                case Head() | Closed() | HandedBack() | Moved() | Stale():
                    return recovered
                case _:
                    assert_never(recovered)
        if head.plan and (plan := _standing_plan(head)) is not None:
            return await self._carry_out(work, Made(plan), is_recorded=True)
        if work.left_ms(self._clock) == 0:
            # The venue need not be asked for what will not be sent.
            return await self._settle(lease, head, TOO_OLD)
        planned = await self._planner.plan(work)
        match planned:
            case Made():
                return await self._carry_out(work, planned, is_recorded=False)
            case Ended():
                return await self._end_unplanned(lease, head, planned)
            case Unread():
                return await self._ask_again(work, planned)
            case _:
                assert_never(planned)

    async def _carry_out(self, work: Work, made: Made, *, is_recorded: bool) -> Step:
        """Do all that a plan names, from where it stands."""
        plan = made.plan
        # One that cancels alone may have an order on record all the same, which never was; see `doubt`.
        if plan.cancels and (not work.head.orders or not plan.legs):
            step = await self._cancel(work, made)
            if step is not None:
                return step
        last = len(plan.legs) - 1
        for index, order_plan in enumerate(plan.legs):
            order_id = client_order_id(work.head.account, work.head.alert_id, index)
            known = work.order(order_id)
            if is_recorded and index == last and (known is None or known.state is OrderState.NOT_EXECUTED):
                judged = await self._planner.judge(work, plan)
                match judged:
                    case Ended():
                        return await self._settle(work.lease, work.head, judged)
                    case Unread():
                        return await self._ask_again(work, judged)
                    case _:
                        made = judged
            leg = Leg(
                index=index,
                plan=order_plan,
                client_order_id=order_id,
                whole=plan if len(plan.legs) > 1 or plan.cancels else None,
                led_to_it=made.led_to_it(),
                budgets=made.budgets if index == last else b"",
                read_at_ms=made.read_at_ms,
            )
            outcome = await self._attempts.run(work, leg)
            match outcome:
                case Done():
                    pass
                case Ended():
                    return await self._settle(work.lease, work.head, outcome)
                case _:
                    return outcome
            if index == last:
                return await self._end(work, leg, outcome)
            step = await self._confirm(work, leg, outcome)
            if step is not None:
                return step
        return await self._settle(work.lease, work.head, _CANCELED)

    async def _cancel(self, work: Work, made: Made) -> Step | None:
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
                return await self._settle(work.lease, work.head, ended)
            case Expired():
                return await self._settle(work.lease, work.head, TOO_OLD)
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
            return await self._settle(work.lease, work.head, ended)
        except BrokerError as error:
            # Cancelling the same orders again is harmless.
            return await self._ask_again(work, Unread(f"not cancelled: {error}"))
        return None

    async def _confirm(self, work: Work, leg: Leg, done: Done) -> Step | None:
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
                return await self._settle(work.lease, work.head, ended)
            return await self._parker.park(work.lease, AGAIN_MS, Reason.AWAITING_FILL)
        detail = f"the order that closes ended {report.state}, so the one that opens was not sent"
        if report.detail:
            detail += f": {report.detail}"
        ended = Ended(InstructionState.REJECTED, Reason.NOT_CONFIRMED, detail)
        return await self._settle(work.lease, work.head, ended)

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

    async def _end(self, work: Work, leg: Leg, done: Done) -> Step:
        """Settle by what the venue said of the last order."""
        outcome = OrderOutcome(
            leg.client_order_id,
            done.attempt,
            done.report.state,
            codec.ORDER_REPORT.encode(done.report),
            work.instruction.market,
            _newly_filled(work, leg, done.report),
        )
        return await self._settle(work.lease, work.head, _ended_by(done), outcome)

    async def _end_recovered(self, work: Work, recovered: Recovered) -> Step:
        """Settle by what the venue said of an order whose plan is lost."""
        order, done = recovered.order, recovered.done
        if recovered.may_lack_another:
            detail = f"order {order.client_order_id} was executed, and whether another was to follow is lost"
            ended = Ended(InstructionState.DEAD, Reason.OUTCOME_UNKNOWN, detail)
            log.error("order_given_up", client_order_id=order.client_order_id)
        else:
            ended = _ended_by(done)
        outcome = OrderOutcome(order.client_order_id, order.attempt, order.state, order.answer)
        return await self._settle(work.lease, work.head, ended, outcome)

    async def _leave_to_others(self, lease: Lease, head: Head, reason: Reason, detail: str) -> Step:
        """Park a head that this worker cannot execute, though another may; end it when its time is over."""
        is_over = head.now_ms >= head.deadline_ms
        if not is_over or is_ambiguous(head):
            # In the end counted among the lanes that an operator can help.
            waits_for = Reason.RESOLVING if is_over else reason
            return await self._parker.park(lease, FOR_OTHERS_MS, waits_for, detail=detail)
        return await self._settle(lease, head, Ended(InstructionState.EXPIRED, reason, detail))

    async def _end_unplanned(self, lease: Lease, head: Head, ended: Ended) -> Step:
        """End a head that cannot be executed at all; unless an order of it may still be executing."""
        if has_ambiguous_order(head):
            log.error("head_held", reason=ended.reason, detail=ended.detail)
            return await self._parker.park(lease, HELD_MS, Reason.RESOLVING, detail=ended.detail)
        return await self._settle(lease, head, ended)

    async def _ask_again(self, work: Work, unread: Unread) -> Step:
        """Park a head of which cannot be told now what it depends on; end it when its time is over."""
        left_ms = work.left_ms(self._clock)
        if left_ms == 0:
            return await self._settle(
                work.lease, work.head, Ended(InstructionState.EXPIRED, Reason.TOO_OLD, unread.detail)
            )
        wait_ms = unread.wait_ms
        if wait_ms is None:
            wait_ms = AGAIN_MS + backoff_ms(1, base_ms=AGAIN_MS, cap_ms=AGAIN_MS, uniform=random.uniform)
        return await self._parker.park(work.lease, min(wait_ms, left_ms), unread.reason, detail=unread.detail)

    async def _settle(
        self, lease: Lease, head: Head, ended: Ended, order: OrderOutcome | None = None
    ) -> Step:
        settlement = Settlement(lease.held, head.entry_id, ended.state, ended.reason, ended.detail, order)
        following = await persist(lambda: self._orders.settle.submit(settlement), lease)
        if not isinstance(following, Moved | Stale):
            self._metrics.settled(ended.state, ended.reason)
            note_ended(ended.state, ended.reason)
            if ended.state is not InstructionState.EXECUTED:
                log.info("instruction_ended", state=ended.state, reason=ended.reason)
        return following


_CANCELED: Final = Ended(InstructionState.EXECUTED, Reason.CANCELED)


def _standing_plan(head: Head) -> Plan | None:
    """Return the plan on record; None where certainly nothing of it was executed, so that another may be made.

    What it was made from may have changed since: the position, the price, the equity.
    """
    plan = plan_of(head)
    is_untouched = all(order.state is OrderState.NOT_EXECUTED for order in head.orders)
    return None if is_untouched and not plan.cancels else plan


def _ended_by(done: Done) -> Ended:
    """Return how an instruction ends by what became of its last order."""
    report = done.report
    match report.state:
        case OrderState.FILLED:
            state, reason = InstructionState.EXECUTED, Reason.FILLED
        case OrderState.ACCEPTED | OrderState.PARTIAL:
            state, reason = InstructionState.EXECUTED, Reason.ACCEPTED
        case _ if report.filled_quantity > 0:
            # It ended at the venue, but a part was traded: there is a position, and nothing to replay.
            state, reason = InstructionState.EXECUTED, Reason.PARTLY_FILLED
        case _:
            state, reason = InstructionState.REJECTED, done.refused_for
    return Ended(state, reason, report.detail or "")


def _newly_filled(work: Work, leg: Leg, report: OrderReport) -> str:
    """Return the signed quantity that nobody noted yet; empty where there is none, or nobody compares."""
    if not work.account.is_reconciled:
        return ""
    known = work.order(leg.client_order_id)
    before = codec.ORDER_REPORT.decode(known.answer).filled_quantity if known and known.answer else Decimal(0)
    filled = subtract(report.filled_quantity, before)
    return format(signed(leg.plan.side, filled), "f") if filled else ""
