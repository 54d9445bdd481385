"""Follows orders that rest at their venues to their end, outside the lanes.

All workers follow all orders together: each claims what is due, asks the venue, and writes down what it said under its
claim. With a worker gone its orders are due again when its lease is over.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import msgspec

from libs.common.domain.clock import Clock
from libs.common.domain.errors import BridgeError
from libs.common.domain.ids import AccountName, Market
from libs.common.domain.order import OrderReport
from libs.common.policy.exact import signed
from libs.common.policy.following import (
    LATEST_MS,
    LOST_POLL_MS,
    SOONEST_MS,
    Seen,
    fill_words,
    miss,
    poll_ms,
    see,
)
from libs.common.runtime.durations import format_duration
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.following import LEASE_MS, FollowedOrder, FollowedOrders, Following, Kept, Note
from libs.common.telemetry.execution_spans import start_following
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import is_outage
from libs.common.telemetry.spans import OFF, Span, Tracer
from libs.common.telemetry.subject import turn_to
from libs.common.telemetry.tracing import OUTCOME
from libs.common.telemetry.worker_metrics import WorkerMetrics
from libs.common.wire import codec
from services.worker.brokers.port import Broker, LookUp
from services.worker.subjects import FollowedSubject

AT_ONCE: Final = 64
"""Orders that one worker looks up at a time."""

PER_ACCOUNT: Final = 4
"""The same of one account: a slow venue leaves room for the others, and no venue is flooded."""

PAUSE_S: Final = 0.5
"""The longest between two looks at what is due: an order that has just come to rest is found within it."""

RETRY_S: Final = 1.0
"""After Redis did not answer."""

ANSWER_WITHIN_S: Final = 5.0
"""Bound on one call to a venue, whatever the adapter's own: an order must be told of within its lease."""

CANCEL_WITHIN_MS: Final = LEASE_MS - 2_000
"""How long after its intent is on disk a cancellation may still leave."""

log = get_logger()

AfterFill = Callable[[AccountName, Market], Awaitable[None]]
"""Called when something was filled in a market; raises nothing."""


@dataclass(frozen=True, slots=True)
class FollowedAccount:
    """What a follower knows of an account."""

    broker: Broker
    time_limit_ms: int | None
    """How long an order may rest before it is taken back; None: for ever."""
    counts_fills: bool
    """Whether the account's positions are compared with its venue's."""
    venue: str = ""
    """The kind of its broker."""


