"""What people do to a running bridge."""

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Final

from tests.chaos.world import ACCOUNTS, World
from tests.e2e.commands import bascule
from tests.support.eventually import eventually

LONGEST_S: Final = 60.0

SCOPES: Final[Sequence[tuple[str, ...]]] = (
    (),
    ("--account", ACCOUNTS[0]),
    ("--symbol", "S01"),
    ("--account", ACCOUNTS[1], "--symbol", "T01"),
)


async def halted(world: World, rng: Random) -> bool:
    """Halt a scope so that everything in it waits, and resume it."""
    scope = rng.choice(SCOPES)
    with world.holding("operator"):
        was_halted = (
            await bascule(world.bridge, "halt", "--mode", "pause", "--reason", "chaos", *scope)
        ).code == 0
        await asyncio.sleep(rng.uniform(0.5, 4.0))
        # Whether or not it was told, it may be set.
        await eventually(lambda: _is_lifted(world, scope), LONGEST_S, 0.5, "the halt is lifted")
    return was_halted


async def _is_lifted(world: World, scope: tuple[str, ...]) -> bool:
    if (await bascule(world.bridge, "resume", *scope)).code == 0:
        return True
    listed = await bascule(world.bridge, "halts", "--json")
    return listed.code == 0 and not listed.data
