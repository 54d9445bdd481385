"""Connections to Redis, set up against redis-py's traps, and its errors in our own words."""

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AskError,
    AuthenticationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004 - the name is redis-py's
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004 - the name is redis-py's
    TryAgainError,
)

from libs.common.domain.errors import BridgeError, StoreBarred, StoreCorrupt, StoreUnavailable
from libs.common.store.address import Address, read_address
from libs.common.store.cluster import Topology, asking, slot_of
from libs.common.store.connections import (
    PlainConnection,
    TlsConnection,
    TlsRefused,
    Unfit,
    UnixConnection,
    barrier_of,
    is_script_barred,
    is_wait_refused,
    not_redis,
)
from libs.common.store.keys import Keys
from libs.common.store.pool import Pool
from libs.common.store.routing import Guide, RoutedPlainConnection, RoutedPool, RoutedTlsConnection
from libs.common.store.sentinel import Sentinels
from libs.common.store.sentinel_asking import Asking

_PASSING: Final = (
    ConnectionError,
    TimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    MasterDownError,
    ClusterDownError,
    AskError,
    TryAgainError,
    OutOfMemoryError,
)
_PASSING_CODE: Final = re.compile(
    r"(?:^|: )-?(?:OOM|LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOREPLICAS|MISCONF|BUSY|UNBLOCKED) "
)
"""In front; or after the script's name and line, where Redis 6.2 reports what a command in it was answered."""

MEMORY_IS_FULL: Final = "Redis' memory is full to its maxmemory, so it did not take the call"
_OUT_OF_MEMORY: Final = re.compile(r"(?:^|: )-?OOM ")

MOST_CONNECTIONS: Final = 16
"""The most that a client opens, unless its user says otherwise: of a worker's scripts two may have three calls under way
each, eight others one, so that renewing its leases waits for none of them."""

LONGEST_ANSWER: Final = 120
"""Characters of what answers in place of Redis, in a message."""

GIVE_IDENTITY: Final = (
    "put the user's name and password into its address: REDIS_URL=redis://NAME:PASSWORD@host:port/0, without NAME "
    "for the default user"
)
GIVE_RIGHTS: Final = (
    "give the user what config/redis-users.acl gives it; ACL LOG in Redis says what it was denied"
)


def connect(
    url: str,
    *,
    timeout_s: float,
    connections: int = MOST_CONNECTIONS,
    greet: Callable[[AbstractConnection], Awaitable[None]] | None = None,
    shard: int = 0,
    guide: Guide | None = None,
) -> Redis:
    """Return a client whose every call is sent at most once.

    redis-py sends a command again by default, up to ten times, also when the first one was executed;
    RESP3 with maintenance notifications may answer one caller with another's reply. Both are off.

    Args:
        url: `redis://`, `rediss://`, `unix://`, or `redis+sentinel://`, `rediss+sentinel://`, `redis+cluster://`,
            `rediss+cluster://` with several hosts; see `store/address.py`.
        timeout_s: Bound on connecting and on each answer. Above the BLOCK time on a reader's client.
        connections: The most that are open at once; further callers wait for one.
        greet: Makes the first calls on each connection, before anybody else may use it; see `store/incarnation.py`. One
            on which it fails is closed.
        shard: Whose keys it is for; on a cluster it leads to the node that serves them.
        guide: To one of several servers, shared with other clients; see `guide_of`.

    Raises:
        ConfigError: The address cannot be read, or names a file that cannot be used.
    """
    address = read_address(url)
    options = _options(address, timeout_s)
    options["redis_connect_func"] = None if greet is None else _greeting(greet)
    kind: type[AbstractConnection] = UnixConnection if "path" in options else PlainConnection
    pool = Pool
    if address.tls is not None:
        kind = TlsConnection
    if address.seeds:
        kind = RoutedPlainConnection if address.tls is None else RoutedTlsConnection
        pool = RoutedPool
        options["guide"] = guide or _guide(address, timeout_s)
        options["slot"] = slot_of(Keys(shard).prefix)
    return Redis.from_pool(
        pool(connection_class=kind, max_connections=connections, timeout=timeout_s, **options)
    )


def guide_of(url: str, *, timeout_s: float) -> Guide | None:
    """Return what knows which of several servers to go to; None where the address is of a single one.

    Raises:
        ConfigError: As with `connect`.
    """
    address = read_address(url)
    return _guide(address, timeout_s) if address.seeds else None