class Follower:
    """Looks up resting orders, a task for each."""

    def __init__(
        self,
        accounts: Mapping[AccountName, FollowedAccount],
        orders: FollowedOrders,
        clock: Clock,
        metrics: WorkerMetrics,
        after_fill: AfterFill,
        tracer: Tracer = OFF,
        *,
        shard: int = 0,
    ) -> None:
        """Args:
        accounts: All of this worker's.
        orders: Where they are kept.
        clock: Monotonic, for leases.
        metrics: The worker's.
        after_fill: Publishes what a fill changed.
        tracer: Makes a span of each look-up that has news.
        shard: The number of the accounts' shard.
        """
        self._accounts = accounts
        self._orders = orders
        self._clock = clock
        self._metrics = metrics
        self._after_fill = after_fill
        self._tracer = tracer
        self._shard = shard
        self._busy: Counter[AccountName] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failures: dict[AccountName, str] = {}
        """What was logged last of accounts whose look-ups fail now."""
        self._words = ""
        """The same of Redis."""
        self.beat_at_ms = clock.monotonic_ms()
        """When the loop last came round, monotonic; liveness reads it."""

    async def run(self, stopped: asyncio.Event) -> None:
        """Follow orders until `stopped` is set; return when the last look-up has ended."""
        while not stopped.is_set():
            self.beat_at_ms = self._clock.monotonic_ms()
            try:
                pause_s = await self.look()
                self._words = ""
            except BridgeError as error:
                if is_outage(error):
                    log.debug("orders_not_followed", error=str(error))
                else:
                    self._warn(str(error))
                pause_s = RETRY_S
            except Exception as error:  # noqa: BLE001 - nothing may end the loop
                self._warn(repr(error))
                pause_s = RETRY_S
            await wait_for_event(stopped, pause_s)
        await self.drain()

    async def look(self) -> float:
        """Start looking up what is due, as far as there is room; return for how long to wait then, seconds.

        Raises:
            StoreUnavailable: Redis is away.
            StoreCorrupt: The list of resting orders cannot be used.
        """
        room = AT_ONCE - len(self._tasks)
        if room <= 0 or not self._accounts:
            return PAUSE_S
        rooms = {name: PER_ACCOUNT - self._busy[name] for name in self._accounts}
        claims = await self._orders.claim(rooms, at_most=room)
        self._metrics.orders_followed(claims.followed, self._shard)
        for words in claims.failed:
            log.error("followed_order_unreadable", error=words)
        for order in claims.orders:
            self._busy[order.account] += 1
            task = asyncio.create_task(self._follow(order))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return PAUSE_S if claims.next_in_ms is None else min(PAUSE_S, max(0.02, claims.next_in_ms / 1_000))

    async def drain(self) -> None:
        """Return when every look-up that was started has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _follow(self, order: FollowedOrder) -> None:
        # This task's own, to its end.
        turn_to(FollowedSubject(order, self._clock, self._clock.monotonic_ms()))
        try:
            await self._follow_claimed(order)
        except BridgeError as error:
            # What was not written comes due again when the lease is over, and is looked up anew.
            if is_outage(error):
                log.debug("followed_order_not_noted", **_names(order), error=str(error))
            else:
                log.warning("followed_order_not_noted", **_names(order), error=str(error))
        except Exception:
            log.exception("followed_order_failed", **_names(order))
        finally:
            self._busy[order.account] -= 1

    async def _follow_claimed(self, order: FollowedOrder) -> None:
        account = self._accounts[order.account]
        if account.broker.capabilities.look_up is LookUp.NONE:
            log.warning("followed_order_unanswerable", **_names(order))
            note = Note("ORDER_LOST", "its venue cannot be asked about orders")
            await self._orders.report.submit(Following(order, order.state, None, notes=(note,)))
            return
        span = start_following(
            self._tracer,
            order.traceparent,
            account.venue,
            order.alert_id,
            order.account,
            order.market,
            order.client_order_id,
        )
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                report = await account.broker.find(order.client_order_id, order.market)
        except (BridgeError, TimeoutError) as error:
            await self._put_off(order, str(error) or type(error).__name__)
            return
        except Exception as error:  # noqa: BLE001 - an adapter's fault must not leave the order to its lease
            await self._put_off(order, repr(error))
            return
        if self._failures.pop(order.account, None) is not None:
            log.info("orders_looked_up", account=order.account)
        if report is None:
            await self._note_absence(order)
        else:
            await self._note_report(order, account, report, span)

    async def _put_off(self, order: FollowedOrder, words: str) -> None:
        """Leave an order that could not be looked up for later."""
        self._metrics.look_up_failed(order.account)
        if self._failures.get(order.account) != words:
            log.warning("orders_not_looked_up", account=order.account, error=words)
            self._failures[order.account] = words
        later = Following(
            order,
            order.state,
            self._pause_ms(order, None),
            absence=order.absence,
            cancelled_at_ms=order.cancelled_at_ms,
        )
        await self._orders.report.submit(later)

    async def _note_absence(self, order: FollowedOrder) -> None:
        """Count a look-up to which the venue said that it knows no such order."""
        absence = miss(order.absence, order.now_ms)
        notes: tuple[Note, ...] = ()
        if absence.is_lost and not order.absence.is_lost:
            notes = (Note("ORDER_LOST", f"its venue has not known it in {absence.look_ups} look-ups"),)
        missing = Following(
            order,
            order.state,
            LOST_POLL_MS if absence.is_lost else LATEST_MS,
            notes=notes,
            absence=absence,
            cancelled_at_ms=order.cancelled_at_ms,
        )
        if await self._orders.report.submit(missing) == Kept() and notes:
            self._metrics.order_lost(order.account)
            log.error("followed_order_lost", **_names(order), look_ups=absence.look_ups)

    async def _note_report(
        self, order: FollowedOrder, account: FollowedAccount, report: OrderReport, span: Span
    ) -> None:
        """Write down what the venue said, and take the order back where it has rested for long enough."""
        seen = see(order.plan, order.state, order.report, report)
        must_cancel = not seen.has_ended and _must_cancel(order, account.time_limit_ms)
        told = Following(
            order,
            seen.state,
            None if seen.has_ended else self._pause_ms(order, account.time_limit_ms),
            report=seen.report,
            notes=_notes(order, seen, account.time_limit_ms if must_cancel else None),
            filled=_moved(order, seen) if account.counts_fills else None,
            cancelled_at_ms=order.cancelled_at_ms,
        )
        if must_cancel:
            # On disk before the venue hears of it, so that whoever comes next does not cancel again at once. Its lease
            # starts afresh.
            told = replace(told, due_in_ms=LEASE_MS, keeps_claim=True, cancelled_at_ms=order.now_ms)
        noted_at_ms = self._clock.monotonic_ms()
        if await self._orders.report.submit(told) != Kept():
            return
        if seen.fill is not None or seen.has_ended:
            span.set(OUTCOME, seen.state.value)
            span.end()
        if order.absence.is_lost:
            log.info("followed_order_found", **_names(order))
        if seen.fill is not None:
            self._metrics.order_filled(order.account)
        if seen.state is not order.state:
            self._metrics.order_became(seen.state.lower())
        if seen.has_ended:
            log.info("followed_order_ended", **_names(order), state=seen.state.value)
        if must_cancel:
            await self._cancel(told, account.broker, seen.report.order_id, noted_at_ms)
        if seen.fill is not None:
            await self._after_fill(order.account, order.market)

    async def _cancel(self, told: Following, broker: Broker, order_id: str, noted_at_ms: int) -> None:
        """Ask the venue to take an order back; what becomes of it the next look-up tells."""
        order = told.order

        def still_ours() -> bool:
            return self._clock.monotonic_ms() - noted_at_ms < CANCEL_WITHIN_MS

        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await broker.cancel_open(order.market, [order_id], still_ours)
        except (BridgeError, TimeoutError) as error:
            log.warning("followed_order_not_cancelled", **_names(order), error=str(error) or repr(error))
        except Exception as error:  # noqa: BLE001 - an adapter's fault must not leave the order to its lease
            log.warning("followed_order_not_cancelled", **_names(order), error=repr(error))
        else:
            log.info("followed_order_cancelled", **_names(order))
        since = msgspec.structs.replace(order, state=told.state)
        await self._orders.report.submit(
            Following(since, told.state, SOONEST_MS, cancelled_at_ms=told.cancelled_at_ms)
        )

    def _pause_ms(self, order: FollowedOrder, limit_ms: int | None) -> int:
        limit_in_ms = None if limit_ms is None else limit_ms - order.age_ms
        return poll_ms(order.age_ms, random.uniform, limit_in_ms=limit_in_ms)

    def _warn(self, words: str) -> None:
        if words != self._words:
            log.warning("orders_not_followed", error=words)
            self._words = words


def _must_cancel(order: FollowedOrder, limit_ms: int | None) -> bool:
    """Tell whether an order has rested too long; one that would not be cancelled is tried again, ever less often."""
    if limit_ms is None or order.age_ms < limit_ms:
        return False
    pause_ms = min(LOST_POLL_MS, max(LATEST_MS, (order.age_ms - limit_ms) // 2))
    return order.now_ms - order.cancelled_at_ms >= pause_ms


def _moved(order: FollowedOrder, seen: Seen) -> Decimal | None:
    return None if seen.fill is None else signed(order.plan.side, seen.fill.quantity)


def _notes(order: FollowedOrder, seen: Seen, limit_ms: int | None) -> list[Note]:
    """Return what the journal is told of a report."""
    encoded = codec.ORDER_REPORT.encode(seen.report)
    notes: list[Note] = []
    if order.absence.is_lost:
        notes.append(Note("ORDER_FOUND", "its venue knows it again"))
    if seen.fill is not None:
        notes.append(Note("FILL", fill_words(seen.fill, order.plan), encoded))
    if seen.has_ended:
        notes.append(Note(f"ORDER_{seen.state}", seen.report.detail or "", encoded))
    if limit_ms is not None and not order.cancelled_at_ms:
        notes.append(Note("ORDER_CANCELING", f"it has rested for {format_duration(limit_ms)}"))
    return notes


def _names(order: FollowedOrder) -> dict[str, str]:
    return {"client_order_id": order.client_order_id, "market": order.market}
