"""How many instructions wait in lanes, and which is first, for those who read."""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from libs.common.domain.ids import LaneName
from libs.common.store.keys import Keys
from libs.common.store.streams import Entry, read_entry

_CHUNK: Final = 500


class LaneHead(NamedTuple):
    """What one lane holds."""

    lane: LaneName
    waiting: int
    head: Entry | None
    """None where it is empty."""


async def lane_heads(client: Redis, keys: Keys, lanes: Sequence[str]) -> AsyncIterator[LaneHead]:
    """Yield what each of these lanes holds, some hundred in one round trip.

    Raises:
        RedisError: No answer, or a key is no stream.
        OSError: No answer.
    """
    for start in range(0, len(lanes), _CHUNK):
        part = [LaneName(lane) for lane in lanes[start : start + _CHUNK]]
        async with client.pipeline(transaction=False) as pipeline:
            for lane in part:
                key = keys.lane(lane)
                pipeline.xlen(key)
                pipeline.xrange(key, count=1)
            replies: list[Any] = await pipeline.execute()
        for lane, length, first in zip(part, replies[::2], replies[1::2], strict=True):
            yield LaneHead(lane, int(length), read_entry(*first[0]) if first else None)
