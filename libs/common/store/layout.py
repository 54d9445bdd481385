"""Over how many shards the accounts in Redis are spread: noted once, by the first start of a service."""

from redis.asyncio import Redis

from libs.common.domain.errors import ConfigError
from libs.common.policy.shards import HASH
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
