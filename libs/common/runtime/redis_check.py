"""Checks Redis' promises: as soon as it answers, be that later than the start of the process, and from then on."""

import asyncio
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from libs.common.domain.errors import ConfigError, StoreBarred, StoreUnavailable
from libs.common.runtime.settings import RedisSettings
from libs.common.runtime.waiting import wait_for_event
from libs.common.store.checks import ServerFacts, check_server
from libs.common.store.client import connect
from libs.common.store.layout import claim_layout
from libs.common.store.replicas import TooFewReplicas, check_replicas, guard_promise
from libs.common.store.shards import Shard
from libs.common.telemetry.logs import get_logger
from libs.common.telemetry.outage import Outage

RETRY_S: Final = 0.2

FIRST_TIMEOUT_S: Final = 2.0

LOOP: Final = "check"

AGAIN_S: Final = 1.0
"""Between checks while the process runs: a Redis that was restarted may come back with another configuration."""

log = get_logger()


async def check_when_up(
    shard: Shard, redis: RedisSettings, claimed: asyncio.Event, stopping: asyncio.Event
) -> bool:
    """Wait until the Redis of a shard answers, and tell whether it did: False where `stopping` was set before.

    The first shard knows how many there are: until it was claimed nothing is asked of any other, which may be empty only
    because Redis holds fewer. What went there would wait for ever once the number is set right.

    By the event and not by cancelling: a cancelled Redis call may complete at that very moment, and on Python 3.11
    the cancellation is then lost.

    Args:
        shard: Nothing was called yet on its connections.
        redis: What it is held against.
        claimed: Of all shards of this process; set once the first holds the number that is configured.
        stopping: Ends the waiting.

    Raises:
        ConfigError: It does not let us in, does not keep the promises of the configuration, or holds another number of
            shards; the process must end.
    """
    away_at_s: float | None = None
    now_s = asyncio.get_running_loop().time
    while shard.number > 0 and not await wait_for_event(claimed, RETRY_S):
        if stopping.is_set():
            return False
    # On a connection that was greeted Redis would count as used already.
    first = connect(redis.url, timeout_s=FIRST_TIMEOUT_S, connections=1, shard=shard.number)
    try:
        while not stopping.is_set():
            try:
                # Before anything long: who has not said who he is hears so only of short commands.
                await check_server(first, redis.durability)
                await claim_layout(first, shard.keys, redis.shards)
                claimed.set()
                facts = await check_server(shard.client, redis.durability, replicas=redis.replicas)
            except StoreBarred as error:
                raise ConfigError(f"{error}: {error.remedy}") from error
            except StoreUnavailable as error:
                if away_at_s is None:
                    away_at_s = now_s()
                    log.warning("redis_away", error=str(error), shard=shard.number)
                await wait_for_event(stopping, RETRY_S)
            else:
                if away_at_s is not None:
                    log.info("redis_back", shard=shard.number, away_ms=round((now_s() - away_at_s) * 1_000))
                _tell_of_guard(facts, redis, shard)
                return True
    finally:
        await first.aclose()
    return False


def _tell_of_guard(facts: ServerFacts, redis: RedisSettings, shard: Shard) -> None:
    guard = guard_promise(facts, redis.replicas)
    if guard is not None and not guard.is_kept:
        log.warning("redis_unguarded", found=guard.finding, remedy=guard.remedy, shard=shard.number)


async def keep_checking(
    client: Redis,
    redis: RedisSettings,
    stopping: asyncio.Event,
    on_change: Callable[[str | None], None],
    *,
    outage: Outage,
    on_facts: Callable[[ServerFacts], None] = lambda _: None,
) -> None:
    """Check every second until `stopping` is set.

    Args:
        client: Whose server to check.
        redis: What it is held against.
        stopping: Ends it.
        on_change: Called with what is wrong once a promise is broken, and with None once all are kept again.
        outage: Says that Redis is away.
        on_facts: Called with what a server that keeps them says of itself, at every look.
    """
    broken: str | None = None
    while not await wait_for_event(stopping, AGAIN_S):
        found: str | None = None
        try:
            facts = await check_server(client, redis.durability, replicas=redis.replicas)
            check_replicas(facts, redis.replicas)
        except TooFewReplicas as error:
            found = str(error)
        except StoreUnavailable as error:
            outage.covers(LOOP, error)
            continue
        except ConfigError as error:
            found = str(error)
        else:
            on_facts(facts)
        outage.answered(LOOP)
        if found != broken:
            broken = found
            on_change(found)
