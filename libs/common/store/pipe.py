"""Calls on one connection, several under way at once: Redis executes and answers them in the order they were sent."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    MovedError,
    RedisError,
    ResponseError,
)

from libs.common.store.copies import NOTHING, Asked, Copies
from libs.common.store.routing import electable_of, leads_home
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
        _, _, [reply] = await self._call(words, None)
        return reply

    async def call_copied(self, words: bytes, copies: Copies) -> Any:
        """Send a packed command and return the reply as it came, once enough replicas have what it wrote.

        Raises:
            RedisError, OSError: As with `call`.
            StoreUnavailable: Too few have it.
        """
        electable, asked, [reply, *rest] = await self._call(words, copies)
        electable()  # of the same server still
        copies.judge(asked, rest)
        return reply

    async def _call(self, words: bytes, copies: Copies | None) -> tuple[Callable[[], int], Asked, list[Any]]:
        async with self._sending:
            if self._line is not None and not await leads_home(self._line.connection):
                self._line = None  # whoever waits there is still told
            line = self._line
            if line is None:
                connection = await self._client.connection_pool.get_connection()  # type: ignore[no-untyped-call]
                line = self._line = _Line(connection)
                line.reading = asyncio.create_task(self._read(line))
            # Before it is sent: whoever closes the line meanwhile tells this caller too.
            asked, electable = NOTHING, electable_of(line.connection)
            if copies is not None:
                try:
                    asked = copies.asked(electable())
                except ConnectionError as error:
                    self._close(line, error)
                    raise
            answer = line.expect_answers(1 + asked.count)
            line.users += 1
            try:
                await send(line.connection, words + asked.words)
            except (RedisError, OSError) as error:
                self._close(line, error)
            except BaseException:
                answer.cancel()
                self._close(line, ConnectionError("a call was given up while it was sent"))
                raise
            finally:
                await self._leave(line)
        return electable, asked, await answer

    async def _read(self, line: "_Line") -> None:
        error: Exception = ConnectionError("nobody reads any more")
        try:
            while line.waiting:
                try:
                    reply = await line.connection.read_in_time(line.timeout_s)
                except ResponseError as refused:
                    line.take(refused)
                    if isinstance(refused, MovedError) or not line.connection.is_connected:
                        # What was sent behind it must not be executed before it is sent again.
                        error = ConnectionError(f"the call before it was refused: {refused}")
                        line.is_given_up = True
                        return
                except (RedisError, OSError) as came:
                    error = came
                    return
                else:
                    line.take(reply)
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
            line.fail_next(one)
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
        self.waiting: deque[_Answer] = deque()
        self.reading: asyncio.Task[None]
        self.users = 1
        """Its reader, and who sends."""
        self.is_given_up = False
        """Whether the connection must carry nothing more."""

    def expect_answers(self, count: int) -> "asyncio.Future[list[Any]]":
        answer = _Answer(asyncio.get_running_loop().create_future(), count)
        self.waiting.append(answer)
        return answer.future

    def take(self, reply: Any) -> None:
        """Note a reply, and tell who waited for it once it was the last one."""
        if not self.waiting:  # given up meanwhile
            return
        answer = self.waiting[0]
        answer.replies.append(reply)
        if len(answer.replies) < answer.count:
            return
        self.waiting.popleft()
        if answer.future.done():
            return
        first = answer.replies[0]
        if isinstance(first, Exception):
            answer.future.set_exception(first)
        else:
            answer.future.set_result(answer.replies)

    def fail_next(self, error: Exception) -> None:
        """Tell the next who waits that not all will come; or what he was refused already."""
        answer = self.waiting.popleft()
        if answer.future.done():
            return
        refused = next((reply for reply in answer.replies[:1] if isinstance(reply, Exception)), None)
        answer.future.set_exception(refused or error)


class _Answer:
    """The replies to one call, as far as they have come."""

    def __init__(self, future: "asyncio.Future[list[Any]]", count: int) -> None:
        self.future = future
        self.count = count
        self.replies: list[Any] = []
