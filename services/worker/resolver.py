"""Finds out what became of an order whose outcome is unknown."""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from libs.common.domain.errors import LookUpUnavailable
from libs.common.domain.ids import ClientOrderId, Market
from libs.common.domain.lifecycle import OrderState
from libs.common.domain.order import OrderReport
from libs.common.policy.retry import backoff_ms
from libs.common.store.head import Moved, Stale
from libs.common.store.order_answers import Resolved, TooEarly
from libs.common.store.orders import LONGEST_WAIT_IN_PLACE_MS, Finding, Orders
from libs.common.telemetry.logs import get_logger
from services.worker.brokers.port import Broker, Deduplication, LookUp
from services.worker.leases import Lease
from services.worker.persistence import persist

MISSES_NEEDED: Final = 3
"""Look-ups in a row that must agree that an order never arrived, after it can arrive no more."""

MISS_GAP_MS: Final = 50
"""Wait after the first of them; each next one is twice as long."""

EXPIRY_MARGIN_MS: Final = 500
"""How much later than its expiry a venue with a slow clock may still execute a request."""

HOLD_MS: Final = 30_000
"""How often a held order is looked up again, at most."""

SILENT_MS: Final = 30_000
"""A venue that has not answered look-ups for this long may need an operator."""

BACKOFF_BASE_MS: Final = 500
"""Upper bound of the wait after a look-up that was not answered; it doubles with the time it is needed for."""

_LOOKING_UP: Final = AsyncRetrying(
    retry=retry_if_exception_type(LookUpUnavailable),
    stop=stop_after_attempt(3),
    wait=wait_random_exponential(multiplier=0.05, max=0.2),
    reraise=True,
)

log = get_logger()


@dataclass(frozen=True, slots=True)
class Adopted:
    """The venue has the order."""

    report: OrderReport


@dataclass(frozen=True, slots=True)
class NeverExecuted:
    """The attempt did nothing and can do nothing any more; that is on disk."""


@dataclass(frozen=True, slots=True)
class NotYet:
    """It cannot be told now: ask again after the wait."""

    wait_ms: int
    is_held: bool = False
    """Whether waiting alone is not likely to tell: an operator should decide."""


Resolution = Adopted | NeverExecuted | NotYet | Moved | Stale


class Resolver:
    """Looks up orders, and believes "not found" only when nothing can prove it wrong any more."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders

    async def resolve(
        self,
        lease: Lease,
        broker: Broker,
        client_order_id: ClientOrderId,
        attempt: int,
        market: Market,
        *,
        unknown_for_ms: int,
    ) -> Resolution:
        """Find out about one attempt.

        Args:
            lease: Of the lane.
            broker: The account's.
            client_order_id: Whose outcome is unknown.
            attempt: Its latest.
            market: Where it would trade.
            unknown_for_ms: How long its request has been over already; waits grow with it.

        Raises:
            StoreUnavailable: The lane is lost.
        """
        margin_ms = EXPIRY_MARGIN_MS + broker.capabilities.look_up_lag_ms
        misses = 0
        while misses < MISSES_NEEDED:
            try:
                report: OrderReport | None = await _LOOKING_UP.copy()(broker.find, client_order_id, market)
            except LookUpUnavailable as error:
                log.warning("look_up_failed", client_order_id=client_order_id, error=str(error))
                wait_ms = LONGEST_WAIT_IN_PLACE_MS + _backoff(unknown_for_ms)
                return NotYet(wait_ms, is_held=unknown_for_ms >= SILENT_MS)
            if report is not None:
                return Adopted(report)
            noted = await self._note(lease, client_order_id, attempt, None, margin_ms)
            if isinstance(noted, TooEarly):
                if noted.wait_ms >= LONGEST_WAIT_IN_PLACE_MS:
                    return NotYet(noted.wait_ms)
                await asyncio.sleep(noted.wait_ms / 1_000)
                continue
            if isinstance(noted, Moved | Stale):
                return noted
            misses = noted.misses
            if misses < MISSES_NEEDED:
                await asyncio.sleep(MISS_GAP_MS * 2 ** (misses - 1) / 1_000)
        if not _may_send_again(broker):
            return NotYet(HOLD_MS, is_held=True)
        noted = await self._note(lease, client_order_id, attempt, OrderState.NOT_EXECUTED, margin_ms)
        if isinstance(noted, TooEarly):
            return NotYet(noted.wait_ms)
        if isinstance(noted, Moved | Stale):
            return noted
        return NeverExecuted()

    async def _note(
        self,
        lease: Lease,
        client_order_id: ClientOrderId,
        attempt: int,
        state: OrderState | None,
        margin_ms: int,
    ) -> Resolved:
        finding = Finding(
            held=lease.held,
            client_order_id=client_order_id,
            attempt=attempt,
            state=state,
            nonce=None,
            margin_ms=margin_ms,
            detail="never arrived" if state else "",
        )
        return await persist(lambda: self._orders.resolve.submit(finding), lease)


def _may_send_again(broker: Broker) -> bool:
    can = broker.capabilities
    if can.look_up is LookUp.NONE:
        return can.deduplication is Deduplication.LIFETIME
    return can.honours_expiry or can.deduplication is Deduplication.LIFETIME


def _backoff(unknown_for_ms: int) -> int:
    # By time and not by a count: any worker may be the next to ask, and an outage of a venue is asked about ever less.
    asked = (unknown_for_ms // BACKOFF_BASE_MS).bit_length()
    return backoff_ms(asked + 1, base_ms=BACKOFF_BASE_MS, cap_ms=HOLD_MS, uniform=random.uniform)
