"""What befalls the venue: outcomes that cannot be told, and orders that must not be sent twice for it."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from tests.chaos.world import World

VENUE: Final = "venue"

MODES: Final[tuple[Mapping[str, Any], ...]] = (
    {"drop_before": 0.4},
    {"drop_after": 0.4},
    {"delay_ms": 2_600},
    {"delay_before_ms": 2_600},
    {"delay_before_ms": 60, "delay_ms": 60},
    {"delay_before_ms": 7_000},
    {"status": 500, "status_rate": 0.5},
    {"status": 500, "status_rate": 0.5, "status_executes": True},
    {"status": 504, "status_rate": 0.5, "status_executes": True},
    {"status": 429, "status_rate": 0.6, "retry_after_s": "1"},
    {"status": 429, "retry_after_s": ""},
    {"status": 503, "status_rate": 0.5, "retry_after_s": "1"},
    {"garbage": "empty", "garbage_rate": 0.5},
    {"garbage": "truncated", "garbage_rate": 0.5},
    {"garbage": "not_json", "garbage_rate": 0.5},
    {"garbage": "no_order_id", "garbage_rate": 0.5},
    {"drop_after": 0.4, "lookup_lag_ms": 900},
    {"drop_after": 0.4, "lookup_drop": 0.5},
    {"drop_after": 0.4, "lookup_status": 503},
    {"drop_after": 0.4, "lookup_delay_ms": 1_500},
    {"facts_drop": 0.5},
    {"facts_status": 503},
    {"facts_delay_ms": 1_500},
)
"""One at a time. A look-up may lag by less than the accounts' `look_up_lag`."""


async def misbehaves(world: World, rng: Random) -> bool:
    """Let it misbehave in one way for some seconds."""
    mode = rng.choice(MODES)
    with world.holding(VENUE):
        world.venue.control(**mode, seed=rng.randrange(1 << 30))
        try:
            await asyncio.sleep(rng.uniform(1.0, 5.0))
        finally:
            world.venue.control(reset=True)
    return True


async def killed(world: World, rng: Random) -> bool:
    """Kill it and start it again; it remembers what it has executed."""
    with world.holding(VENUE):
        world.venue.kill()
        await asyncio.sleep(rng.uniform(0.0, 3.0))
        world.venue.start()
    return True


async def frozen(world: World, rng: Random) -> bool:
    """Stop it where it stands, and let it go on: what has arrived is executed then, unless it has expired."""
    with world.holding(VENUE):
        world.venue.freeze()
        try:
            await asyncio.sleep(rng.uniform(0.5, 8.0))
        finally:
            world.venue.thaw()
    return True
