"""What is lent to whom; no connection is ever opened."""

import asyncio
import math

import pytest

from services.worker.brokers.connections import Connections
from services.worker.brokers.http_connection import HttpConnection
from tests.support.eventually import eventually

NEVER_S = math.inf


def make() -> HttpConnection:
    return HttpConnection("venue.example", 443, None)


async def test_the_connection_used_last_is_lent_first() -> None:
    connections = Connections(8, make)
    async with connections.lend(NEVER_S) as first, connections.lend(NEVER_S) as second:
        assert first is not second
    for _ in range(3):
        async with connections.lend(NEVER_S) as again:
            assert again is first, "it came back last"
    connections.close()


async def test_a_connection_of_a_failed_call_is_not_lent_again() -> None:
    connections = Connections(1, make)
    with pytest.raises(ValueError, match="the call failed"):
        async with connections.lend(NEVER_S) as failed:
            raise ValueError("the call failed")
    async with connections.lend(NEVER_S) as other:
        assert other is not failed
    connections.close()


async def test_a_cancelled_call_makes_room_for_the_next() -> None:
    connections = Connections(1, make)

    async def hold() -> None:
        async with connections.lend(NEVER_S):
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    waiting = asyncio.create_task(hold())
    await eventually(connections._permits.locked)
    holding.cancel()
    await asyncio.wait([holding])
    await eventually(connections._permits.locked)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.wait([waiting])
    async with connections.lend(NEVER_S):
        pass
    connections.close()


async def test_no_more_are_lent_at_once_than_allowed() -> None:
    connections = Connections(3, make)
    lent, most = 0, 0

    async def call() -> None:
        nonlocal lent, most
        async with connections.lend(NEVER_S):
            lent += 1
            most = max(most, lent)
            await asyncio.sleep(0)
            lent -= 1

    await asyncio.gather(*(call() for _ in range(20)))
    assert most == 3
    connections.close()
    connections.close()
