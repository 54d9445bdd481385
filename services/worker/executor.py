"""Takes one instruction through: age -> size -> begin -> broker -> classify -> settle."""

import asyncio
import itertools
import random
import secrets
from collections.abc import Iterator, Mapping
from typing import Final, assert_never

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
    StoreCorrupt,
)
from libs.common.domain.ids import AccountName, ClientOrderId, Nonce, client_order_id
from libs.common.domain.instruction import SCHEMA_VERSION, Instruction
from libs.common.domain.lifecycle import AMBIGUOUS, InstructionState, OrderState
from libs.common.domain.order import OrderPlan, OrderReport, OrderRequest
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment, treatment
from libs.common.policy.retry import backoff_ms
from libs.common.policy.sizing import Refused, plan_order
from libs.common.store.head import HandedOut, Head, Held, Moved, Stale
from libs.common.store.lanes import Lanes, Parking, Return
from libs.common.store.orders import (
    LONGEST_WAIT_IN_PLACE_MS,
    Expired,
    Finding,
    Go,
    Intent,
    OrderOutcome,
    Orders,
    Resolved,
    Settlement,
    Wait,
)
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.account import Account
from services.worker.breakers import Breakers
from services.worker.leases import Lease
from services.worker.mapping import MappingCheck
from services.worker.persistence import persist
from services.worker.resolver import Adopted, NeverExecuted, NotYet, Resolver

LEG: Final = 0
"""The only leg of an instruction that has one."""

FOR_OTHERS_MS: Final = 1_000
"""How long a lane waits whose head another worker may be able to execute, as in a rolling update."""

HELD_MS: Final = 5_000
"""How long a lane waits whose head cannot be settled, because its order may still execute."""

TOO_LATE: Final = "expired"
"""The code of a venue that refused a request after its `expires_at_ms`. The alert itself may still be young."""

BACKOFF_BASE_MS: Final = 100
BACKOFF_CAP_MS: Final = 5_000

Step = HandedOut | Return
"""What comes next in a lane: another head, or the end of holding it."""

log = get_logger()


class _Work(msgspec.Struct, frozen=True):
    """One head under execution."""

    held: Held
    lease: Lease
    head: Head
    instruction: Instruction
    account: Account
    plan: OrderPlan
    order_id: ClientOrderId
    begun_at_ms: int
    """Monotonic; when the head's own `now_ms` was true."""


