"""Turns of one process: what its end takes."""

import asyncio

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.keys import Keys
from libs.common.store.shards import Shard
from libs.common.store.turns import Turn, Turns


async def test_turns_are_given_back_at_once_so_that_a_redis_that_hangs_holds_the_end_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, all_asked = list[Turn](), asyncio.Event()

    async def give_back(turn: Turn) -> None:
        asked.append(turn)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(Turn, "give_back", give_back)
    turns, shard = Turns("one"), Shard(0, Keys(), Redis())
    own = [turns.of(shard, duty, 1_000) for duty in ("silence", "refusals", "tell_url")]

    async with asyncio.timeout(5):
        await turns.give_back()

    assert asked == own
