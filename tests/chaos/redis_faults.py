"""What befalls Redis: its process, its memory and disk, and what lies in it."""

import asyncio
import contextlib
from random import Random
from typing import Final

import redis

from tests.chaos.world import ACCOUNTS, World
from tests.e2e.ledger import PREFIX, READY

REDIS: Final = "redis"

BALLAST_MOST: Final = 2 << 30

JUNK: Final = ({"junk": "x"}, {"v": "1", "alert": "not-an-id"}, {"v": "x" * 300}, {"": ""})


async def killed(world: World, rng: Random) -> bool:
    """Kill it and start it again."""
    with world.holding(REDIS):
        world.server.kill()
        await asyncio.sleep(rng.choice((0.0, rng.uniform(0.0, 4.0))))
        _start(world)
    return True


async def killed_while_rewriting(world: World, rng: Random) -> bool:
    """Kill it while it writes its log anew."""
    with world.holding(REDIS):
        _command(world, "BGREWRITEAOF")
        await asyncio.sleep(rng.uniform(0.0, 0.3))
        world.server.kill()
        _start(world)
    return True


async def frozen(world: World, rng: Random) -> bool:
    """Stop it where it stands, and let it go on."""
    with world.holding(REDIS):
        world.server.freeze()
        try:
            await asyncio.sleep(rng.uniform(0.3, 7.0))
        finally:
            world.server.thaw()
    return True


async def memory_full(world: World, rng: Random) -> bool:
    """Let it refuse every write that takes memory."""
    with world.holding(REDIS):
        _command(world, "CONFIG", "SET", "maxmemory", "1mb")
        try:
            await asyncio.sleep(rng.uniform(0.5, 4.0))
        finally:
            _command(world, "CONFIG", "SET", "maxmemory", "0")
    return True


async def disk_full(world: World, rng: Random) -> bool:
    """Fill its disk: it ends itself rather than promise what it cannot keep, and comes back once there is room."""
    if not world.has_small_disk:
        return False
    with world.holding(REDIS):
        ballast = world.server.directory / "ballast"
        try:
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                block = b"\0" * (1 << 20)
                for _ in range(BALLAST_MOST // len(block)):
                    file.write(block)
                for _ in range(256):  # and the last pages
                    file.write(block[:4096])
            await asyncio.sleep(rng.uniform(1.0, 4.0))
        finally:
            ballast.unlink()
        if not world.server.is_running:  # else it may still end itself; the supervisor sees to that
            _start(world)
    return True


async def scripts_flushed(world: World, rng: Random) -> bool:
    """Empty its script cache."""
    with world.holding(REDIS):
        return _command(world, "SCRIPT", "FLUSH")


async def connections_dropped(world: World, rng: Random) -> bool:
    """Close every connection, ours but this one."""
    with world.holding(REDIS):
        return _command(world, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def group_destroyed(world: World, rng: Random) -> bool:
    """Destroy the consumer group: no token is pending any more."""
    with world.holding(REDIS):
        return _command(world, "XGROUP", "DESTROY", READY, "workers")


async def ready_deleted(world: World, rng: Random) -> bool:
    """Delete the stream of tokens, and its group with it."""
    with world.holding(REDIS):
        return _command(world, "DEL", READY)


async def tokens_deleted(world: World, rng: Random) -> bool:
    """Delete some tokens, held ones too."""
    with world.holding(REDIS), contextlib.suppress(redis.RedisError):
        tokens = [token for token, _ in world.bridge.client.xrange(READY)]
        if not tokens:
            return False
        return _command(world, "XDEL", READY, *rng.sample(tokens, max(1, len(tokens) // 2)))
    return False


async def malformed_entry(world: World, rng: Random) -> bool:
    """Put something into a lane that nobody can read; the audit sees to it where no token does."""
    lane = f"{PREFIX}lane:{rng.choice(ACCOUNTS)}:S{rng.randint(1, 12):02}"
    with world.holding(REDIS), contextlib.suppress(redis.RedisError):
        world.bridge.client.xadd(lane, rng.choice(JUNK))
        world.malformed += 1
        return True
    return False


def _start(world: World) -> None:
    world.server.start(30.0)
    world.note_redis_back()


def _command(world: World, *command: str) -> bool:
    """Send a command of ours; returns whether it was executed."""
    try:
        world.bridge.client.execute_command(*command)
    except (redis.RedisError, OSError):
        return False
    return True
