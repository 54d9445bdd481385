"""Ends posts that take too long, for nearly nothing where they do not."""

import asyncio
from time import monotonic
from typing import Final

_SLACK_S: Final = 0.001
"""Timers may fire a hair early."""


class Post:
    """A request under way."""

    __slots__ = ("_task", "body", "expires_at_s", "has_expired")

    def __init__(self, expires_at_s: float, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._task: asyncio.Task[object] = task
        self.expires_at_s = expires_at_s
        self.has_expired = False
        self.body: bytes | None = None
        """None until all of it has come."""

    def expire(self) -> None:
        """Interrupt its waiting, for the body or for Redis; an alert still in the queue is taken out."""
        self.has_expired = True
        self._task.cancel()

    def carry_on(self) -> None:
        """Take note that the interruption was dealt with, so that the answer can be sent."""
        self._task.uncancel()


class Deadlines:
    """Watches all posts with one timer: their time is the same, so the oldest always expires first."""

    def __init__(self, time_s: float) -> None:
        """Args:
        time_s: From the start of a post to its interruption.
        """
        self._time_s = time_s
        # A dict keeps the order of insertion and forgets in constant time.
        self._posts: dict[Post, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self) -> Post:
        """Return the post of the running task; it is to be forgotten at its end."""
        # Asked once: Python 3.11 asks the system for the process's id each time.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        post = Post(monotonic() + self._time_s, loop)
        self._posts[post] = None
        if self._timer is None:
            self._timer = loop.call_later(self._time_s, self._look, loop)
        return post

    def forget(self, post: Post) -> None:
        """Let a post be: it has its verdict."""
        self._posts.pop(post, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = monotonic()
        while self._posts:
            oldest = next(iter(self._posts))
            left_s = oldest.expires_at_s - now_s
            if left_s > _SLACK_S:
                self._timer = loop.call_later(left_s, self._look, loop)
                return
            del self._posts[oldest]
            oldest.expire()
