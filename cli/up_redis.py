"""Whether a Redis is fit for the bridge, asked once before anything is started on it."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from libs.common.domain.errors import ConfigError, StoreBarred, StoreCorrupt, StoreUnavailable
from libs.common.runtime.secrets import mask_url
from libs.common.runtime.settings import RedisSettings
from libs.common.store.checks import check_server
from libs.common.store.client import connect
from libs.common.store.fan_out import ask_all
from libs.common.store.keys import Keys
from libs.common.store.layout import claim_layout, read_layout
from libs.common.store.shards import Shards

PATIENCE_S: Final = 10.0
"""How long a server that is away is waited for."""

_TIMEOUT_S: Final = 2.0
_ASK_S: Final = 0.25


async def check_redis(
    redis: RedisSettings, say: Callable[[str], None], *, patience_s: float = PATIENCE_S
) -> None:
    """Make sure that a server answers, lets us in, keeps the promises of the configuration and holds its shards.

    Args:
        redis: Where it is, and what it must promise.
        say: Told once that it is waited for.
        patience_s: How long it is waited for.

    Raises:
        ConfigError: It does not; one line with what to do.
    """
    where = f"Redis at {mask_url(redis.url)} (REDIS_URL)"
    shards = Shards.open(redis.url, redis.shards, timeout_s=_TIMEOUT_S, connections=1)
    deadline_s = time.monotonic() + patience_s
    is_away = False
    try:
        while True:
            try:
                await ask_all({one.number: check_server(one.client, redis.durability) for one in shards})
                # A node of a cluster says of the shards that are not its own where they are.
                await ask_all({one.number: read_layout(one.client, one.keys) for one in shards})
                await claim_layout(shards.first.client, shards.first.keys, redis.shards)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from error
            except (StoreUnavailable, StoreCorrupt) as error:
                cause = str(error.__cause__ or error).rstrip(".")
                if isinstance(error, StoreBarred):
                    raise ConfigError(f"{where}: {error}: {error.remedy}") from error
                if isinstance(error, StoreCorrupt):
                    raise ConfigError(f"{where} cannot be used: {cause}") from error
                if time.monotonic() >= deadline_s:
                    remedy = "start it, correct its address, or unset REDIS_URL for a Redis of our own"
                    raise ConfigError(f"no answer from {where}: {cause}: {remedy}") from error
                if not is_away:
                    say(f"no answer from {where} yet: {cause}; waiting up to {patience_s:g} s")
                is_away = True
            else:
                return
            await asyncio.sleep(_ASK_S)
    finally:
        await shards.aclose()


async def check_own_shards(url: str, shards: int, data: str) -> None:
    """Make sure that our own Redis holds as many shards as the configuration says.

    Args:
        url: Where it answers.
        shards: As configured.
        data: The directory with its data, in words.

    Raises:
        ConfigError: It holds another number; one line with what to do.
        StoreUnavailable: No answer.
    """
    client = connect(url, timeout_s=_TIMEOUT_S, connections=1)
    try:
        await claim_layout(client, Keys(0), shards)
    except ConfigError as error:
        raise ConfigError(f"Redis with the data in {data}: {error}") from error
    finally:
        await client.aclose()
