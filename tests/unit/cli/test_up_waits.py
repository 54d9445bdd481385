"""What `bascule up` waits for can be given up."""

import asyncio

import pytest

from cli.up import _is_listening
from tests.support.ports import free_port


@pytest.mark.parametrize("ticks", range(12))
async def test_asking_whether_a_port_listens_can_be_cancelled_at_any_moment(ticks: int) -> None:
    asking = asyncio.create_task(_is_listening("127.0.0.1", free_port()))
    for _ in range(ticks):
        await asyncio.sleep(0)
    was_over = asking.done()
    asking.cancel()
    await asyncio.wait([asking])
    assert was_over or asking.cancelled()
