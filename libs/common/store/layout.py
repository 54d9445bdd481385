"""Over how many shards the accounts in Redis are spread: noted once, by the first start of a service, and read by all."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.domain.errors import ConfigError, StoreCorrupt
from libs.common.policy.shards import HASH, MOST
from libs.common.store.client import call, misfit, translate
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script


async def claim_layout(client: Redis, keys: Keys, count: int) -> None:
    """Note how many shards there are, if nobody has.

    Args:
        client: Calls nothing else before on a new Redis.
        keys: Of the shard whose server is asked.
        count: As configured.

    Raises:
        ConfigError: Redis holds another number, or spread by another hash: accounts would be looked for in the wrong place.
        StoreUnavailable: No answer.
    """
    answer = await Script("layout").run(client, keys.fixed, ["", str(count), HASH])
    found, how = (word.decode() for word in answer)
    if how != HASH:
        raise ConfigError(
            f'accounts in Redis are spread over its shards by "{how}", and this version spreads by "{HASH}": '
            "run the version that filled it, or begin with an empty Redis"
        )
    if found != str(count):
        raise ConfigError(
            f"redis.shards: got {count}, and what Redis holds is spread over {found}: "
            f"set redis.shards: {found}, or begin with an empty Redis"
        )


async def read_layout(client: Redis, keys: Keys) -> int:
    """Return how many shards Redis holds; 1 where no service has noted it yet.

    Args:
        client: A connection to shard 0.
        keys: Those of shard 0.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: What stands there is no number of shards.
    """
    try:
        found = await call(client, "HGET", keys.meta, "shards")
    except (RedisError, OSError) as error:
        raise translate(error) from error
    if found is None:
        return 1
    if not isinstance(found, bytes):
        raise misfit(client, "HGET", found)
    try:
        count = int(found)
    except ValueError:
        count = 0
    if not 1 <= count <= MOST:
        raise StoreCorrupt(f'"shards" in {keys.meta} is no number of shards: {found!r}')
    return count
