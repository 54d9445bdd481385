import asyncio

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from libs.common.store.shared_look import SharedLook


class Looks:
    """Counts looks; each ends when a test says so."""

    def __init__(self) -> None:
        self.count = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None
        self.shared = SharedLook(self.look)

    async def look(self) -> None:
        self.count += 1
        await self.may_end.wait()
        if self.error is not None:
            raise self.error

    async def wait(self, count: int) -> list[asyncio.Task[None]]:
        waiting = [asyncio.create_task(self.shared.finish()) for _ in range(count)]
        while not self.count:
            await asyncio.sleep(0)
        return waiting


async def test_all_who_wait_are_told_of_its_failure():
    looks = Looks()
    waiting = await looks.wait(3)
    looks.error = RedisConnectionError("nobody there")
    looks.may_end.set()
    told = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(one) for one in told] == ["nobody there"] * 3
    assert looks.count == 1


async def test_who_gives_up_leaves_it_to_the_others():
    looks = Looks()
    first, second = await looks.wait(2)
    first.cancel()
    await asyncio.wait([first])
    looks.may_end.set()
    await second
    assert first.cancelled()
    assert looks.count == 1


async def test_who_waits_while_it_is_closed_is_told_and_not_cancelled():
    looks = Looks()
    (waiting,) = await looks.wait(1)
    await looks.shared.aclose()
    assert not looks.shared.is_under_way
    with pytest.raises(RedisConnectionError, match="closed while"):
        await waiting


async def test_after_closing_it_looks_anew():
    looks = Looks()
    waiting = await looks.wait(1)
    await looks.shared.aclose()
    await asyncio.wait(waiting)
    looks.may_end.set()
    await looks.shared.finish()
    assert looks.count == 2
