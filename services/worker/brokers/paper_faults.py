"""Faults and latency of a simulated exchange, played upon orders and questions; `policy/faults.py` says which there are."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, assert_never

from libs.common.domain.errors import (
    BrokerThrottled,
    BrokerUnavailable,
    LookUpUnavailable,
    OrderOutcomeUnknown,
    OrderRejected,
)
from libs.common.domain.ids import AccountName
from libs.common.domain.order import OrderReport
from libs.common.policy.faults import Fault, Faults, Latency
from libs.common.runtime.paper_exchange import PaperExchange
from services.worker.brokers.port import NOT_OURS, StillOurs

Book = Callable[[StillOurs], Awaitable[OrderReport]]
"""Takes an order in."""


class PaperFaults:
    """What goes wrong at one account's exchange.

    Redis holds its books, so a fault is played, not suffered: an order whose answer is lost was booked, or was not, as the
    fault says.
    """

    def __init__(self, account: AccountName, paper: PaperExchange) -> None:
        self._faults = paper.faults
        self._latency = paper.latency
        self._uniform = random.Random(f"{paper.seed}:{account}").uniform  # noqa: S311 - a game, no secret
        self._late: set[asyncio.Task[None]] = set()
        """Orders that are accepted after their answer was lost."""
        self.has_any: Final = paper.faults != Faults() or paper.latency != Latency()
        """Where not, there is nothing to ask here."""

    async def place(self, book: Book, still_ours: StillOurs) -> OrderReport:
        """Take an order in as far as latency and the dice let it."""
        fault = self._faults.draw(self._uniform)
        await self._take_time()
        if fault is None:
            return await book(still_ours)
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        match fault:
            case Fault.THROTTLED | Fault.MAINTENANCE:
                raise self._unavailable(fault)
            case Fault.REFUSED:
                raise OrderRejected("refused", "refused by the dice")
            case Fault.LATE_ACCEPT:
                late = asyncio.create_task(self._book_late(book))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
            case Fault.TIMEOUT_AFTER | Fault.SERVER_ERROR_AFTER:
                await _book_unheard(book, still_ours)
            case Fault.TIMEOUT_BEFORE | Fault.SERVER_ERROR:
                pass
            case _ as never:
                assert_never(never)
        # Nothing in it tells whether the order was accepted: nobody may act on that.
        is_error = fault in {Fault.SERVER_ERROR, Fault.SERVER_ERROR_AFTER}
        raise OrderOutcomeUnknown("500, on purpose" if is_error else "no answer in time, on purpose")

    def before_look_up(self) -> None:
        """Let a question through, or not.

        Raises:
            LookUpUnavailable: The dice say so.
        """
        if not self.has_any:
            return
        fault = self._faults.draw_for_look_up(self._uniform)
        if fault is not None:
            raise LookUpUnavailable(f"{fault}, on purpose")

    async def before_cancel(self, still_ours: StillOurs) -> None:
        """Let the request to take orders back through, or not.

        Raises:
            BrokerUnavailable: The dice say so, or the lane is ours no longer.
            OrderOutcomeUnknown: The dice say so.
        """
        if not self.has_any:
            return
        await self._take_time()
        if not still_ours():
            raise BrokerUnavailable(NOT_OURS)
        fault = self._faults.draw_for_look_up(self._uniform)
        if fault is Fault.SERVER_ERROR:
            raise OrderOutcomeUnknown("500, on purpose")
        if fault is not None:
            raise self._unavailable(fault)

    async def aclose(self) -> None:
        """Drop what would be accepted late."""
        for task in self._late:
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)

    async def _take_time(self) -> None:
        await asyncio.sleep(self._latency.draw_ms(self._uniform) / 1_000)

    async def _book_late(self, book: Book) -> None:
        """Take an order in some time after it was sent; it has left, so a lane that is lost meanwhile keeps nothing back.

        It is refused where it has expired by then. A worker that ends sooner takes it along.
        """
        await asyncio.sleep(self._faults.late_by_ms / 1_000)
        try:
            await book(lambda: True)
        except (OrderRejected, OrderOutcomeUnknown, BrokerUnavailable):
            return

    def _unavailable(self, fault: Fault) -> BrokerUnavailable:
        if fault is Fault.THROTTLED:
            wait_ms = self._faults.retry_after_ms
            return BrokerThrottled("too many requests, on purpose", retry_after_ms=wait_ms)
        return BrokerUnavailable("maintenance, on purpose")


async def _book_unheard(book: Book, still_ours: StillOurs) -> None:
    """Take an order in, and keep the answer."""
    try:
        await book(still_ours)
    except (OrderRejected, OrderOutcomeUnknown):
        return
