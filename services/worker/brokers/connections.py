"""Connections to one venue, each for one call at a time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpcore

from services.worker.brokers.network import Network

KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which common servers close an idle connection: an order sent down a dying one is unknown."""


class Connections:
    """Lends connections, the one used last first, so that few stay open when little is to be done.

    httpcore's own pool looks at every connection it has for every call, which at 64 of them takes twice as long as the
    call itself.
    """

    def __init__(self, most: int, origin: httpcore.Origin, tls: ssl.SSLContext) -> None:
        """Args:
        most: How many may be open at once; further callers wait for one.
        origin: The venue.
        tls: Shared by all: making one takes tens of milliseconds.
        """
        self._origin = origin
        self._tls = tls
        self._network = Network()
        self._permits = asyncio.Semaphore(most)
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """Lend one for a call. After a failed call it is closed: what it still carries belongs to nobody."""
        async with self._permits:
            connection = await self._take() or self._make()
            try:
                yield connection
            except BaseException:
                await connection.aclose()
                raise
            self._idle.append(connection)

    async def aclose(self) -> None:
        """Close those that are not lent; again is harmless."""
        while self._idle:
            await self._idle.pop().aclose()

    async def _take(self) -> httpcore.AsyncHTTPConnection | None:
        while self._idle:
            connection = self._idle.pop()
            # Closed by the venue, or unused for longer than a venue may keep it.
            if not connection.is_closed() and not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    def _make(self) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            self._origin,
            ssl_context=self._tls,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=self._network,
        )
