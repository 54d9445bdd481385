"""Makes one stream, newest first, of those of several shards."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

from libs.common.store.fan_out import ask_all

T = TypeVar("T")


async def merged_backwards(
    sources: Sequence[AsyncIterator[list[T]]], at_ms: Callable[[T], int]
) -> AsyncIterator[list[T]]:
    """Yield pages of what several streams hold, newest first.

    Args:
        sources: Of each shard in the order of their numbers; pages that are not empty, newest first.
        at_ms: When something happened. What happened in one moment comes in the order of the shards, the last first.

    Raises:
        StoreUnavailable: A shard did not answer.
    """
    if len(sources) == 1:
        async for page in sources[0]:
            yield page
        return
    pages: dict[int, list[T]] = {}
    unended = dict.fromkeys(range(len(sources)))
    while unended or pages:
        wanted = {number: _next(sources[number]) for number in unended if number not in pages}
        for number, found in (await ask_all(wanted) if wanted else {}).items():
            if found is None:
                del unended[number]
            else:
                pages[number] = found
        # Behind the end of a page there may be more, which is newer than what others hold.
        bounds = [at_ms(pages[number][-1]) for number in unended]
        known_from_ms = max(bounds, default=None)
        ripe: list[T] = []
        for number in sorted(pages, reverse=True):
            page = pages.pop(number)
            count = sum(known_from_ms is None or at_ms(one) >= known_from_ms for one in page)
            ripe += page[:count]
            if count < len(page):
                pages[number] = page[count:]
        ripe.sort(key=lambda one: -at_ms(one))
        if ripe:
            yield ripe


async def _next(source: AsyncIterator[list[T]]) -> list[T] | None:
    return await anext(source, None)
