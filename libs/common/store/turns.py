"""Turns of what one of several reapers is enough for."""

from redis.asyncio import Redis

from libs.common.store.keys import Keys
from libs.common.store.scripts import Script


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
        self._args = ["", holder, str(lasts_ms)]
        self._take = Script("take_turn")

    async def take(self) -> bool:
        """Take or keep the turn; tell whether it is ours.

        Raises:
            StoreUnavailable: No answer: it may be ours.
        """
        return bool(await self._take.run(self._client, self._keys, self._args))
