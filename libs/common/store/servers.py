"""The servers that the shards lie on: one for all of them, or several of a Redis Cluster."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from libs.common.store.checks import ALWAYS_BUT_IN_REWRITES, UNKNOWN, ServerFacts, read_server
from libs.common.store.client import translate

_WEAKEST_FIRST: Final = ("none", UNKNOWN, "everysec", ALWAYS_BUT_IN_REWRITES, "always")


@dataclass(frozen=True, slots=True)
class Answering:
    """What the server of one shard says of itself."""

    run_id: str
    """Of its start: two shards with the same lie on one server."""
    facts: ServerFacts


@dataclass(frozen=True, slots=True)
class Server:
    """A server, and what lies on it."""

    shards: tuple[int, ...]
    """Their numbers."""
    facts: ServerFacts


async def read_answering(client: Redis, durability: str, *, replicas: int = 0) -> Answering:
    """Return what the server of one shard says of itself; see `read_server`."""
    try:
        info: dict[str, Any] = await client.info("server")
    except (RedisError, OSError) as error:
        raise translate(error) from error
    return Answering(str(info.get("run_id", "")), await read_server(client, durability, replicas=replicas))


def group_servers(found: Mapping[int, Answering]) -> list[Server]:
    """Return each server once, by the first of its shards.

    Args:
        found: By the shards' numbers.
    """
    servers: dict[str, Server] = {}
    for number, one in sorted(found.items()):
        # A server that does not name its start is taken for one of its own.
        name = one.run_id or str(number)
        known = servers.get(name, Server((), one.facts))
        servers[name] = Server((*known.shards, number), known.facts)
    return list(servers.values())


def weakest(servers: list[Server]) -> ServerFacts:
    """Return what holds for all of several servers: the oldest version, the least durable, and the fullest.

    Args:
        servers: At least one.
    """
    facts = [one.facts for one in servers]
    if len(facts) == 1:
        return facts[0]
    oldest = min(facts, key=lambda one: one.version)
    fullest = max(facts, key=lambda one: one.memory_share or 0)
    restoring = {one.restores_all for one in facts}
    return dataclasses.replace(
        fullest,
        product=oldest.product,
        version=oldest.version,
        eviction=next((one.eviction for one in facts if one.eviction != "noeviction"), "noeviction"),
        durability=min((one.durability for one in facts), key=_rank),
        restores_all=False if False in restoring else None if None in restoring else True,
    )


def _rank(durability: str) -> int:
    return _WEAKEST_FIRST.index(durability) if durability in _WEAKEST_FIRST else 0
