import asyncio
from time import monotonic

from services.ingress.deadlines import Deadlines
from tests.support.eventually import eventually


async def wait_for_ever(deadlines: Deadlines) -> float:
    """Return after how long it was interrupted, in seconds."""
    started_s = monotonic()
    post = deadlines.watch()
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        assert post.has_expired
        post.carry_on()
    return monotonic() - started_s


async def test_each_post_is_interrupted_at_its_own_time() -> None:
    deadlines = Deadlines(0.1)
    first = asyncio.create_task(wait_for_ever(deadlines))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(wait_for_ever(deadlines))
    for elapsed_s in await asyncio.gather(first, second):
        assert 0.095 <= elapsed_s < 0.2


async def test_a_forgotten_post_is_left_alone() -> None:
    deadlines = Deadlines(0.02)

    async def finish_in_time() -> bool:
        post = deadlines.watch()
        deadlines.forget(post)
        await asyncio.sleep(0.06)
        return post.has_expired

    assert not await finish_in_time()


async def test_forgetting_some_does_not_spare_the_others() -> None:
    deadlines = Deadlines(0.05)
    waiting = []
    for _ in range(20):
        waiting.append(asyncio.create_task(wait_for_ever(deadlines)))
        await asyncio.sleep(0)
        deadlines.forget(deadlines.watch())
    await eventually(lambda: all(task.done() for task in waiting), timeout_s=2)


async def test_it_watches_again_after_a_pause() -> None:
    deadlines = Deadlines(0.02)
    await wait_for_ever(deadlines)
    await asyncio.sleep(0.03)
    assert await wait_for_ever(deadlines) < 0.1
