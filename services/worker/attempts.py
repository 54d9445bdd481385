"""Takes one order through: begin -> broker -> classify, again and again while that is certain to be harmless."""

import asyncio
import random
from collections.abc import Awaitable
from time import perf_counter
from typing import Final, assert_never

from msgspec.structs import replace

from libs.common.domain.clock import Clock
from libs.common.domain.errors import (
    BridgeError,
    BrokerNotReady,
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import Nonce
from libs.common.domain.lifecycle import RESTING, InstructionState, OrderState
from libs.common.domain.order import OrderReport, OrderRequest, OrderType
from libs.common.domain.reasons import Reason
from libs.common.policy.poison import Treatment, treatment
from libs.common.policy.retry import backoff_ms
from libs.common.store.breakers import Pause, SharedBreakers
from libs.common.store.head import Moved, Stale
from libs.common.store.lanes import Lanes
from libs.common.store.order_answers import Begun, Expired, Go, Halted, OverBudget, Resolved, Wait
from libs.common.store.orders import LONGEST_WAIT_IN_PLACE_MS, Finding, Intent, Orders
from libs.common.telemetry.execution_spans import note_attempt
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.breakers import Breakers
from services.worker.fill_wait import await_fill
from services.worker.intents import Intents, as_of_now
from services.worker.look_ups import LookUps
from services.worker.parking import Parker
from services.worker.persistence import persist
from services.worker.resolver import Adopted, NeverExecuted
from services.worker.work import TOO_OLD, BegunHead, Done, Ended, Leg, Step, Work

TOO_LATE: Final = "expired"
"""The code of a venue that refused a request after its `expires_at_ms`. The alert itself may still be young."""

BACKOFF_BASE_MS: Final = 100
BACKOFF_CAP_MS: Final = 5_000

THROTTLED_MS: Final = 1_000
"""How long an account pauses after "too many requests" where the venue does not say."""

Outcome = Done | Ended | Step

log = get_logger()


class Attempts:
    """Places orders; knows nothing of what an instruction consists of."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        orders: Orders,
        intents: Intents,
        look_ups: LookUps,
        breakers: Breakers,
        shared_breakers: SharedBreakers,
        clock: Clock,
        metrics: WorkerMetrics,
        poison_limit: int,
    ) -> None:
        self._lanes = lanes
        self._parker = Parker(lanes)
        self._orders = orders
        self._intents = intents
        self._look_ups = look_ups
        self._breakers = breakers
        self._shared_breakers = shared_breakers
        self._clock = clock
        self._metrics = metrics
        self._poison_limit = poison_limit

    async def run(self, work: Work, leg: Leg) -> Outcome:
        """Go on from where an order stands, whoever brought it there."""
        order = work.order(leg.client_order_id)
        if order is None:
            return await self._attempt(work, leg, 1, is_new=True)
        match order.state:
            case OrderState.SENDING | OrderState.UNKNOWN:
                unknown_for_ms = work.unknown_for_ms(order)
                return await self._resolve(work, leg, order.attempt, unknown_for_ms=unknown_for_ms)
            case OrderState.NOT_EXECUTED:
                return await self._attempt(work, leg, order.attempt + 1, is_new=True)
            case (
                OrderState.ACCEPTED
                | OrderState.PARTIAL
                | OrderState.FILLED
                | OrderState.REJECTED
                | OrderState.CANCELED
                | OrderState.EXPIRED
            ):
                return Done(order.attempt, codec.ORDER_REPORT.decode(order.answer))
            case _:
                assert_never(order.state)

    async def _attempt(self, work: Work, leg: Leg, attempt: int, *, is_new: bool = False) -> Outcome:
        """Make one attempt, and more while it is certain that nothing was executed and waits are short."""
        return await self._take_through(work, leg, self._intents.of(work, leg, attempt, is_new=is_new))

    async def go_on(self, begun: BegunHead) -> Outcome:
        """Take an order through that was begun by the call which made its instruction the head."""
        return await self._take_through(begun.work, begun.leg, begun.intent, begun.answer, begun.asked_at_ms)

    async def _take_through(
        self, work: Work, leg: Leg, intent: Intent, begun: Begun | None = None, asked_at_ms: int = 0
    ) -> Outcome:
        """Begin an attempt, unless that was done by a call of `asked_at_ms`, and make it."""

        def begin() -> Awaitable[Begun]:
            nonlocal asked_at_ms, intent
            asked_at_ms = self._clock.monotonic_ms()
            intent = as_of_now(intent, work.lease)
            return self._orders.begin.submit(intent)

        while True:
            if begun is None:
                begun = await persist(begin, work.lease)
            match begun:
                case Go():
                    if not intent.is_lease_young:
                        work.lease.renewed(asked_at_ms)
                    break
                case Wait(until_ms, reason, now_ms, detail):
                    self._metrics.waited(reason)
                    if until_ms - now_ms >= LONGEST_WAIT_IN_PLACE_MS:
                        return await self._parker.park_until(work.lease, until_ms, reason, detail=detail)
                    await asyncio.sleep((until_ms - now_ms) / 1_000)
                    begun, intent = None, replace(intent, is_lease_young=False)
                case Expired():
                    return TOO_OLD
                case Halted(detail):
                    return Ended(InstructionState.REJECTED, Reason.HALTED, detail)
                case OverBudget(rule, limit, value):
                    detail = (
                        f"{rule}: {value}, at most {limit}, with what other orders of the account hold back"
                    )
                    return Ended(InstructionState.REJECTED, Reason.RISK, detail)
                case Moved() | Stale():
                    return begun
                case _:
                    assert_never(begun)
        work.lease.expected = begun.successor
        if begun.wait_ms:
            await asyncio.sleep(begun.wait_ms / 1_000)
        return await self._place(work, leg, intent.attempt, intent.nonce, begun, asked_at_ms + begun.left_ms)

    async def _place(
        self, work: Work, leg: Leg, attempt: int, nonce: Nonce, go: Go, send_by_ms: int
    ) -> Outcome:
        """Send the order, unless the lease or the request's own time is over by then.

        From `send_by_ms` on, monotonic, the venue would refuse it as too late.
        """

        def still_ours() -> bool:
            return work.lease.is_ours() and self._clock.monotonic_ms() < send_by_ms

        request = OrderRequest(
            client_order_id=leg.client_order_id,
            account=work.head.account,
            symbol=work.instruction.market,
            alert_id=work.head.alert_id,
            strategy=work.instruction.strategy,
            plan=leg.plan,
            expires_at_ms=go.expires_at_ms,
        )
        note_attempt(attempt)
        self._metrics.sending(self._clock.now_ms() - work.head.admitted_at_ms)
        started_s = perf_counter()
        account, market = work.head.account, work.instruction.market
        try:
            report = await work.account.broker.place(request, still_ours)
        except BrokerUnavailable as error:
            self._metrics.placed("unavailable", perf_counter() - started_s)
            if still_ours() and not isinstance(error, BrokerThrottled | BrokerNotReady):
                await self._breakers.failed(account, market, go)
            return await self._not_executed(work, leg, attempt, nonce, error)
        except OrderRejected as error:
            self._metrics.placed("rejected", perf_counter() - started_s)
            await self._breakers.refused(account, market, go)
            if error.code == TOO_LATE:
                return await self._not_executed(work, leg, attempt, nonce, BrokerUnavailable(str(error)))
            return await self._refused(work, leg, attempt, error)
        except OrderOutcomeUnknown as error:
            self._metrics.placed("unknown", perf_counter() - started_s)
            log.warning("order_unknown", client_order_id=leg.client_order_id, error=str(error))
            if work.lease.is_ours():  # else it was us that stood still: that says nothing about the venue
                await self._breakers.failed(account, market, go)
            return await self._outcome_unknown(work, leg, attempt, str(error))
        self._metrics.placed("answered", perf_counter() - started_s)
        await self._breakers.succeeded(account, market, go)
        return await self._answered(work, leg, attempt, report)

    async def _answered(self, work: Work, leg: Leg, attempt: int, report: OrderReport) -> Outcome:
        """Wait for the fill of a market order that the venue has only taken so far."""
        if leg.plan.type is OrderType.MARKET and report.state in RESTING:
            report = await await_fill(
                work.account.broker,
                leg.client_order_id,
                work.instruction.market,
                report,
                work.lease,
                self._clock,
                wait_ms=work.account.fill_wait_ms,
            )
        self._metrics.order_became(report.state.lower())
        return Done(attempt, report)

    async def _not_executed(
        self, work: Work, leg: Leg, attempt: int, nonce: Nonce, error: BrokerUnavailable
    ) -> Outcome:
        """Record that the attempt certainly did nothing, and try again after a wait."""
        noted = await self._note(work, leg, attempt, OrderState.NOT_EXECUTED, nonce, str(error))
        if isinstance(noted, Moved | Stale):
            return noted
        log.info("order_not_executed", client_order_id=leg.client_order_id, attempt=attempt, error=str(error))
        if isinstance(error, BrokerThrottled) and await self._pause_account(work, error):
            return await self._attempt(work, leg, attempt + 1)  # `begin` knows how long to wait
        wait_ms = backoff_ms(attempt, base_ms=BACKOFF_BASE_MS, cap_ms=BACKOFF_CAP_MS, uniform=random.uniform)
        if isinstance(error, BrokerThrottled) and error.retry_after_ms is not None:
            # Not past its deadline: it must end then, and let the alerts behind it have their turn.
            wait_ms = max(wait_ms, min(error.retry_after_ms, work.left_ms(self._clock)))
        if wait_ms >= LONGEST_WAIT_IN_PLACE_MS or not work.lease.is_ours():
            return await self._parker.park(work.lease, wait_ms, Reason.BACK_OFF, detail=str(error))
        await asyncio.sleep(wait_ms / 1_000)
        return await self._attempt(work, leg, attempt + 1)

    async def _pause_account(self, work: Work, error: BrokerThrottled) -> bool:
        """Have all lanes of the account wait as long as its venue asks; tells whether they know."""
        wait_ms = THROTTLED_MS if error.retry_after_ms is None else error.retry_after_ms
        try:
            await self._shared_breakers.pause(Pause(work.head.account, wait_ms))
        except BridgeError as failed:
            log.warning("account_not_paused", error=str(failed))
            return False
        log.warning("account_paused", wait_ms=wait_ms)
        return True

    async def _outcome_unknown(self, work: Work, leg: Leg, attempt: int, detail: str) -> Outcome:
        """Record that the attempt may have been executed, and find out."""
        noted = await self._note(work, leg, attempt, OrderState.UNKNOWN, None, detail)
        if isinstance(noted, Moved | Stale):
            return noted
        self._metrics.order_became("unknown")
        return await self._resolve(work, leg, attempt, unknown_for_ms=0)

    async def _refused(self, work: Work, leg: Leg, attempt: int, error: OrderRejected) -> Outcome:
        """End as refused; but where an earlier attempt may have traded, the venue is asked first."""
        if attempt > 1:
            try:
                found = await work.account.broker.find(leg.client_order_id, work.instruction.market)
            except LookUpUnavailable:
                return await self._outcome_unknown(work, leg, attempt, str(error))
            if found is not None and found.state is not OrderState.REJECTED:
                return await self._answered(work, leg, attempt, found)
        report = OrderReport(order_id="", state=OrderState.REJECTED, detail=str(error))
        self._metrics.order_became("rejected")
        reason = Reason.NO_PRICE if error.code == Reason.NO_PRICE else Reason.VENUE_REJECTED
        return Done(attempt, report, refused_for=reason)

    async def _resolve(self, work: Work, leg: Leg, attempt: int, *, unknown_for_ms: int) -> Outcome:
        found = await self._look_ups.look_up(
            work, leg.client_order_id, attempt, unknown_for_ms=unknown_for_ms
        )
        match found:
            case Adopted(report):
                self._metrics.order_became("resolved")
                return await self._answered(work, leg, attempt, report)
            case NeverExecuted():
                self._metrics.order_became("not_executed")
                if work.head.is_suspect:
                    # It may never have been judged: what would be sent now is planned anew.
                    return await persist(lambda: self._lanes.open.submit(work.held), work.lease)
                if not self._is_harmless(work):
                    # What looks up its order need not be alone; what sends it again must be, or not send it at all.
                    return await persist(lambda: self._lanes.yield_.submit(work.held), work.lease)
                return await self._attempt(work, leg, attempt + 1)
            case _:
                return found

    def _is_harmless(self, work: Work) -> bool:
        """Tell whether a head may be sent beside other lanes, once no order of it is ambiguous any more."""
        found = treatment(work.head.lost_holders, limit=self._poison_limit, is_order_ambiguous=False)
        return found is Treatment.NORMAL

    async def _note(
        self, work: Work, leg: Leg, attempt: int, state: OrderState, nonce: Nonce | None, detail: str
    ) -> Resolved:
        finding = Finding(work.held, leg.client_order_id, attempt, state, nonce, margin_ms=0, detail=detail)
        return await persist(lambda: self._orders.resolve.submit(finding), work.lease)
