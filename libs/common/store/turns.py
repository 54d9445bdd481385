"""Turns of what one of several reapers is enough for."""

import asyncio
from contextlib import suppress

from redis.asyncio import Redis

from libs.common.domain.errors import BridgeError
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.store.shards import Shard


class Turn:
    """One duty's: whoever takes it has it until it stops asking for so long."""

    def __init__(self, client: Redis, keys: Keys, duty: str, *, holder: str, lasts_ms: int) -> None:
        """Args:
        client: Where it is kept.
        keys: The shard's.
        duty: What is done.
        holder: Who asks; no two processes are called the same.
        lasts_ms: How long it is somebody's after the last asking.
        """
        self._client = client
        self._keys = [*keys.fixed, keys.watchdog_turn(duty)]
        self._holder = holder
        self._lasts_ms = lasts_ms
        self._is_ours = False
        self._take = Script("take_turn")

    async def take(self) -> bool:
        """Take or keep the turn; tell whether it is ours.

        Raises:
            StoreUnavailable: No answer: it may be ours.
        """
        # Whoever does not hear that it is ours gives it back all the same.
        self._is_ours = True
        self._is_ours = await self._ask(self._lasts_ms)
        return self._is_ours

    async def give_back(self) -> None:
        """Let somebody else have it at once, where it is ours.

        Raises:
            StoreUnavailable: No answer: it may be ours until its end.
        """
        if self._is_ours:
            self._is_ours = False
            await self._ask(1)

    async def _ask(self, lasts_ms: int) -> bool:
        args: list[str | bytes | int] = ["", self._holder, lasts_ms]
        return bool(await self._take.run(self._client, self._keys, args))


class Turns:
    """All turns that one process may have."""

    def __init__(self, holder: str) -> None:
        """Args:
        holder: What the process is called, and no other.
        """
        self._holder = holder
        self._turns: list[Turn] = []

    def of(self, shard: Shard, duty: str, lasts_ms: int) -> Turn:
        """Return the turn of a duty in a shard, which is nobody's until somebody takes it."""
        turn = Turn(shard.client, shard.keys, duty, holder=self._holder, lasts_ms=lasts_ms)
        self._turns.append(turn)
        return turn

    async def give_back(self) -> None:
        """Let others have those that are ours; where Redis is away, they have them once these have run out.

        All at once: a Redis that stands still holds the end up for one time-out, and not for one of each turn.
        """
        await asyncio.gather(*(_give_back(turn) for turn in self._turns))


async def _give_back(turn: Turn) -> None:
    with suppress(BridgeError):
        await turn.give_back()
