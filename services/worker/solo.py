"""Executing a suspect head with no other lane in the process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Solo:
    """While a suspect wants to be alone, other lanes are handed back at their next head and none is read."""

    def __init__(self) -> None:
        self._running = 0
        self._ended = asyncio.Event()
        self.is_wanted = False

    def lane_started(self) -> None:
        """Say that this process runs one lane more."""
        self._running += 1

    def lane_ended(self) -> None:
        """Say that a lane is no longer run here."""
        self._running -= 1
        self._ended.set()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Wait until no other lane runs, and keep it so; one suspect at a time, see `is_wanted`."""
        self.is_wanted = True
        try:
            while self._running > 1:
                self._ended.clear()
                await self._ended.wait()
            yield
        finally:
            self.is_wanted = False
