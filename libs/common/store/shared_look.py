"""One look for the right server, shared by all who want to know at the same time."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redis.exceptions import ConnectionError  # noqa: A004 - the name is redis-py's


class SharedLook:
    """Looks once for all who ask while it is under way, and goes on when one of them gives up."""

    def __init__(self, look: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Args:
        look: Finds out once.
        """
        self._look = look
        self._task: asyncio.Task[None] | None = None

    @property
    def is_under_way(self) -> bool:
        """Return whether somebody waits for a look, or did and gave up."""
        return self._task is not None

    def begin(self) -> asyncio.Task[None]:
        """Return the look that is under way, or a new one: to be waited for, never to be cancelled."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look())
            self._task.add_done_callback(self._has_looked)
        return self._task

    async def finish(self) -> None:
        """Wait for the end of the look that is under way, or of a new one.

        Raises:
            ConnectionError: It was ended by `aclose`.
            Exception: As the look does.
        """
        task = self.begin()
        await asyncio.wait([task])  # unlike `await task` it leaves our own cancellation to us
        if task.cancelled():
            raise ConnectionError("closed while the right server was looked for")
        task.result()

    async def aclose(self) -> None:
        """End the look that is under way, if one is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _has_looked(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled():
            task.exception()  # told to whoever waits for it, if anybody still does
