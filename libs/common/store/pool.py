"""The connections of one client, each in the hands of one call at a time.

redis-py's own pool that waits takes two locks for every call and counts it for metrics that nobody collects: a third of the
processor time of a small call.
"""

import asyncio
from typing import Any

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    RedisError,
)


class Pool(ConnectionPool):
    """Opens no more connections than it may; who finds none free gets one in turn."""

    def __init__(self, *, max_connections: int, timeout: float, **options: Any) -> None:
        """Args:
        max_connections: The most that are open at once.
        timeout: How long a caller waits for one, seconds.
        options: redis-py's.
        """
        super().__init__(max_connections=max_connections, **options)
        self._longest_s = timeout
        self._permits = asyncio.Semaphore(max_connections)

    async def get_connection(self, *_: Any, **__: Any) -> AbstractConnection:
        """Return a connection that is open and has nothing to say; to be released after the call.

        Raises:
            ConnectionError: None became free in time.
            RedisError, OSError: It could not be made.
        """
        if self._permits.locked():
            try:
                async with asyncio.timeout(self._longest_s):
                    await self._permits.acquire()
            except TimeoutError as error:
                raise ConnectionError("No connection available.") from error
        else:
            await self._permits.acquire()
        try:
            connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        except BaseException:
            self._permits.release()
            raise
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        """Make sure that it is open and ready."""
        try:
            if connection.is_connected and not await connection.can_read():
                return
        except (RedisError, OSError):
            pass  # closed meanwhile
        await super().ensure_connection(connection)

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        self._in_use_connections.remove(connection)
        self._available_connections.append(connection)
        self._permits.release()
