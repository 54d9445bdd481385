"""Ends posts that take too long, for nearly nothing where they do not."""

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

from libs.common.domain.clock import Clock
from libs.common.telemetry.spans import NO_SPAN, Span
from libs.common.telemetry.subject import ELAPSED_MS, STRATEGY, SYMBOL, TRACE_ID

if TYPE_CHECKING:
    from libs.common.domain.alert import AlertContent
    from libs.common.domain.ids import AlertId

_SLACK_MS: Final = 1
"""Timers may fire a hair early."""


class Post(msgspec.Struct, eq=False):
    """A request under way; made for each, so a `Struct`, and one like no other."""

    token: str = ""
    """The token of its URL."""
    started_s: float = msgspec.field(default_factory=perf_counter)
    expires_at_ms: int = 0
    has_expired: bool = False
    body: bytes | None = None
    """None until all of it has come."""
    secrets: tuple[str, ...] = ()
    """What it presents at places for a credential, once it could be read."""
    dialect: str = ""
    """Of the body, once it was recognised."""
    content: "AlertContent | None" = None
    """What it says, once that was read and found to show no credential."""
    alert_id: "AlertId | None" = None
    """Of the alert that it becomes where it is admitted."""
    has_proved_itself: bool = False
    """Whether it met every demand of its webhook."""
    span: Span = NO_SPAN
    """Kept where it proved itself: a flood of strangers must not push out what is traced of alerts."""
    _waiting: "asyncio.Future[Any] | None" = None

    # It holds credentials, and loops log the arguments of a callback that failed.
    __repr__ = object.__repr__

    def log_fields(self) -> Mapping[str, object]:
        """Return the fields of lines about it, as far as it was understood."""
        fields: dict[str, object] = {ELAPSED_MS: round((perf_counter() - self.started_s) * 1_000)}
        if self.content is not None:
            fields |= {STRATEGY: self.content.strategy, SYMBOL: self.content.symbol}
        if self.has_proved_itself and self.span.context is not None:
            fields[TRACE_ID] = self.span.context.trace_id
        return fields

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
