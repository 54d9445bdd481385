"""A store of several shards, filled by the scripts that ingress and worker use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from libs.common.domain.ids import AccountName, AlertId
from libs.common.policy.shards import HASH
from libs.common.store.admission import parts_of
from libs.common.store.shards import Shards
from tests.support.eventually import eventually
from tests.support.filled_store import FilledStore

T = TypeVar("T")

SHARDS: Final = 4

ACCOUNTS: Final = ("main", "gamma", "paper", "scalp")
"""One on each of four shards: number n is on shard n."""


class ShardedStore:
    """Plays ingress and worker on all shards, one step at a time."""

    def __init__(self, shards: Shards, holder: str) -> None:
        self.shards = shards
        self.stores = [FilledStore(shard.client, holder, shard.keys) for shard in shards]

    async def note(self) -> None:
        """Note on each over how many shards accounts are spread, as the first start of a service does."""
        for part in self.stores:
            await part.client.hset(part.keys.meta, mapping={"shards": len(self.stores), "hash": HASH})

    def of(self, account: str) -> FilledStore:
        """Return the shard of an account."""
        return self.stores[self.shards.of(AccountName(account)).number]

    async def admit(self, symbol: str = "BTCUSDT", *, accounts: tuple[str, ...], **asked: Any) -> AlertId:
        """Make an alert durable on each shard that has accounts of it, and return its id."""
        whole = await self.of(accounts[0]).admission(symbol, accounts=accounts, **asked)
        ids = [
            await self.stores[number].submit(part)
            for number, part in parts_of(whole, len(self.stores)).items()
        ]
        return ids[0]

    async def next_moment(self) -> None:
        """Wait until Redis' clock has moved on: what happens next is later than all before, on any shard."""
        client = self.stores[0].client
        before = await _now_ms(client)

        async def has_moved() -> bool:
            return await _now_ms(client) > before

        await eventually(has_moved)


async def _now_ms(client: Redis) -> int:
    seconds, micros = await client.time()
    return int(seconds) * 1_000 + int(micros) // 1_000


@asynccontextmanager
async def sharded_store(
    url: str, count: int = SHARDS, holder: str = "worker-a"
) -> AsyncIterator[ShardedStore]:
    """Connect a `ShardedStore` and disconnect it at the end."""
    shards = Shards.open(url, count, timeout_s=5)
    try:
        store = ShardedStore(shards, holder)
        await store.note()
        yield store
    finally:
        await shards.aclose()


def fill_shards(url: str, steps: Callable[[ShardedStore], Awaitable[T]], count: int = SHARDS) -> T:
    """Take steps from a test that has no loop of its own, and return what they return."""

    async def taking() -> T:
        async with sharded_store(url, count) as store:
            return await steps(store)

    return asyncio.run(taking())
