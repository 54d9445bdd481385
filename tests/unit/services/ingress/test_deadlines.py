import asyncio
from functools import partial
from typing import Any

from libs.common.web.whole_request import WholeRequest
from services.ingress.deadlines import Deadlines, Post
from tests.support.clock import ManualClock
from tests.support.eventually import eventually

TIME_MS = 20


class Posts:
    """Posts that wait for ever, each in a task of its own."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.deadlines = Deadlines(TIME_MS, clock)

    async def start(self) -> asyncio.Task[None]:
        started = asyncio.Event()
        task = asyncio.create_task(self._wait(started))
        await started.wait()
        return task

    async def _wait(self, started: asyncio.Event) -> None:
        post = Post()
        self.deadlines.watch_task(post)
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            assert post.has_expired
            post.carry_on()

    async def look(self) -> None:
        """Return once all that are due now have been interrupted."""
        witness = await self.start()
        self.clock.advance(TIME_MS)
        await eventually(witness.done)


async def test_each_post_is_interrupted_at_its_own_time(clock: ManualClock) -> None:
    posts = Posts(clock)
    first = await posts.start()
    clock.advance(TIME_MS // 2)
    second = await posts.start()
    clock.advance(TIME_MS // 2)
    await eventually(first.done)
    assert not second.done()
    clock.advance(TIME_MS // 2)
    await eventually(second.done)
    for task in (first, second):
        assert not task.cancelled()
        assert task.exception() is None


async def test_a_forgotten_post_is_left_alone(clock: ManualClock) -> None:
    posts = Posts(clock)
    forgotten = Post()
    posts.deadlines.watch_task(forgotten)
    posts.deadlines.forget(forgotten)
    await posts.look()
    assert not forgotten.has_expired


async def test_forgetting_some_does_not_spare_the_others(clock: ManualClock) -> None:
    posts = Posts(clock)
    waiting = []
    for _ in range(20):
        waiting.append(await posts.start())
        forgotten = Post()
        posts.deadlines.watch_task(forgotten)
        posts.deadlines.forget(forgotten)
    clock.advance(TIME_MS)
    await eventually(lambda: all(task.done() for task in waiting))


async def test_it_watches_again_after_a_pause(clock: ManualClock) -> None:
    posts = Posts(clock)
    await posts.look()
    await eventually(lambda: posts.deadlines._timer is None)
    await posts.look()


async def test_what_a_post_waits_for_is_cancelled_at_its_time(clock: ManualClock) -> None:
    posts = Posts(clock)
    late, forgotten = Post(), Post()
    awaited: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
    posts.deadlines.watch(late, awaited[0])
    posts.deadlines.watch(forgotten, awaited[1])
    posts.deadlines.forget(forgotten)
    await posts.look()
    assert late.has_expired
    assert awaited[0].cancelled()
    assert not awaited[1].done()


def test_what_a_post_presents_shows_in_no_log_of_a_failed_callback() -> None:
    post = Post("its-token", body=b"its-body", secrets=("its-secret",))
    request: Any = WholeRequest(None, {"headers": ((b"x", b"its-secret"),)}, b"its-body", keep_alive=True)  # type: ignore[arg-type]
    assert "its-" not in repr(partial(print, request, post))
