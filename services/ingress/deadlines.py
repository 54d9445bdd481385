"""Ends posts that take too long, for nearly nothing where they do not."""

import asyncio
from typing import Final

from libs.common.domain.clock import Clock
from libs.common.telemetry.spans import NO_SPAN, Span

_SLACK_MS: Final = 1
"""Timers may fire a hair early."""


class Post:
    """A request under way."""

    __slots__ = (
        "_task",
        "body",
        "dialect",
        "expires_at_ms",
        "has_expired",
        "has_proved_itself",
        "secrets",
        "span",
        "token",
    )

    def __init__(self, expires_at_ms: int, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._task: asyncio.Task[object] = task
        self.expires_at_ms = expires_at_ms
        self.has_expired = False
        self.body: bytes | None = None
        """None until all of it has come."""
        self.secrets: tuple[str, ...] = ()
        """What it presents at places for a credential, once it could be read."""
        self.dialect = ""
        """Of the body, once it was recognised."""
        self.token = ""
        """The token of its URL."""
        self.has_proved_itself = False
        """Whether it met every demand of its webhook."""
        self.span: Span = NO_SPAN
        """Kept where it proved itself: a flood of strangers must not push out what is traced of alerts."""

    def expire(self) -> None:
        """Interrupt its waiting, for the body or for Redis; an alert still in the queue is taken out."""
        self.has_expired = True
        self._task.cancel()

    def carry_on(self) -> None:
        """Take note that the interruption was dealt with, so that the answer can be sent."""
        self._task.uncancel()


class Deadlines:
    """Watches all posts with one timer: their time is the same, so the oldest always expires first."""

    def __init__(self, time_ms: int, clock: Clock) -> None:
        """Args:
        time_ms: From the start of a post to its interruption.
        clock: Says when that is.
        """
        self._time_ms = time_ms
        self._clock = clock
        # A dict keeps the order of insertion and forgets in constant time.
        self._posts: dict[Post, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def watch(self) -> Post:
        """Return the post of the running task; it is to be forgotten at its end."""
        # Asked once: Python 3.11 asks the system for the process's id each time.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        post = Post(self._clock.monotonic_ms() + self._time_ms, loop)
        self._posts[post] = None
        if self._timer is None:
            self._timer = loop.call_later(self._time_ms / 1_000, self._look, loop)
        return post

    def forget(self, post: Post) -> None:
        """Let a post be: it has its verdict."""
        self._posts.pop(post, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_ms = self._clock.monotonic_ms()
        while self._posts:
            oldest = next(iter(self._posts))
            left_ms = oldest.expires_at_ms - now_ms
            if left_ms > _SLACK_MS:
                self._timer = loop.call_later(left_ms / 1_000, self._look, loop)
                return
            del self._posts[oldest]
            oldest.expire()
