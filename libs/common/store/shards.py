"""The shards that accounts are spread over, each with keys and connections of its own.

On Redis Cluster each shard lies on one of the primaries; elsewhere they lie side by side.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from libs.common.domain.ids import AccountName
from libs.common.policy.shards import shard_of
from libs.common.store.client import MOST_CONNECTIONS, connect, guide_of
from libs.common.store.keys import Keys

Greet = Callable[[AbstractConnection], Awaitable[None]]
"""Makes the first calls on each new connection."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard."""

    number: int
    keys: Keys
    client: Redis


class Shards(Sequence[Shard]):
    """All shards, by their numbers."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        """Args:
        shards: All of them in the order of their numbers; at least one.
        """
        self._shards = tuple(shards)

    @classmethod
    def open(
        cls,
        url: str,
        count: int,
        *,
        timeout_s: float,
        connections: int = MOST_CONNECTIONS,
        greeting: Callable[[Keys], Greet] | None = None,
    ) -> "Shards":
        """Return all shards; nothing is connected before the first call.

        Args:
            url: The address of Redis.
            count: How many there are.
            timeout_s: As with `connect`.
            connections: The most that are open at once, for each shard.
            greeting: Returns what makes the first calls on connections to a shard with these keys.

        Raises:
            ConfigError: As with `connect`.
        """
        shards, guide = [], guide_of(url, timeout_s=timeout_s)
        for number in range(count):
            keys = Keys(number)
            greet = None if greeting is None else greeting(keys)
            client = connect(
                url,
                timeout_s=timeout_s,
                connections=connections,
                greet=greet,
                shard=number,
                guide=guide,
            )
            shards.append(Shard(number, keys, client))
        return cls(shards)

    @property
    def first(self) -> Shard:
        """Return the shard that also holds what belongs to no account: webhooks and symbols made at run time, and posts
        that were refused.
        """
        return self._shards[0]

    def of(self, account: AccountName) -> Shard:
        """Return the shard of an account."""
        return self._shards[shard_of(account, len(self._shards))]

    async def aclose(self) -> None:
        """Close all connections."""
        for shard in self._shards:
            await shard.client.aclose()

    @overload
    def __getitem__(self, index: int) -> Shard: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Shard]: ...

    def __getitem__(self, index: int | slice) -> Shard | Sequence[Shard]:
        return self._shards[index]

    def __len__(self) -> int:
        return len(self._shards)

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards)
