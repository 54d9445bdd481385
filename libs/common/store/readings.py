"""Everything that is read for people, of all shards as of one; lists are searched newest first, within bounds."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import copy
from itertools import chain
from typing import Final
from urllib.parse import urlsplit

from redis.exceptions import RedisError

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.domain.ids import AccountName, DeadLetterId
from libs.common.policy.report import Asked
from libs.common.store.client import call, misfit, translate
from libs.common.store.dead_letters import DeadLetter, Discard, Replay
from libs.common.store.fan_out import ask_each
from libs.common.store.halts import HaltsEverywhere
from libs.common.store.health import Health, merge_health, read_health
from libs.common.store.layout import read_layout
from libs.common.store.records import OrderRecord
from libs.common.store.report import Report, merge_activity
from libs.common.store.searches import Searches
from libs.common.store.shards import Shard, Shards
from libs.common.store.tables import TableStore
from libs.common.store.tail import Tail
from libs.common.wire.redis_url import CLUSTER_SCHEMES

TIMEOUT_S: Final = 2.0
"""How long people wait for an answer; each is small."""

CONNECTIONS: Final = 2
"""To each shard."""

ASKED_AT_MOST: Final = 16
"""Shards that are asked how many there are: enough for some of them to lie on another node than the first."""


class Readings(Searches):
    """What the command and the console read."""

    def __init__(self, shards: Shards) -> None:
        super().__init__(shards)
        self.first = self.parts[shards.first.number]
        """Where that is kept which belongs to no account."""
        self.tables = TableStore(shards.first.client, shards.first.keys)
        self.halts = HaltsEverywhere({number: one.halts for number, one in self.parts.items()})
        self.tail = Tail(shards, self.alerts_within_reach)

    @classmethod
    @asynccontextmanager
    async def at(cls, url: str, *, timeout_s: float = TIMEOUT_S) -> AsyncIterator["Readings"]:
        """Connect to all shards that Redis says it has, and disconnect at the end.

        Raises:
            ConfigError: The address cannot be read, or names a file that cannot be used.
            StoreUnavailable: Redis does not say how many there are.
            StoreCorrupt: How many there are cannot be read.
        """
        shards = Shards.open(url, 1, timeout_s=timeout_s, connections=CONNECTIONS)
        try:
            count = await _count(shards.first, url, timeout_s)
            if count > 1:
                await shards.aclose()
                shards = Shards.open(url, count, timeout_s=timeout_s, connections=CONNECTIONS)
            yield cls(shards)
        finally:
            await shards.aclose()

    def only(self, account: AccountName) -> "Readings":
        """Return the same of the shard of an account alone: of an alert what belongs to accounts elsewhere is left out."""
        shard = self._shards.of(account)
        narrowed = copy(self)
        narrowed.parts = {shard.number: self.parts[shard.number]}
        narrowed.tail = Tail(Shards([shard]), narrowed.alerts_within_reach)
        return narrowed

    async def now_ms(self) -> int:
        """Return Redis' time, on the first shard; where that is away, on another.

        Raises:
            StoreUnavailable: No answer.
        """
        try:
            return await self.first.now_ms()
        except StoreBarred:
            raise
        except StoreUnavailable:
            answers = (await self.each(lambda one: one.now_ms())).answers
            if not answers:
                raise
            return next(iter(answers.values()))

    async def noted_shards(self) -> int | None:
        """Return how many shards Redis says it has; None where nobody has used it yet.

        Raises:
            StoreUnavailable: No answer.
            StoreCorrupt: It is no number of shards.
        """
        return await _noted(self._shards.first)

    async def health(self, durability: str) -> Health:
        """Return how the bridge is doing, on the shards that answer.

        Args:
            durability: The configured promise.

        Raises:
            StoreUnavailable: None answers.
            StoreCorrupt: Halts are kept under something else than a hash.
        """
        return merge_health(await self.each(lambda one: read_health(one, durability)))

    async def letters_by_reason(self) -> Mapping[str, int]:
        """Return reason -> dead letters, of the newest ones on each shard that answers."""
        found: Counter[str] = Counter()
        for counts in (await self.each(lambda one: one.letters_by_reason())).answers.values():
            found.update(counts)
        return found

    async def report(self, asked: Asked, since_ms: int, until_ms: int) -> Report:
        """Return what came in within a period and what has become of it by now, on the shards that answer.

        Args:
            asked: What is counted.
            since_ms: The beginning of the period, by Redis' clock.
            until_ms: Its end, which does not belong to it.

        Raises:
            StoreUnavailable: None answers.
            StoreCorrupt: A journal is kept under something else than a stream.
        """
        spread = await self.each(lambda one: one.activity.read(asked, since_ms, until_ms))
        return merge_activity(spread, asked, since_ms, until_ms)

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


async def _count(first: Shard, url: str, timeout_s: float) -> int:
    """Return how many shards there are: the first says so, and where its node of a cluster is away, any other."""
    try:
        return await _noted(first) or 1
    except StoreBarred:
        raise
    except StoreUnavailable:
        if urlsplit(url).scheme not in CLUSTER_SCHEMES:
            raise
        others = Shards.open(url, ASKED_AT_MOST, timeout_s=timeout_s, connections=1)
        try:
            told = (await ask_each({one.number: _noted(one) for one in others[1:]})).answers
        finally:
            await others.aclose()
        count = max((found or 0 for found in told.values()), default=0)
        if count <= 1:
            raise
        return count


async def _noted(shard: Shard) -> int | None:
    """Return how many shards there are, as one of them says; None where nobody has used it yet."""
    try:
        answer = await call(shard.client, "HMGET", shard.keys.meta, "shards", "run_id")
    except (RedisError, OSError) as error:
        raise translate(error) from error
    match answer:
        case [bytes() | None as noted, bytes() | None as met]:
            pass
        case _:  # the first of what is asked for people: whoever else is there answers it in his own way
            raise misfit(shard.client, "HMGET", answer)
    if noted is None:
        # What was used before numbers were noted has one.
        return None if met is None else 1
    return await read_layout(shard.client, shard.keys)
