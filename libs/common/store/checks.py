"""Whether a Redis server keeps the promises that the bridge makes in its name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import (
    ConnectionError,  # noqa: A004 - the name is redis-py's
    RedisError,
    ResponseError,
)

from libs.common.domain.errors import ConfigError, StoreBarred, StoreCorrupt, StoreUnavailable
from libs.common.store.client import misfit, server_of, translate
from libs.common.store.connections import CORRECT_ADDRESS, not_redis
from libs.common.store.routing import RoutedPool

OLDEST: Final = (6, 2)
UNKNOWN: Final = "unknown"
ALWAYS_BUT_IN_REWRITES: Final = "always but in rewrites"

FSYNC_SETTINGS: Final = "*appendfsync*"
"""What CONFIG GET is asked for: `appendfsync` and `no-appendfsync-on-rewrite`. Redis 6.2 takes only one pattern."""

HEED_IT: Final = f"{CORRECT_ADDRESS}, or do what its words say"

_VERSIONS: Final = frozenset({"redis_version", "valkey_version"})

LONGEST_LAG_S: Final = 10
"""A replica that was silent for longer does not count as one."""

RESTORES_LITTLE: Final = (
    "Redis plays its append-only file back as its default user, which may not run what is in it"
)
RESTORE_ALL: Final = "set `user default off ~* &* +@all`, or a restart loses what was acknowledged; off is enough to keep others out"

_KEY: Final = "bascule:{s0}:probe"

PLAYED_BACK: Final[tuple[tuple[str, ...], ...]] = (
    ("MULTI",),
    ("EXEC",),
    ("SET", _KEY, "1"),
    ("DEL", _KEY),
    ("PEXPIREAT", _KEY, "1"),
    ("PERSIST", _KEY),
    ("INCRBY", _KEY, "1"),
    ("HSET", _KEY, "f", "1"),
    ("HDEL", _KEY, "f"),
    ("HINCRBY", _KEY, "f", "1"),
    ("ZADD", _KEY, "1", "m"),
    ("ZREM", _KEY, "m"),
    ("XADD", _KEY, "*", "f", "1"),
    ("XDEL", _KEY, "1-1"),
    ("XTRIM", _KEY, "MAXLEN", "1"),
    ("XACK", _KEY, "g", "1-1"),
    ("XCLAIM", _KEY, "g", "c", "0", "1-1"),
    ("XGROUP", "CREATE", _KEY, "g", "$"),
)
"""What we write, as it stands in the append-only file."""

_KEPT_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "always": ("always",),
    "everysec": ("always", ALWAYS_BUT_IN_REWRITES, "everysec"),
}
"""Which durability in force keeps a configured one; any other is not checked."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says of itself."""

    product: str
    """`Redis` or `Valkey`."""
    version: tuple[int, ...]
    eviction: str
    """`maxmemory-policy`."""
    durability: str
    """What is in force: `always`, `always but in rewrites`, `everysec`, `none`, or `unknown` where the server bars CONFIG
    or was not asked."""
    used_bytes: int
    """As far as it counts against the limit."""
    limit_bytes: int
    """`maxmemory`; 0 is no limit."""
    machine_bytes: int
    """All memory of the server's machine; 0 where it does not say."""
    restores_all: bool | None = None
    """Whether its `default` user, as which it plays its append-only file back, may run what is in it; None where it does
    not say."""
    replicas: int = 0
    """Replicas that follow it and answered within the last seconds."""
    least_replicas: int | None = None
    """`min-replicas-to-write`: with fewer it takes no writes; None where it bars CONFIG or was not asked."""
    is_replica: bool = False
    """Whether it follows another: then it takes no writes."""

    @property
    def version_text(self) -> str:
        """Return the version as people write it."""
        return ".".join(str(part) for part in self.version)

    @property
    def memory_bytes(self) -> int:
        """Return how much it may use: its limit, or all of its machine's memory where it has none; 0 if unknown."""
        return self.limit_bytes or self.machine_bytes

    @property
    def memory_share(self) -> float | None:
        """Return the part of its limit that is used, of the machine where it has none; None where neither is known."""
        bound = self.memory_bytes
        return round(self.used_bytes / bound, 4) if bound else None


@dataclass(frozen=True, slots=True)
class Promise:
    """One thing that the bridge needs of its server."""

    name: str
    is_kept: bool
    finding: str
    """What was found."""
    remedy: str
    """What to do about it; empty where it is kept."""


