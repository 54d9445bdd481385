"""Streams of several shards, newest first, as one."""

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from libs.common.store.merging import merged_backwards

Event = tuple[int, int, int]
"""When, on which shard, and as the how many-th there."""

STREAMS = st.lists(st.lists(st.integers(0, 30), max_size=25), min_size=1, max_size=5)


async def pages(stream: list[Event], size: int) -> AsyncIterator[list[Event]]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]


def streams_of(times: list[list[int]]) -> list[list[Event]]:
    return [
        [(at, shard, index) for index, at in enumerate(sorted(own))][::-1] for shard, own in enumerate(times)
    ]


def read(streams: list[list[Event]], size: int) -> list[list[Event]]:
    async def reading() -> list[list[Event]]:
        sources = [pages(stream, size) for stream in streams]
        return [page async for page in merged_backwards(sources, lambda event: event[0])]

    return asyncio.run(reading())


@given(STREAMS, st.integers(1, 7))
def test_everything_comes_once_and_newest_first_whatever_the_pages(times: list[list[int]], size: int) -> None:
    streams = streams_of(times)
    merged = [event for page in read(streams, size) for event in page]

    assert sorted(merged) == sorted(event for stream in streams for event in stream)
    assert [at for at, _, _ in merged] == sorted((at for at, _, _ in merged), reverse=True)
    for shard, stream in enumerate(streams):
        assert [event for event in merged if event[1] == shard] == stream


@given(STREAMS, st.integers(1, 7))
def test_no_page_is_empty(times: list[list[int]], size: int) -> None:
    assert all(read(streams_of(times), size))


def test_only_as_much_is_read_as_is_asked_for() -> None:
    taken: list[int] = []

    async def source(shard: int) -> AsyncIterator[list[int]]:
        for at in range(100, 0, -1):
            taken.append(shard)
            yield [at]

    async def newest() -> list[int]:
        async for page in merged_backwards([source(0), source(1)], lambda at: at):
            return page
        return []

    assert asyncio.run(newest()) == [100, 100]
    assert taken == [0, 1]
