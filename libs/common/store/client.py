"""Connections to Redis, set up against redis-py's traps, and its errors in our own words."""

import re
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is redis-py's
)

from libs.common.domain.errors import BridgeError, StoreCorrupt, StoreUnavailable

_PASSING: Final = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    OutOfMemoryError,
)
_PASSING_CODE: Final = re.compile(
    r"(?:^|: )-?(?:OOM|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|MISCONF|BUSY|UNBLOCKED) "
)
"""In front; or after the script's name and line, where Redis 6.2 reports what a command in it was answered."""


def connect(url: str, *, timeout_s: float, connections: int = 8) -> Redis:
    """Return a client whose every call is sent at most once.

    redis-py sends a command again by default, up to ten times, also when the first one was executed;
    RESP3 with maintenance notifications may answer one caller with another's reply. Both are off.

    Args:
        url: `redis://`, `rediss://` or `unix://`.
        timeout_s: Bound on connecting and on each answer. Above the BLOCK time on a reader's client.
        connections: The most that are open at once; further callers wait for one.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout_s,
        protocol=2,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
    )
    return Redis.from_pool(pool)


async def call(client: Redis, *command: str | bytes | int) -> Any:
    """Send one command and return the reply as it came.

    Raises:
        RedisError, OSError: As redis-py raises them; see `translate`.
    """
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it so


def translate(error: RedisError | OSError) -> BridgeError:
    """Return our error for one of redis-py's.

    What passes by itself (a restart, a fail-over, full memory) is `StoreUnavailable`; anything else
    means that a key or a call is wrong.
    """
    if isinstance(error, (*_PASSING, OSError)):
        return StoreUnavailable(f"Redis did not take the call: {type(error).__name__}: {error}")
    if isinstance(error, ResponseError):
        return translate_text(str(error))
    return StoreUnavailable(f"Redis did not take the call: {type(error).__name__}: {error}")


def translate_text(text: str) -> BridgeError:
    """Return our error for the text of an error reply, as scripts report it for one item."""
    if _PASSING_CODE.search(text) is not None:
        return StoreUnavailable(f"Redis did not take the call: {text}")
    return StoreCorrupt(text)
