"""Connections to one venue, each for one call at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from services.worker.brokers.http_connection import HttpConnection


class Connections:
    """Lends connections, the one used last first, so that few stay open when little is to be done."""

    def __init__(self, most: int, make: Callable[[], HttpConnection]) -> None:
        """Args:
        most: How many may be open at once; further callers wait for one.
        make: Returns a new one, still to be opened.
        """
        self._make = make
        self._permits = asyncio.Semaphore(most)
        self._idle: list[HttpConnection] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[HttpConnection]:
        """Lend one for a call. After a failed call it is closed: what it still carries belongs to nobody."""
        async with self._permits:
            connection = self._take() or self._make()
            try:
                yield connection
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)

    def close(self) -> None:
        """Close those that are not lent; again is harmless."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> HttpConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return None
