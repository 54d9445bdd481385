import asyncio

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.together import run_together


async def test_it_returns_when_every_part_has_ended():
    stopping, ended = asyncio.Event(), list[int]()

    async def part(number: int) -> None:
        await stopping.wait()
        ended.append(number)

    running = asyncio.create_task(run_together(stopping, *(part(number) for number in range(3))))
    await asyncio.sleep(0)
    assert not running.done()
    stopping.set()
    await running
    assert sorted(ended) == [0, 1, 2]


async def test_where_one_fails_the_others_stop_in_good_order_and_its_error_is_raised():
    stopping, ended = asyncio.Event(), list[str]()

    async def fails() -> None:
        raise ConfigError("no")

    async def goes_on() -> None:
        await stopping.wait()
        await asyncio.sleep(0)
        ended.append("in good order")

    with pytest.raises(ConfigError, match="no"):
        await run_together(stopping, goes_on(), fails(), goes_on())
    assert ended == ["in good order"] * 2


async def test_cancelled_it_cancels_its_parts():
    cancelled = list[str]()

    async def part() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append("part")

    running = asyncio.create_task(run_together(asyncio.Event(), part(), part()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled == ["part", "part"]
