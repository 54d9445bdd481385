"""Everything that is read for people, of all shards as of one; lists are searched newest first, within bounds."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Final, TypeVar

from redis.exceptions import RedisError

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.domain.ids import AccountName, DeadLetterId
from libs.common.store.client import call, translate
from libs.common.store.dead_letters import DeadLetter, Discard, Replay
from libs.common.store.halts import HaltsEverywhere
from libs.common.store.health import Health, merge_health, read_health
from libs.common.store.records import OrderRecord
from libs.common.store.searches import Searches
from libs.common.store.shards import Shards, read_layout
from libs.common.store.tables import TableStore
from libs.common.store.tail import Tail

T = TypeVar("T")

TIMEOUT_S: Final = 2.0
"""How long people wait for an answer; each is small."""

CONNECTIONS: Final = 2
"""To each shard."""


class Readings(Searches):
    """What the command and the console read."""

    def __init__(self, shards: Shards) -> None:
        super().__init__(shards)
        self.first = self.parts[shards.first.number]
        """Where that is kept which belongs to no account."""
        self.tables = TableStore(shards.first.client, shards.first.keys)
        self.halts = HaltsEverywhere({number: one.halts for number, one in self.parts.items()})
        self.tail = Tail(shards, self.bare_alerts)

    @classmethod
    @asynccontextmanager
    async def at(
        cls,
        url: str,
        *,
        timeout_s: float = TIMEOUT_S,
        expected_shards: Callable[[], int | None] = lambda: None,
    ) -> AsyncIterator["Readings"]:
        """Connect to all shards that Redis says it has, and disconnect at the end.

        Args:
            url: The address of Redis.
            timeout_s: As with `connect`.
            expected_shards: Returns how many there ought to be, for when the first one, which knows, does not answer.

        Raises:
            ConfigError: The address cannot be read, or names a file that cannot be used.
            StoreUnavailable: The first shard does not answer, and more than one is not expected.
            StoreCorrupt: How many shards there are cannot be read.
        """
        shards = Shards.open(url, 1, timeout_s=timeout_s, connections=CONNECTIONS)
        try:
            count = await _count(shards, expected_shards)
            if count > 1:
                await shards.aclose()
                shards = Shards.open(url, count, timeout_s=timeout_s, connections=CONNECTIONS)
            yield cls(shards)
        finally:
            await shards.aclose()

    @property
    def shard_count(self) -> int:
        """Return how many shards there are."""
        return len(self.parts)

    async def now_ms(self) -> int:
        """Return Redis' time, on the first shard.

        Raises:
            StoreUnavailable: No answer.
        """
        return await self.first.now_ms()

    async def noted_shards(self) -> int | None:
        """Return how many shards Redis says it has; None where no service has noted it yet.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: It is no number of shards.
        """
        first = self._shards.first
        try:
            noted = await call(first.client, "HGET", first.keys.meta, "shards")
        except (RedisError, OSError) as error:
            raise translate(error) from error
        return None if noted is None else await read_layout(first.client, first.keys)

    async def health(self, durability: str) -> Health:
        """Return how the bridge is doing, on the shards that answer.

        Args:
            durability: The configured promise.

        Raises:
            StoreUnavailable: None answers.
            StoreCorrupt: Halts are kept under something else than a hash.
        """
        return merge_health(await self.each(lambda one: read_health(one, durability)))

    async def paper_accounts(self) -> list[AccountName]:
        """Return the paper accounts that have ever traded, found by a walk through all keys.

        Raises:
            StoreUnavailable: No answer.
        """
        return sorted(chain.from_iterable(await self.all(lambda one: one.paper_accounts())))

    async def published_accounts(self) -> list[AccountName]:
        """Return the accounts of which positions were ever read, found by a walk through all keys.

        Raises:
            StoreUnavailable: No answer.
        """
        return sorted(chain.from_iterable(await self.all(lambda one: one.published.accounts())))

    async def resting(self) -> list[OrderRecord]:
        """Return the orders of all accounts that we follow at their venues.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: A record cannot be read.
        """
        return list(chain.from_iterable(await self.all(lambda one: one.holdings.resting())))

    async def letters(self, letter_id: DeadLetterId) -> list[DeadLetter]:
        """Return the dead letters of one id, of which each shard may have one.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: The id has not the form of one.
        """
        return [one for one in await self.all(lambda one: one.dead_letters.get(letter_id)) if one is not None]

    async def replay(self, letter: DeadLetter, *, max_age_ms: int) -> Replay:
        """Put a dead letter back at the tail of its lane; see `DeadLetters.replay`."""
        return await self.parts[letter.shard].dead_letters.replay(letter.letter_id, max_age_ms=max_age_ms)

    async def discard(self, letter: DeadLetter) -> Discard:
        """Drop a dead letter for good; see `DeadLetters.discard`."""
        return await self.parts[letter.shard].dead_letters.discard(letter.letter_id)


async def _count(shards: Shards, expected: Callable[[], int | None]) -> int:
    """Return how many shards there are, by the first; where it does not answer, as many as are expected."""
    try:
        return await read_layout(shards.first.client, shards.first.keys)
    except StoreBarred:
        raise
    except StoreUnavailable:
        count = expected()
        if count is None or count == 1:
            raise
        return count