def _guide(address: Address, timeout_s: float) -> Guide:
    kind = PlainConnection if address.tls is None else TlsConnection
    options = _options(address, timeout_s)
    if address.service is None:
        return Topology(address.seeds, asking(kind, options), timeout_s=timeout_s)
    own = {name: value for name, value in options.items() if name not in {"db", "username", "password"}}
    asked = Asking(address.service, kind, {**own, **address.identity}, options)
    return Sentinels(
        address.seeds, asked.ask, timeout_s=timeout_s, followers=asked.followers, close=asked.aclose
    )


def _options(address: Address, timeout_s: float) -> dict[str, Any]:
    """Return redis-py's options for one connection."""
    options: dict[str, Any] = {
        **address.options,
        "protocol": 2,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": 0,
        "driver_info": None,  # what it tells the server is one more command that an ACL would have to allow
    }
    if address.tls is not None:
        options["tls"] = address.tls
    return options


def _greeting(
    greet: Callable[[AbstractConnection], Awaitable[None]],
) -> Callable[[AbstractConnection], Awaitable[None]]:
    async def on_connect(connection: AbstractConnection) -> None:
        await connection.on_connect()
        try:
            await greet(connection)
        except BaseException:
            # redis-py would use it for the next call after all but its own errors, as one that was greeted.
            await connection.disconnect(nowait=True)
            raise

    return on_connect


async def call(client: Redis, *command: str | bytes | int) -> Any:
    """Send one command and return the reply as it came.

    Raises:
        RedisError, OSError: As redis-py raises them; see `translate`.
    """
    return await client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py leaves it so


def server_of(client: Redis) -> str:
    """Return which server a client was connected to, as far as its address says."""
    options = client.connection_pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options['host']}:{options['port']}" if "port" in options else "the address of Redis"


def misfit(client: Redis, command: str, answer: object) -> BridgeError:
    """Return that what answers a command is not Redis, which would never answer it so.

    Args:
        client: Whose answer it is.
        command: Its name.
        answer: What came.
    """
    return translate(not_redis(server_of(client), f"{command} answers {_in_words(answer)[:LONGEST_ANSWER]}"))


def _in_words(answer: object) -> str:
    """Return an answer as whoever gave it wrote it."""
    match answer:
        case None:
            return "nothing"
        case bytes():
            return answer.decode("utf-8", "replace")
        case list() | tuple():
            return ", ".join(_in_words(one) for one in answer)
        case dict():
            return ", ".join(f"{_in_words(name)}: {_in_words(one)}" for name, one in answer.items())
        case _:
            return str(answer)


def translate(error: RedisError | OSError) -> BridgeError:
    """Return our error for one of redis-py's.

    What passes by itself (a restart, a fail-over, full memory) is `StoreUnavailable`; what an ACL or TLS denies is
    `StoreBarred`; anything else means that a key or a call is wrong.
    """
    error = barrier_of(error) or error
    if isinstance(error, NoPermissionError):
        return StoreBarred(f"Redis does not allow it: {error}", GIVE_RIGHTS)
    if isinstance(error, AuthenticationError):
        return StoreBarred(f"Redis does not let us in: {error}", GIVE_IDENTITY)
    if isinstance(error, TlsRefused):
        return StoreBarred(f"no TLS with Redis at {error}", error.remedy)
    if isinstance(error, Unfit):
        return StoreBarred(str(error), error.remedy)
    if isinstance(error, OutOfMemoryError):
        return StoreUnavailable(MEMORY_IS_FULL)
    if isinstance(error, (*_PASSING, OSError)):
        return StoreUnavailable(f"Redis did not take the call: {type(error).__name__}: {error}")
    if isinstance(error, ResponseError):
        return translate_text(str(error))
    return StoreUnavailable(f"Redis did not take the call: {type(error).__name__}: {error}")


def translate_text(text: str) -> BridgeError:
    """Return our error for the text of an error reply, as scripts report it for one item."""
    if is_script_barred(text):
        return StoreBarred(f"Redis does not allow it: the user of its address: {text}", GIVE_RIGHTS)
    if _OUT_OF_MEMORY.search(text) is not None:
        return StoreUnavailable(MEMORY_IS_FULL)
    if _PASSING_CODE.search(text) is not None or is_wait_refused(text):
        return StoreUnavailable(f"Redis did not take the call: {text}")
    return StoreCorrupt(text)
