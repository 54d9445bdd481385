"""Connections to one venue, each for one call at a time."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx

KEEP_ALIVE_S: Final = 4.0
"""Below the 5 s after which common servers close an idle connection: an order sent down a dying one is unknown."""


class Connections:
    """Lends connections, the one used last first, so that few stay open when little is to be done.

    Each is a transport of its own that holds one connection: httpx's pool looks at every connection it has for every
    call, which at 64 of them takes twice as long as the call itself.
    """

    def __init__(self, most: int, tls: ssl.SSLContext) -> None:
        """Args:
        most: How many may be open at once; further callers wait for one.
        tls: Shared by all: making one takes tens of milliseconds.
        """
        self._tls = tls
        self._permits = asyncio.Semaphore(most)
        self._idle: list[httpx.AsyncHTTPTransport] = []

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[httpx.AsyncHTTPTransport]:
        """Lend one for a call. After a failed call it is closed: what it still carries belongs to nobody."""
        async with self._permits:
            connection = self._idle.pop() if self._idle else self._make()
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

    def _make(self) -> httpx.AsyncHTTPTransport:
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S)
        return httpx.AsyncHTTPTransport(verify=self._tls, limits=limits)
