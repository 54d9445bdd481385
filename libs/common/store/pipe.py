"""Calls on one connection, several under way at once: Redis executes and answers them in the order they were sent."""

import asyncio
from collections import deque
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    MovedError,
    RedisError,
    ResponseError,
)

from libs.common.store.routing import leads_home
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
            if self._line is not None and not await leads_home(self._line.connection):
                self._line = None  # whoever waits there is still told
            line = self._line
            if line is None:
                connection = await self._client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
                line = self._line = _Line(connection)
                line.reading = asyncio.create_task(self._read(line))
            # Before it is sent: whoever closes the line meanwhile tells this caller too.
            answer = line.expect_answer()
            line.users += 1
            try:
                await send(line.connection, words)
            except (RedisError, OSError) as error:
                self._close(line, error)
            except BaseException:
                answer.cancel()
                self._close(line, ConnectionError("a call was given up while it was sent"))
                raise
            finally:
                await self._leave(line)
        return await answer

    async def _read(self, line: "_Line") -> None:
        error: Exception = ConnectionError("nobody reads any more")
        try:
            while line.waiting:
                try:
                    async with asyncio.timeout(line.timeout_s):
                        reply = await line.connection.read_response()
                except ResponseError as refused:
                    line.tell_next(refused)
                    if isinstance(refused, MovedError) or not line.connection.is_connected:
                        # What was sent behind it must not be executed before it is sent again.
                        error = ConnectionError(f"the call before it was refused: {refused}")
                        line.is_given_up = True
                        return
                except (RedisError, OSError) as came:
                    error = came
                    return
                else:
                    line.tell_next(reply)
        finally:
            self._close(line, error)
            try:
                if line.is_given_up:
                    await line.connection.disconnect(nowait=True)
            finally:
                await self._leave(line)

    def _close(self, line: "_Line", error: Exception) -> None:
        """Let nobody use a line any more, and tell all who wait."""
        if self._line is line:
            self._line = None
        while line.waiting:
            line.is_given_up = True
            one = ConnectionError(str(error))
            one.__cause__ = error
            line.tell_next(one)
        if line.is_given_up and line.reading is not asyncio.current_task():
            line.reading.cancel()

    async def _leave(self, line: "_Line") -> None:
        """Give the connection back once neither reader nor sender uses it: the next user must meet neither."""
        line.users -= 1
        if not line.users:
            await self._client.connection_pool.release(line.connection)


class _Line:
    """One connection, and who waits for answers on it."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        # Read here: while something is sent, it is lifted.
        self.timeout_s: float | None = connection.socket_timeout
        self.waiting: deque[asyncio.Future[Any]] = deque()
        self.reading: asyncio.Task[None]
        self.users = 1
        """Its reader, and who sends."""
        self.is_given_up = False
        """Whether the connection must carry nothing more."""

    def expect_answer(self) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.waiting.append(answer)
        return answer

    def tell_next(self, reply: Any) -> None:
        answer = self.waiting.popleft() if self.waiting else None
        if answer is None or answer.done():
            return
        if isinstance(reply, Exception):
            answer.set_exception(reply)
        else:
            answer.set_result(reply)
