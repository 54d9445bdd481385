"""Takes one instruction through: age -> plan -> cancels -> one order after the other -> settle."""

from collections.abc import Mapping
from typing import assert_never

from libs.common.domain.clock import Clock
from libs.common.domain.errors import StoreCorrupt
from libs.common.domain.ids import AccountName, market_of
from libs.common.domain.instruction import SCHEMA_VERSION, Instruction
from libs.common.domain.lifecycle import InstructionState, OrderState
from libs.common.domain.order import Plan
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment, treatment
from libs.common.store.head import Closed, HandedBack, Head, Moved, Stale
from libs.common.store.lanes import Lanes
from libs.common.store.orders import OrderOutcome, Orders, Taking
from libs.common.telemetry.execution_spans import note_instruction
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.ahead import Ahead
from services.worker.attempts import Attempts
from services.worker.doubts import doubtful_leg, is_ambiguous
from services.worker.endings import Endings, ended_by
from services.worker.intents import Intents
from services.worker.leases import Lease
from services.worker.legs import Legs
from services.worker.look_ups import LookUps
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.planning import Made, Planner
from services.worker.recall import Recall
from services.worker.recovery import NothingExecuted, Recovered, Recovery
from services.worker.work import TOO_OLD, BegunHead, Ended, Next, Unread, Work, plan_of

log = get_logger()


class Executor:
    """Executes heads; knows nothing of lanes, slots or reading."""

    def __init__(
        self,
        *,
        accounts: Mapping[AccountName, Account],
        lanes: Lanes,
        orders: Orders,
        intents: Intents,
        look_ups: LookUps,
        attempts: Attempts,
        planner: Planner,
        recall: Recall,
        clock: Clock,
        metrics: WorkerMetrics,
        poison_limit: int,
    ) -> None:
        parker = Parker(lanes)
        ahead = Ahead(accounts=accounts, planner=planner, intents=intents, recall=recall, clock=clock)
        self._ahead = ahead
        self._lanes = lanes
        self._orders = orders
        self._accounts = accounts
        self._planner = planner
        self._endings = Endings(orders=orders, ahead=ahead, parker=parker, clock=clock, metrics=metrics)
        self._legs = Legs(
            lanes=lanes,
            orders=orders,
            attempts=attempts,
            ahead=ahead,
            planner=planner,
            endings=self._endings,
            parker=parker,
            clock=clock,
            metrics=metrics,
        )
        self._recovery = Recovery(
            lanes=lanes, orders=orders, look_ups=look_ups, planner=planner, clock=clock, metrics=metrics
        )
        self._clock = clock
        self._poison_limit = poison_limit

    async def take(self, lease: Lease) -> Next:
        """Take a lane whose token was read, and begin its head with it, where the token told what that is.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
        """
        prepared = self._ahead.prepare_first(lease)
        if prepared is None:
            return await persist(lambda: self._lanes.open.submit(lease.held), lease)
        alert_id = prepared.work.head.alert_id
        return await self._ahead.begin_with(
            prepared, lambda intent: self._orders.take.submit(Taking(alert_id, intent))
        )

    def treatment(self, head: Head) -> Treatment:
        """Decide how a head is to be executed."""
        return treatment(head.lost_holders, limit=self._poison_limit, is_order_ambiguous=is_ambiguous(head))

    async def execute(self, lease: Lease, head: Head) -> Next:
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
            return await self._endings.leave_to_others(
                lease, head, Reason.NEWER_VERSION, "only a newer worker can read it"
            )
        if self.treatment(head) is Treatment.GIVE_UP:
            detail = f"{head.lost_holders} workers died or failed on it"
            return await self._endings.settle(
                lease, head, Ended(InstructionState.DEAD, Reason.POISON, detail)
            )
        try:
            instruction = codec.INSTRUCTION.decode(head.body)
        except StoreCorrupt as error:
            ended = Ended(InstructionState.DEAD, Reason.MALFORMED, str(error))
            return await self._endings.end_unplanned(lease, head, ended)
        account = self._accounts.get(head.account)
        if account is None and leg is not None:
            # So that it is found among the orders that nobody can tell, and an operator can.
            return await self._recovery.doubt_blindly(lease, head, leg, instruction.market, instruction)
        if account is None:
            detail = f"account {head.account!r} is not in the configuration"
            return await self._endings.leave_to_others(lease, head, Reason.UNKNOWN_ACCOUNT, detail)
        work = Work(lease.held, lease, head, instruction, account, begun_at_ms)
        _note(instruction)
        if leg is not None:
            return await self._recovery.doubt(work, leg)
        if head.orders and not head.plan:
            recovered = await self._recovery.go_on(work)
            match recovered:
                case Recovered():
                    return await self._end_recovered(work, recovered)
                case Ended():
                    return await self._endings.settle(lease, head, recovered)
                case NothingExecuted():
                    pass
                case Head() | Closed() | HandedBack() | Moved() | Stale():
                    return recovered
                case _:
                    assert_never(recovered)
        if head.plan and (plan := _standing_plan(head)) is not None:
            return await self._legs.carry_out(work, Made(plan), is_recorded=True)
        if work.left_ms(self._clock) == 0:
            # The venue need not be asked for what will not be sent.
            return await self._endings.settle(lease, head, TOO_OLD)
        planned = await self._planner.plan(work)
        match planned:
            case Made():
                return await self._legs.carry_out(work, planned, is_recorded=False)
            case Ended():
                return await self._endings.end_unplanned(lease, head, planned)
            case Unread():
                return await self._endings.ask_again(work, planned)
            case _:
                assert_never(planned)

    async def go_on(self, begun: BegunHead) -> Next:
        """Execute a head that was begun by the call which made it that.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
            StoreCorrupt: A record of this head cannot be used.
        """
        _note(begun.work.instruction)
        return await self._legs.go_on(begun)

    async def _end_recovered(self, work: Work, recovered: Recovered) -> Next:
        """Settle by what the venue said of an order whose plan is lost."""
        order, done = recovered.order, recovered.done
        if recovered.may_lack_another:
            detail = f"order {order.client_order_id} was executed, and whether another was to follow is lost"
            ended = Ended(InstructionState.DEAD, Reason.OUTCOME_UNKNOWN, detail)
            log.error("order_given_up", client_order_id=order.client_order_id)
        else:
            ended = ended_by(done)
        outcome = OrderOutcome(order.client_order_id, order.attempt, order.state, order.answer)
        return await self._endings.settle(work.lease, work.head, ended, outcome)


def _note(instruction: Instruction) -> None:
    note_instruction(instruction.symbol or instruction.market, instruction.market, instruction.strategy)


def _standing_plan(head: Head) -> Plan | None:
    """Return the plan on record; None where certainly nothing of it was executed, so that another may be made.

    What it was made from may have changed since: the position, the price, the equity.
    """
    plan = plan_of(head)
    is_untouched = all(order.state is OrderState.NOT_EXECUTED for order in head.orders)
    return None if is_untouched and not plan.cancels else plan
