"""Ends posts that take too long, for nearly nothing where they do not."""

import asyncio
from typing import Any, Final

from libs.common.domain.clock import Clock
from libs.common.telemetry.spans import NO_SPAN, Span

_SLACK_MS: Final = 1
"""Timers may fire a hair early."""


class Post:
    """A request under way."""

    __slots__ = (
        "_waiting",
        "body",
        "dialect",
        "expires_at_ms",
        "has_expired",
        "has_proved_itself",
        "secrets",
        "span",
        "token",
    )

    def __init__(self, token: str = "") -> None:
        self._waiting: asyncio.Future[Any] | None = None
        self.expires_at_ms = 0
        self.has_expired = False
        self.body: bytes | None = None
        """None until all of it has come."""
        self.secrets: tuple[str, ...] = ()
        """What it presents at places for a credential, once it could be read."""
        self.dialect = ""
        """Of the body, once it was recognised."""
        self.token = token
        """The token of its URL."""
        self.has_proved_itself = False
        """Whether it met every demand of its webhook."""
        self.span: Span = NO_SPAN
        """Kept where it proved itself: a flood of strangers must not push out what is traced of alerts."""

    def waits_for(self, waiting: "asyncio.Future[Any]", expires_at_ms: int) -> None:
        """Take note of what to interrupt, and when."""
        self._waiting = waiting
        self.expires_at_ms = expires_at_ms

    def expire(self) -> None:
        """Interrupt its waiting, for the body or for Redis; an alert still in the queue is taken out."""
        self.has_expired = True
        if self._waiting is not None:
            self._waiting.cancel()

    def carry_on(self) -> None:
        """Take note that the interruption of its task was dealt with, so that the answer can be sent."""
        if isinstance(self._waiting, asyncio.Task):
            self._waiting.uncancel()


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

    def watch_task(self, post: Post) -> None:
        """Interrupt the running task when the time of its post is over, until that is forgotten."""
        task = asyncio.current_task(self._running_loop())
        assert task is not None
        self.watch(post, task)

    def watch(self, post: Post, waiting: "asyncio.Future[Any]") -> None:
        """Cancel what a post waits for when its time is over, until it is forgotten."""
        post.waits_for(waiting, self._clock.monotonic_ms() + self._time_ms)
        self._posts[post] = None
        if self._timer is None:
            loop = self._running_loop()
            self._timer = loop.call_later(self._time_ms / 1_000, self._look, loop)

    def forget(self, post: Post) -> None:
        """Let a post be: it has its verdict."""
        self._posts.pop(post, None)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # Asked once: Python 3.11 asks the system for the process's id each time.
        self._loop = self._loop or asyncio.get_running_loop()
        return self._loop

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