async def read_server(client: Redis, durability: str, *, replicas: int = 0) -> ServerFacts:
    """Return what the server says of itself.

    Args:
        client: Any connection to it.
        durability: The configured promise; with `declared` CONFIG is not asked.
        replicas: How many must have what is acknowledged, as configured; with 0 it is not asked what guards that.

    Raises:
        StoreUnavailable: No answer.
    """
    info = await _info(client)
    if info.get("loading"):
        # Until it is done it says that it keeps no append-only file.
        raise StoreUnavailable("Redis is loading its data")
    is_valkey = "valkey_version" in info
    limit_bytes = int(info.get("maxmemory", 0))
    uncounted_bytes = int(info.get("mem_not_counted_for_evict", 0)) if limit_bytes else 0
    return ServerFacts(
        product="Valkey" if is_valkey else "Redis",
        version=_version(str(info.get("valkey_version" if is_valkey else "redis_version", "0"))),
        eviction=str(info.get("maxmemory_policy", UNKNOWN)),
        durability=await _durability(client, is_aof_on=bool(info.get("aof_enabled")), configured=durability),
        used_bytes=int(info.get("used_memory", 0)) - uncounted_bytes,
        limit_bytes=limit_bytes,
        machine_bytes=int(info.get("total_system_memory", 0)),
        # Of a managed server nobody here can change it, and one whose data may be lost is not asked.
        restores_all=await _restores_all(client) if durability in _KEPT_BY else None,
        replicas=_following(info),
        least_replicas=await _least_replicas(client) if replicas and durability != "declared" else None,
        is_replica=info.get("role") == "slave",
    )


async def _info(client: Redis) -> dict[str, Any]:
    """Return what a server answers to INFO.

    Raises:
        StoreUnavailable: No answer; as `StoreBarred` where it is none of Redis'.
    """
    try:
        answer: object = await client.info()
    except (RedisError, OSError) as error:
        problem = translate(error)
        if isinstance(problem, StoreCorrupt):  # it knows no INFO, or none for strangers
            problem = StoreBarred(f"what answers at {server_of(client)} refuses INFO: {error}", HEED_IT)
        raise problem from error
    except (AttributeError, TypeError, ValueError) as error:  # redis-py's, of Python and not of the answer
        raise translate(not_redis(server_of(client), "its answer to INFO cannot be read")) from error
    if isinstance(answer, dict) and not _VERSIONS.isdisjoint(answer):
        return answer
    raise misfit(client, "INFO", answer)


def promises(facts: ServerFacts, durability: str) -> list[Promise]:
    """Return what the bridge needs of the server, and whether it is so."""
    found = [_version_promise(facts), _eviction_promise(facts), _durability_promise(facts, durability)]
    if facts.restores_all is False:
        found.append(Promise("users", False, RESTORES_LITTLE, RESTORE_ALL))
    return found


def broken_promises(facts: ServerFacts, durability: str) -> list[Promise]:
    """Return what the bridge needs of the server and is not so."""
    return [promise for promise in promises(facts, durability) if not promise.is_kept]


async def check_server(client: Redis, durability: str, *, replicas: int = 0) -> ServerFacts:
    """Return what the server says of itself, if it keeps its promises.

    Args:
        client: Any connection to it.
        durability: `always`, `everysec`, `declared` or `none`, as configured.
        replicas: As with `read_server`; whether they are there is no promise of a server, see `store/replicas.py`.

    Raises:
        ConfigError: It does not; one line that names every broken promise, with what to do, and of a Redis Cluster the node.
        StoreUnavailable: No answer, or it still loads its data; as `StoreBarred` where it does not let us in.
    """
    facts = await read_server(client, durability, replicas=replicas)
    broken = broken_promises(facts, durability)
    if broken:
        words = "; ".join(f"{promise.finding}: {promise.remedy}" for promise in broken)
        raise ConfigError(f"{await _which(client)}{words}")
    return facts


async def _which(client: Redis) -> str:
    """Return which of several servers it is, to begin a line with; empty where there is one."""
    pool = client.connection_pool
    if not isinstance(pool, RoutedPool):
        return ""
    try:
        return f"node {await pool.node_words()}: "
    except (RedisError, OSError) as error:
        raise translate(error) from error


