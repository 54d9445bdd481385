"""How the bridge is doing on all shards: those that do not answer keep nobody from seeing the others."""

from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.domain.errors import StoreUnavailable
from libs.common.store.fan_out import Spread
from libs.common.store.figures import Snapshot, merge_snapshots
from libs.common.store.halts import HaltTable, merge_tables
from libs.common.store.servers import Answering, Server, group_servers
from libs.common.store.shard_readings import ShardReadings


@dataclass(frozen=True, slots=True)
class ShardHealth:
    """What was read of one shard."""

    snapshot: Snapshot
    server: Answering
    halts: HaltTable


@dataclass(frozen=True, slots=True)
class Health:
    """All that answered, as one."""

    snapshot: Snapshot
    servers: list[Server]
    halts: HaltTable
    away: Mapping[int, StoreUnavailable]
    """Shards that did not answer, by their numbers."""


async def read_health(shard: ShardReadings, durability: str) -> ShardHealth:
    """Return the figures, the server and the halts of a shard.

    Args:
        shard: Which.
        durability: The configured promise.

    Raises:
        StoreUnavailable: No answer.
        StoreCorrupt: Halts are kept under something else than a hash.
    """
    return ShardHealth(await shard.figures.read(), await shard.server(durability), await shard.halts.read())


def merge_health(spread: Spread[ShardHealth]) -> Health:
    """Return the health of all shards that answered.

    Raises:
        StoreUnavailable: None did.
        StoreCorrupt: What one holds cannot be read.
    """
    away, found = spread.away, spread.answers
    spread.need_any()
    return Health(
        merge_snapshots({number: one.snapshot for number, one in found.items()}),
        group_servers({number: one.server for number, one in found.items()}),
        merge_tables({number: one.halts for number, one in found.items()}, of=len(away) + len(found)),
        away,
    )
