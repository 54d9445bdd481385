"""Group commit: callers that come while a round trip is under way share the next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batch(Generic[Item, Answer]):
    """Sends items together, one flight at a time, in the order they came.

    With an fsync on every write this is what makes durability cheap: one fsync serves all that queued up
    behind the last one.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | BridgeError]]],
        *,
        max_items: int = 128,
        max_queued: int = 20_000,
    ) -> None:
        """Args:
        send: Carries out one flight; answers one word or error per item, in order.
        max_items: The most that share a flight.
        max_queued: Beyond this many waiting items a caller is refused at once.
        """
        self._send = send
        self._max_items = max_items
        self._max_queued = max_queued
        self._queue: deque[tuple[Item, asyncio.Future[Answer]]] = deque()
        self._flight: asyncio.Task[None] | None = None

    def submit(self, item: Item) -> asyncio.Future[Answer]:
        """Queue an item and return the future of its answer.

        Cancelling the future takes the item out if its flight has not left; after that it may be executed.

        Raises (from the future, but for the first):
            StoreUnavailable: The queue is full; or the flight failed, and whether it was executed is not known.
            StoreCorrupt: This item alone could not be carried out.
        """
        if len(self._queue) >= self._max_queued:
            raise StoreUnavailable(f"{self._max_queued} calls wait for Redis already")
        flight = self._flight
        # The flight knows the loop for less than asyncio does: Python 3.11 asks the system for the process's id there.
        loop = asyncio.get_running_loop() if flight is None else flight.get_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._queue.append((item, future))
        if flight is None:
            self._flight = loop.create_task(self._fly())
        return future

    async def drain(self) -> None:
        """Return when everything submitted so far has its answer."""
        while self._flight is not None:
            await asyncio.wait([self._flight])

    async def _fly(self) -> None:
        try:
            while boarding := self._board():
                await self._carry(boarding)
        finally:
            self._flight = None
            # Empty, unless this task was cancelled: nobody else would carry what still waits.
            while self._queue:
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