def _following(info: dict[str, Any]) -> int:
    found = (value for name, value in info.items() if name.startswith("slave") and isinstance(value, dict))
    return sum(one.get("state") == "online" and int(one.get("lag", 0)) <= LONGEST_LAG_S for one in found)


async def _least_replicas(client: Redis) -> int | None:
    try:
        answer = await client.config_get("min-replicas-to-write")
    except ConnectionError as error:
        raise translate(error) from error
    except ResponseError:  # barred
        return None
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return next((int(str(_plain(value))) for value in answer.values()), None)


async def _restores_all(client: Redis) -> bool | None:
    """Return whether a restart brings everything back; None where it does not say.

    Redis 7 plays back what scripts wrote as transactions of its `default` user, and leaves out, without a word, those that
    this user may not run, be it on or off. Whether it may can be asked since that version too.
    """
    pipeline = client.pipeline(transaction=False)
    for command, *rest in PLAYED_BACK:
        pipeline.execute_command("ACL", "DRYRUN", "default", command, *rest)
    try:
        answers = await pipeline.execute(raise_on_error=False)
    except (RedisError, OSError) as error:
        raise translate(error) from error
    if any(isinstance(answer, RedisError) for answer in answers):
        return None  # barred, or older than that
    return all(_plain(answer) == "OK" for answer in answers)


async def _durability(client: Redis, *, is_aof_on: bool, configured: str) -> str:
    if not is_aof_on:
        return UNKNOWN if configured == "declared" else "none"
    if configured == "declared":
        return UNKNOWN
    try:
        answer = await client.config_get(FSYNC_SETTINGS)
    except ConnectionError as error:
        raise translate(error) from error
    except ResponseError:  # barred: a managed server, or an ACL
        return UNKNOWN
    except (RedisError, OSError) as error:
        raise translate(error) from error
    settings = {str(_plain(name)): str(_plain(value)) for name, value in answer.items()}
    fsync = settings.get("appendfsync", UNKNOWN)
    if fsync == "always" and settings.get("no-appendfsync-on-rewrite") != "no":
        return ALWAYS_BUT_IN_REWRITES
    return "none" if fsync == "no" else fsync


def _version_promise(facts: ServerFacts) -> Promise:
    # Valkey counts from 7.2 on, so every version of it is new enough.
    is_kept = facts.version >= OLDEST
    finding = f"{facts.product} {facts.version_text}"
    return Promise("version", is_kept, finding, "" if is_kept else "install Redis 6.2 or newer, or Valkey")


def _eviction_promise(facts: ServerFacts) -> Promise:
    is_kept = facts.eviction == "noeviction"
    remedy = "set it to noeviction, or Redis deletes alerts when its memory is full"
    return Promise(
        "eviction", is_kept, f"Redis' maxmemory-policy is {facts.eviction}", "" if is_kept else remedy
    )


def _durability_promise(facts: ServerFacts, durability: str) -> Promise:
    if durability == "declared":
        return Promise("durability", True, "Redis' durability is declared, not checked", "")
    keeping = _KEPT_BY.get(durability)
    finding = _DURABILITY_WORDS.get(facts.durability, f"Redis' appendfsync is {facts.durability}")
    if keeping is None or facts.durability in keeping:
        return Promise("durability", True, finding, "")
    if facts.durability == UNKNOWN:
        remedy = "find out from its operator; if it is so, set redis.durability: declared"
        return Promise("durability", False, f"{finding}, so {durability} cannot be checked", remedy)
    if facts.durability == ALWAYS_BUT_IN_REWRITES:
        return Promise("durability", False, finding, "set no-appendfsync-on-rewrite no in Redis")
    wanted = f"appendonly yes and appendfsync {durability}"
    remedy = f"set {wanted} in Redis"
    if facts.durability == "everysec":
        remedy += (
            ", or accept with redis.durability: everysec that a crash of the machine may lose the last second"
        )
    return Promise("durability", False, finding, remedy)


_DURABILITY_WORDS: Final[Mapping[str, str]] = {
    "always": "Redis writes to disk before it answers (appendfsync always)",
    ALWAYS_BUT_IN_REWRITES: (
        "Redis does not sync what it answers to disk while it rewrites its append-only file "
        "(no-appendfsync-on-rewrite yes)"
    ),
    "everysec": "Redis writes to disk once a second (appendfsync everysec)",
    "none": "Redis keeps no append-only file that is written in time",
    UNKNOWN: "Redis bars CONFIG",
}


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())


def _plain(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value
