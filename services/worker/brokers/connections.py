"""Connections to one venue, each for one call at a time."""

import asyncio
from collections.abc import Callable

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

    def lend(self, until_s: float) -> "_Loan":
        """Lend one for a call. After a failed call it is closed: what it still carries belongs to nobody.

        Args:
            until_s: When to give up waiting for one, by the loop's clock.
        """
        return _Loan(self, until_s)

    async def take(self, until_s: float) -> HttpConnection:
        """Return one; whoever has it gives it back.

        Raises:
            TimeoutError: None became free in time.
        """
        if self._permits.locked():
            async with asyncio.timeout_at(until_s):
                await self._permits.acquire()
        else:
            await self._permits.acquire()
        while self._idle:
            connection = self._idle.pop()
            if connection.is_fresh():
                return connection
            connection.close()
        return self._make()

    def give_back(self, connection: HttpConnection, *, has_failed: bool) -> None:
        """Have the next call use it, unless this one failed."""
        if has_failed:
            connection.close()
        else:
            self._idle.append(connection)
        self._permits.release()

    def close(self) -> None:
        """Close those that are not lent; again is harmless."""
        while self._idle:
            self._idle.pop().close()


class _Loan:
    """A connection in the hands of one call."""

    __slots__ = ("_connection", "_of", "_until_s")

    def __init__(self, of: Connections, until_s: float) -> None:
        self._of = of
        self._until_s = until_s

    async def __aenter__(self) -> HttpConnection:
        self._connection = await self._of.take(self._until_s)
        return self._connection

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._of.give_back(self._connection, has_failed=kind is not None)