class Executor:
    """Executes heads; knows nothing of lanes, slots or reading."""

    def __init__(
        self,
        *,
        accounts: Mapping[AccountName, Account],
        lanes: Lanes,
        orders: Orders,
        resolver: Resolver,
        breakers: Breakers,
        mapping: MappingCheck,
        clock: Clock,
        metrics: WorkerMetrics,
        lease_ms: int,
        probe_ms: int,
        poison_limit: int,
    ) -> None:
        self._accounts = accounts
        self._lanes = lanes
        self._orders = orders
        self._resolver = resolver
        self._breakers = breakers
        self._mapping = mapping
        self._clock = clock
        self._metrics = metrics
        self._lease_ms = lease_ms
        self._probe_ms = probe_ms
        self._poison_limit = poison_limit
        self._nonces = _nonces()

    def treatment(self, head: Head) -> Treatment:
        """Decide how a head is to be executed."""
        return treatment(head.lost_holders, limit=self._poison_limit, is_order_ambiguous=_is_ambiguous(head))

    def _is_harmless(self, head: Head) -> bool:
        """Tell whether a head may be sent beside other lanes, once no order of it is ambiguous any more."""
        found = treatment(head.lost_holders, limit=self._poison_limit, is_order_ambiguous=False)
        return found is Treatment.NORMAL

    async def execute(self, lease: Lease, head: Head) -> Step:
        """Execute the head of a held lane, as far as it can be now.

        Raises:
            StoreUnavailable: Redis is away and the lane is lost.
            StoreCorrupt: A record of this head cannot be used.
        """
        held = lease.held
        begun_at_ms = self._clock.monotonic_ms()
        if head.version > SCHEMA_VERSION:
            return await self._leave_to_others(
                lease, head, Reason.NEWER_VERSION, "only a newer worker can read it"
            )
        if self.treatment(head) is Treatment.GIVE_UP:
            detail = f"{head.lost_holders} workers died or failed on it"
            return await self._settle(lease, head, InstructionState.DEAD, Reason.POISON, detail)
        try:
            instruction = codec.INSTRUCTION.decode(head.body)
        except StoreCorrupt as error:
            return await self._end_unplanned(lease, head, InstructionState.DEAD, Reason.MALFORMED, str(error))
        account = self._accounts.get(head.account)
        if account is None:
            detail = f"account {head.account!r} is not in the configuration"
            return await self._leave_to_others(lease, head, Reason.UNKNOWN_ACCOUNT, detail)
        if head.plan:
            plan = codec.ORDER_PLAN.decode(head.plan)
        else:
            planned = await self._plan(instruction, account, lease)
            if isinstance(planned, Refused):
                return await self._end_unplanned(
                    lease, head, InstructionState.REJECTED, planned.reason, planned.detail
                )
            plan = planned
        order_id = client_order_id(head.account, head.alert_id, LEG)
        return await self._continue(
            _Work(held, lease, head, instruction, account, plan, order_id, begun_at_ms)
        )

    async def _plan(self, instruction: Instruction, account: Account, lease: Lease) -> OrderPlan | Refused:
        if not self._mapping.is_moot(instruction, account):
            refused = await persist(lambda: self._mapping.refusal(instruction, account), lease)
            if refused is not None:
                return refused
        return plan_order(instruction, account.default_quantity)

    async def _continue(self, work: _Work) -> Step:
        """Go on from where the head's order stands, whoever brought it there."""
        order = next((o for o in work.head.orders if o.client_order_id == work.order_id), None)
        if order is None:
            return await self._attempt(work, 1)
        match order.state:
            case OrderState.SENDING | OrderState.UNKNOWN:
                over_for_ms = max(0, work.head.now_ms - order.expires_at_ms)
                return await self._resolve(work, order.attempt, unknown_for_ms=over_for_ms)
            case OrderState.NOT_EXECUTED:
                return await self._attempt(work, order.attempt + 1)
            case (
                OrderState.ACCEPTED
                | OrderState.PARTIAL
                | OrderState.FILLED
                | OrderState.REJECTED
                | OrderState.CANCELED
                | OrderState.EXPIRED
            ):
                # Recorded, but not settled: the end of the instruction is all that is missing.
                return await self._end(work, order.attempt, codec.ORDER_REPORT.decode(order.answer))
            case _:
                assert_never(order.state)

    async def _attempt(self, work: _Work, attempt: int) -> Step:
        """Make one attempt, and more while it is certain that nothing was executed and waits are short."""
        nonce = next(self._nonces)
        limits = work.account.limits_of(work.instruction.market)
        intent = Intent(
            held=work.held,
            entry_id=work.head.entry_id,
            account=work.head.account,
            market=work.instruction.market,
            client_order_id=work.order_id,
            attempt=attempt,
            nonce=nonce,
            window_ms=work.account.window_ms,
            plan=codec.ORDER_PLAN.encode(work.plan),
            symbol_limit=limits.symbol,
            account_limit=limits.account,
            breaker_scope=_scope(work),
            probe_ms=self._probe_ms,
        )
        while True:
            asked_at_ms = self._clock.monotonic_ms()
            begun = await persist(lambda: self._orders.begin.submit(intent), work.lease)
            match begun:
                case Go():
                    work.lease.extend(asked_at_ms + self._lease_ms)
                    break
                case Wait(until_ms, reason, now_ms):
                    self._metrics.waited(reason)
                    if until_ms - now_ms >= LONGEST_WAIT_IN_PLACE_MS:
                        return await self._park_until(work.lease, until_ms, reason)
                    await asyncio.sleep((until_ms - now_ms) / 1_000)
                case Expired():
                    return await self._settle(
                        work.lease,
                        work.head,
                        InstructionState.EXPIRED,
                        Reason.TOO_OLD,
                        "before it could be sent",
                    )
                case Moved() | Stale():
                    return begun
                case _:
                    assert_never(begun)
        if begun.wait_ms:
            await asyncio.sleep(begun.wait_ms / 1_000)
        return await self._place(work, attempt, nonce, begun, asked_at_ms + begun.left_ms)

    async def _place(self, work: _Work, attempt: int, nonce: Nonce, go: Go, send_by_ms: int) -> Step:
        """Send the order, unless the lease or the request's own time is over by then.

        From `send_by_ms` on, monotonic, the venue would refuse it as too late.
        """

        def still_ours() -> bool:
            return work.lease.is_ours() and self._clock.monotonic_ms() < send_by_ms

        request = OrderRequest(
            client_order_id=work.order_id,
            account=work.head.account,
            symbol=work.instruction.market,
            alert_id=work.head.alert_id,
            strategy=work.instruction.strategy,
            plan=work.plan,
            expires_at_ms=go.expires_at_ms,
        )
        self._metrics.sending(self._clock.now_ms() - work.head.admitted_at_ms)
        started_ms = self._clock.monotonic_ms()
        try:
            report = await work.account.broker.place(request, still_ours)
        except BrokerUnavailable as error:
            self._metrics.placed("unavailable", self._clock.monotonic_ms() - started_ms)
            if still_ours() and not isinstance(error, BrokerThrottled):
                await self._breakers.failed(_scope(work), go)
            return await self._not_executed(work, attempt, nonce, error)
        except OrderRejected as error:
            self._metrics.placed("rejected", self._clock.monotonic_ms() - started_ms)
            if go.is_probe:
                await self._breakers.succeeded(_scope(work), go)
            if error.code == TOO_LATE:
                return await self._not_executed(work, attempt, nonce, BrokerUnavailable(str(error)))
            return await self._refused(work, attempt, error)
        except OrderOutcomeUnknown as error:
            self._metrics.placed("unknown", self._clock.monotonic_ms() - started_ms)
            log.warning(
                "order_unknown", alert_id=work.head.alert_id, client_order_id=work.order_id, error=str(error)
            )
            await self._breakers.failed(_scope(work), go)
            return await self._outcome_unknown(work, attempt, str(error))
        self._metrics.placed("answered", self._clock.monotonic_ms() - started_ms)
        await self._breakers.succeeded(_scope(work), go)
        return await self._end(work, attempt, report)

    async def _not_executed(self, work: _Work, attempt: int, nonce: Nonce, error: BrokerUnavailable) -> Step:
        """Record that the attempt certainly did nothing, and try again after a wait."""
        noted = await self._note(work, attempt, OrderState.NOT_EXECUTED, nonce, str(error))
        if isinstance(noted, Moved | Stale):
            return noted
        log.info("order_not_executed", alert_id=work.head.alert_id, attempt=attempt, error=str(error))
        wait_ms = backoff_ms(attempt, base_ms=BACKOFF_BASE_MS, cap_ms=BACKOFF_CAP_MS, uniform=random.uniform)
        if isinstance(error, BrokerThrottled) and error.retry_after_ms is not None:
            # Not past its deadline: it must end then, and let the alerts behind it have their turn.
            wait_ms = max(wait_ms, min(error.retry_after_ms, self._left_ms(work)))
        if wait_ms >= LONGEST_WAIT_IN_PLACE_MS or not work.lease.is_ours():
            return await self._park(work.lease, wait_ms, Reason.BACK_OFF, detail=str(error))
        await asyncio.sleep(wait_ms / 1_000)
        return await self._attempt(work, attempt + 1)

    async def _outcome_unknown(self, work: _Work, attempt: int, detail: str) -> Step:
        """Record that the attempt may have been executed, and find out."""
        noted = await self._note(work, attempt, OrderState.UNKNOWN, None, detail)
        if isinstance(noted, Moved | Stale):
            return noted
        return await self._resolve(work, attempt, unknown_for_ms=0)

    async def _refused(self, work: _Work, attempt: int, error: OrderRejected) -> Step:
        """End as refused; but where an earlier attempt may have traded, the venue is asked first."""
        if attempt > 1:
            try:
                found = await work.account.broker.find(work.order_id, work.instruction.market)
            except LookUpUnavailable:
                return await self._outcome_unknown(work, attempt, str(error))
            if found is not None and found.state is not OrderState.REJECTED:
                return await self._end(work, attempt, found)
        report = OrderReport(order_id="", state=OrderState.REJECTED, detail=str(error))
        reason = Reason.NO_PRICE if error.code == Reason.NO_PRICE else Reason.VENUE_REJECTED
        return await self._end(work, attempt, report, refused_for=reason)

    async def _resolve(self, work: _Work, attempt: int, *, unknown_for_ms: int) -> Step:
        resolution = await self._resolver.resolve(
            work.lease,
            work.account.broker,
            work.order_id,
            attempt,
            work.instruction.market,
            unknown_for_ms=unknown_for_ms,
        )
        match resolution:
            case Adopted(report):
                return await self._end(work, attempt, report)
            case NeverExecuted():
                if not self._is_harmless(work.head):
                    # What looks up its order need not be alone; what sends it again must be, or not send it at all.
                    return await persist(lambda: self._lanes.yield_.submit(work.held), work.lease)
                return await self._attempt(work, attempt + 1)
            case NotYet(wait_ms):
                return await self._park(work.lease, wait_ms, Reason.RESOLVING)
            case Moved() | Stale():
                return resolution
            case _:
                assert_never(resolution)

    async def _end(
        self, work: _Work, attempt: int, report: OrderReport, *, refused_for: Reason = Reason.VENUE_REJECTED
    ) -> Step:
        """Settle by what the venue said."""
        outcome = OrderOutcome(work.order_id, attempt, report.state, codec.ORDER_REPORT.encode(report))
        match report.state:
            case OrderState.FILLED:
                state, reason = InstructionState.EXECUTED, Reason.FILLED
            case OrderState.ACCEPTED | OrderState.PARTIAL:
                state, reason = InstructionState.EXECUTED, Reason.ACCEPTED
            case _ if report.filled_quantity > 0:
                # It ended at the venue, but a part was traded: there is a position, and nothing to replay.
                state, reason = InstructionState.EXECUTED, Reason.PARTLY_FILLED
            case _:
                state, reason = InstructionState.REJECTED, refused_for
        return await self._settle(work.lease, work.head, state, reason, report.detail or "", outcome)

    async def _leave_to_others(self, lease: Lease, head: Head, reason: Reason, detail: str) -> Step:
        """Park a head that this worker cannot execute, though another may; end it when its time is over."""
        if head.now_ms < head.deadline_ms or _is_ambiguous(head):
            return await self._park(lease, FOR_OTHERS_MS, reason, detail=detail)
        return await self._settle(lease, head, InstructionState.EXPIRED, reason, detail)

    async def _end_unplanned(
        self, lease: Lease, head: Head, state: InstructionState, reason: Reason, detail: str
    ) -> Step:
        """End a head that cannot be executed at all; unless an order of it may still be executing."""
        if _is_ambiguous(head):
            log.error("head_held", alert_id=head.alert_id, account=head.account, reason=reason, detail=detail)
            return await self._park(lease, HELD_MS, Reason.RESOLVING, detail=detail)
        return await self._settle(lease, head, state, reason, detail)

    async def _settle(
        self,
        lease: Lease,
        head: Head,
        state: InstructionState,
        reason: Reason,
        detail: str = "",
        order: OrderOutcome | None = None,
    ) -> Step:
        settlement = Settlement(lease.held, head.entry_id, state, reason, detail, order)
        following = await persist(lambda: self._orders.settle.submit(settlement), lease)
        if not isinstance(following, Moved | Stale):
            self._metrics.settled(state, reason)
            if state is not InstructionState.EXECUTED:
                log.info(
                    "instruction_ended",
                    alert_id=head.alert_id,
                    account=head.account,
                    state=state,
                    reason=reason,
                )
        return following

    async def _park(self, lease: Lease, wait_ms: int, reason: Reason, *, detail: str = "") -> Return:
        parking = Parking(lease.held, wait_ms, 0, reason, detail=detail)
        return await persist(lambda: self._lanes.park.submit(parking), lease)

    async def _park_until(self, lease: Lease, due_at_ms: int, reason: Reason) -> Return:
        parking = Parking(lease.held, None, due_at_ms, reason)
        return await persist(lambda: self._lanes.park.submit(parking), lease)

    def _left_ms(self, work: _Work) -> int:
        """Return how long the alert may still be sent."""
        passed_ms = self._clock.monotonic_ms() - work.begun_at_ms
        return max(0, work.head.deadline_ms - work.head.now_ms - passed_ms)

    async def _note(
        self, work: _Work, attempt: int, state: OrderState, nonce: Nonce | None, detail: str
    ) -> Resolved:
        finding = Finding(work.held, work.order_id, attempt, state, nonce, margin_ms=0, detail=detail)
        return await persist(lambda: self._orders.resolve.submit(finding), work.lease)


def _nonces() -> Iterator[Nonce]:
    """Yield names that nobody else gives; the system is asked for randomness once, since asking is dear."""
    process = secrets.token_hex(8)
    for call in itertools.count(1):
        yield Nonce(f"{process}-{call}")


def _is_ambiguous(head: Head) -> bool:
    return any(order.state in AMBIGUOUS for order in head.orders)


def _scope(work: _Work) -> str:
    return f"{work.head.account}:{work.instruction.market}"
