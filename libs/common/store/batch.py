"""Group commit: callers that come while a round trip is under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")

WORTH_A_FLIGHT: Final = 24
"""Fewer wait for a flight under way to come back, as a rule: an fsync each would cost more than they gain."""


class Batch(Generic[Item, Answer]):
    """Sends items together, in the order they came: one flight at a time, or a few where many wait.

    With an fsync on every write this is what makes durability cheap: one fsync serves all that queued up
    behind the last one.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BridgeError]]],
        *,
        max_items: int = 128,
        max_queued: int = 20_000,
        max_flights: int = 1,
        worth_a_flight: int = WORTH_A_FLIGHT,
    ) -> None:
        """Args:
        send: Carries out one flight; answers one word or error per item, in order. Where several may be under way and
            their order matters, it must have them executed in the order they were begun.
        max_items: The most that share a flight.
        max_queued: Beyond this many waiting items a caller is refused at once.
        max_flights: The most that are under way at once.
        worth_a_flight: The fewest items with which all but the first leave, so that few still share one fsync, and many
            keep Redis busy while this process works.
        """
        self._send = send
        self._max_items = max_items
        self._max_queued = max_queued
        self._max_flights = max_flights
        self._worth_a_flight = worth_a_flight
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._aloft = 0
        self._is_boarding = False
        # The loop is asked for once: Python 3.11 asks the system for the process's id each time.
        self._loop: asyncio.AbstractEventLoop | None = None

    def submit(self, item: Item) -> asyncio.Future[Answer]:
        """Queue an item and return the future of its answer.

        Cancelling the future takes the item out if its flight has not left; after that it may be executed.

        Raises (from the future, but for the first):
            StoreUnavailable: The queue is full; or the flight failed, and whether it was executed is not known.
            StoreCorrupt: This item alone could not be carried out.
        """
        queue = self._queue
        if len(queue) >= self._max_queued:
            raise StoreUnavailable(f"{self._max_queued} calls wait for Redis already")
        loop = self._loop = self._loop or asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        queue.append((item, future))
        if not self._is_boarding and self._is_worth_a_flight(self._aloft):
            # It boards in its first step, so that whoever comes in the same turn of the loop is on it.
            self._is_boarding = True
            self._aloft += 1
            flight = loop.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        return future

    async def drain(self) -> None:
        """Return when everything submitted so far has its answer."""
        while self._flights:
            await asyncio.wait(self._flights)

    def _is_worth_a_flight(self, others: int) -> bool:
        """Tell whether what waits should leave while so many flights are under way; else one of them comes back for it."""
        return others == 0 or (others < self._max_flights and len(self._queue) >= self._worth_a_flight)

    async def _fly(self) -> None:
        self._is_boarding = False
        try:
            while self._is_worth_a_flight(self._aloft - 1) and (boarding := self._board()):
                await self._carry(boarding)
        finally:
            self._aloft -= 1
            # Empty, unless this task was cancelled: nobody else would carry what still waits.
            while self._queue and not self._aloft:
                _fail([self._queue.popleft()], StoreUnavailable("the flight was cancelled"))

    def _board(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        boarding: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._queue and len(boarding) < self._max_items:
            item, future = self._queue.popleft()
            if not future.done():
                boarding.append((item, future))
        return boarding

    async def _carry(self, boarding: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await self._send([item for item, _ in boarding])
        except BridgeError as error:
            _fail(boarding, error)
            return
        except asyncio.CancelledError:
            _fail(boarding, StoreUnavailable("the flight was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001 - its callers get it; the flights after it must go on
            _fail(boarding, StoreCorrupt(f"the flight failed: {error!r}"))
            return
        if len(answers) != len(boarding):
            _fail(boarding, StoreCorrupt(f"{len(answers)} answers to {len(boarding)} items"))
            return
        for (_, future), answer in zip(boarding, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BridgeError):
                future.set_exception(answer)
            else:
                future.set_result(answer)


def _fail(boarding: Sequence[tuple[Item, asyncio.Future[Answer]]], error: BridgeError) -> None:
    for _, future in boarding:
        if not future.done():
            # One exception for each: they get a traceback each.
            future.set_exception(type(error)(*error.args))
