"""Runs the fuzz over many seeds on a server of its own."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from libs.common.store.client import connect
from tests.fuzz.world import World
from tests.support.redis_server import Binary, RedisServer


@dataclass
class Outcome:
    """What many runs came to."""

    broken: dict[int, list[tuple[str, object]]] = field(default_factory=dict)
    """Seed -> broken promises."""
    counts: Counter[str] = field(default_factory=Counter)
    runs: int = 0


def fuzz(
    seeds: Iterable[int], *, length: int = 1_000, stop_at_first: bool = False, binary: Binary | None = None
) -> Outcome:
    """Run each seed; what is found can be had again by its seed, but for what real time has a part in."""
    with RedisServer(binary, options={"appendonly": "no"}) as server:
        return asyncio.run(_run(server, seeds, length, stop_at_first))


async def _run(server: RedisServer, seeds: Iterable[int], length: int, stop_at_first: bool) -> Outcome:
    outcome = Outcome()
    client = connect(server.url, timeout_s=10, connections=2)
    with server.client() as direct:
        try:
            for seed in seeds:
                world = World(client, direct, seed, length)
                violations = await world.run()
                outcome.runs += 1
                outcome.counts += world.counts
                outcome.counts["alerts"] += len(world.promises.positions)
                if violations:
                    outcome.broken[seed] = violations
                    if stop_at_first:
                        break
        finally:
            await client.aclose()
    return outcome
