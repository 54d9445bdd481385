"""Every kind of fault: what it needs for itself, how often it comes, and how it is done and healed."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import Final

from tests.chaos import operator_faults, process_faults, redis_faults, venue_faults
from tests.chaos.world import World

Deed = Callable[[World, Random], Awaitable[bool]]
"""Does one fault and heals it; returns whether it came about (else there was nobody to do it to)."""


@dataclass(frozen=True)
class Fault:
    """One kind."""

    do: Deed
    weight: int
    needs: str = ""
    """What only one fault at a time may have in its hands: `redis`, `venue`, `scale`, `operator`."""

    def is_possible(self, world: World) -> bool:
        return not self.needs or self.needs not in world.busy


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "worker killed": Fault(process_faults.killed("worker"), 12),
        "worker killed at a failpoint": Fault(process_faults.killed_at("worker"), 22),
        "worker stopped": Fault(process_faults.stopped_at("worker"), 10),
        "worker's loop stalled": Fault(process_faults.stalled_at("worker"), 7),
        "worker's clock stepped": Fault(process_faults.clock_stepped("worker"), 3),
        "worker cut off from Redis": Fault(process_faults.cut_off("worker"), 5),
        "worker's replies lost": Fault(process_faults.replies_lost("worker"), 8),
        "worker's connections reset": Fault(process_faults.connections_reset("worker"), 4),
        "worker's Redis slow": Fault(process_faults.slowed("worker"), 4),
        "ingress killed": Fault(process_faults.killed("ingress"), 4),
        "ingress killed at a failpoint": Fault(process_faults.killed_at("ingress"), 6),
        "ingress stopped": Fault(process_faults.stopped_at("ingress"), 3),
        "ingress's loop stalled": Fault(process_faults.stalled_at("ingress"), 2),
        "ingress's clock stepped": Fault(process_faults.clock_stepped("ingress"), 2),
        "ingress cut off from Redis": Fault(process_faults.cut_off("ingress"), 3),
        "ingress's replies lost": Fault(process_faults.replies_lost("ingress"), 5),
        "reaper killed at a failpoint": Fault(process_faults.killed_at("reaper"), 4),
        "reaper stopped": Fault(process_faults.stopped_at("reaper"), 3),
        "reaper cut off from Redis": Fault(process_faults.cut_off("reaper"), 2),
        "reaper's replies lost": Fault(process_faults.replies_lost("reaper"), 3),
        "rolling restart": Fault(process_faults.rolling_restart, 4),
        "scaled to 8 workers, to 1 and back": Fault(process_faults.scaled, 2, "scale"),
        "Redis killed": Fault(redis_faults.killed, 6, "redis"),
        "Redis killed while it rewrites": Fault(redis_faults.killed_while_rewriting, 2, "redis"),
        "Redis frozen": Fault(redis_faults.frozen, 3, "redis"),
        "Redis' memory full": Fault(redis_faults.memory_full, 3, "redis"),
        "Redis' disk full": Fault(redis_faults.disk_full, 2, "redis"),
        "script cache flushed": Fault(redis_faults.scripts_flushed, 3, "redis"),
        "all connections dropped": Fault(redis_faults.connections_dropped, 4, "redis"),
        "group destroyed": Fault(redis_faults.group_destroyed, 2, "redis"),
        "ready stream deleted": Fault(redis_faults.ready_deleted, 2, "redis"),
        "tokens deleted": Fault(redis_faults.tokens_deleted, 3, "redis"),
        "malformed entry": Fault(redis_faults.malformed_entry, 3, "redis"),
        "halted and resumed": Fault(operator_faults.halted, 3, "operator"),
        "venue misbehaves": Fault(venue_faults.misbehaves, 18, "venue"),
        "venue killed": Fault(venue_faults.killed, 2, "venue"),
        "venue frozen": Fault(venue_faults.frozen, 3, "venue"),
    }
)
