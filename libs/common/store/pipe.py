"""Calls on one connection, several under way at once: Redis executes and answers them in the order they were sent."""

import asyncio
from collections import deque
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError, RedisError  # noqa: A004 - the name is redis-py's

from libs.common.store.sending import send


class Pipe:
    """One connection of a client, held while calls are under way on it.

    Calls on several connections may overtake one another; here none does. A connection that fails, fails all calls
    that wait for its answers: of none of them is it known whether it was executed.
    """

    def __init__(self, client: Redis) -> None:
        """Args:
        client: Its time-out bounds each sending, and the wait for each answer once it is the next.
        """
        self._client = client
        self._line: _Line | None = None
        self._sending = asyncio.Lock()

    async def call(self, words: bytes) -> Any:
        """Send a packed command and return the reply as it came.

        Who is cancelled meanwhile disturbs nobody; what was sent may be executed all the same.

        Raises:
            RedisError, OSError: As redis-py raises them; see `translate`.
        """
        async with self._sending:
            line = self._line
            if line is None:
                connection = await self._client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
                line = self._line = _Line(connection)
            try:
                await send(line.connection, words)
            except BaseException:
                # Perhaps a part of it has left, and redis-py has closed the connection.
                if line.reading is None:
                    await self._close(line, ConnectionError("the call before it could not be sent"))
                raise
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            line.waiting.append(answer)
            if line.reading is None:
                line.reading = asyncio.create_task(self._read(line))
        return await answer

    async def _read(self, line: "_Line") -> None:
        error: Exception = ConnectionError("nobody reads any more")
        try:
            while line.waiting:
                try:
                    async with asyncio.timeout(line.timeout_s):
                        reply = await line.connection.read_response()
                except (RedisError, OSError) as came:
                    error = came
                    if not line.connection.is_connected:
                        return
                    line.tell_next(came)
                else:
                    line.tell_next(reply)
        finally:
            await self._close(line, error)

    async def _close(self, line: "_Line", error: Exception) -> None:
        """Give the connection back; nobody waits for answers on it, or it is of no more use."""
        if self._line is line:
            self._line = None
        if line.waiting:
            await line.connection.disconnect(nowait=True)
        while line.waiting:
            line.tell_next(type(error)(*error.args))
        await self._client.connection_pool.release(line.connection)


class _Line:
    """One connection, and who waits for answers on it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        # Read here: while something is sent, it is lifted.
        self.timeout_s: float | None = connection.socket_timeout
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.reading: asyncio.Task[None] | None = None

    def tell_next(self, reply: Any) -> None:
        answer = self.waiting.popleft()
        if answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)
