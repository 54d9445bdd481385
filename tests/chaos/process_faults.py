"""What befalls one process of ours, its machine or its way to Redis."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

from tests.chaos.failpoints import POINTS, Command
from tests.chaos.world import LEASE_S, Process, World
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.chaos.faults import Deed

REACHED_WITHIN_S: Final = 3.0
"""A point that is not reached by then gives way to the same fault at once."""

LAST_S: Final = 25.0
"""For a process to drain."""


def killed(kind: str) -> "Deed":
    """Kill one at any moment."""

    async def do(world: World, rng: Random) -> bool:
        with _taken(world, kind, rng) as process:
            if process is None:
                return False
            await _kill(world, process, rng)
        return True

    return do


def killed_at(kind: str) -> "Deed":
    """Kill one at a failpoint."""

    async def do(world: World, rng: Random) -> bool:
        command = Command(rng.choice(POINTS[kind]), "kill", skip=rng.randrange(4))
        with _taken(world, kind, rng) as process:
            if process is None or not process.tell(command):
                return False
            await _until(lambda: not process.is_running, REACHED_WITHIN_S)
            await _kill(world, process, rng)
        return True

    return do


def stopped_at(kind: str) -> "Deed":
    """Stop one at a failpoint, mostly for less than a lease, sometimes for three, and let it go on."""

    async def do(world: World, rng: Random) -> bool:
        command = Command(rng.choice(POINTS[kind]), "stop", skip=rng.randrange(4))
        longest_s = 3.2 * LEASE_S if rng.random() < 0.25 else 1.3 * LEASE_S
        with _taken(world, kind, rng) as process:
            if process is None or not process.tell(command):
                return False
            await _until(process.is_stopped, REACHED_WITHIN_S)
            if not process.is_running:
                return False
            process.stop()
            try:
                await asyncio.sleep(rng.uniform(0.3, longest_s))
            finally:
                if process.is_running:
                    process.cont()
                    process.tell(Command())
        return True

    return do


def stalled_at(kind: str) -> "Deed":
    """Let the event loop of one stand still at a failpoint."""

    async def do(world: World, rng: Random) -> bool:
        stall_s = rng.uniform(0.2, 2.0) * LEASE_S
        command = Command(rng.choice(POINTS[kind]), "stall", skip=rng.randrange(4), stall_s=stall_s)
        with _taken(world, kind, rng) as process:
            if process is None or not process.tell(command):
                return False
            await asyncio.sleep(stall_s + REACHED_WITHIN_S)
            process.tell(Command())
        return True

    return do


def clock_stepped(kind: str) -> "Deed":
    """Set the wall clock of one wrong, by seconds or by an hour, and right again."""

    async def do(world: World, rng: Random) -> bool:
        step_ms = rng.choice((-3_600_000, -5_000, -400, 400, 5_000, 3_600_000))
        with _taken(world, kind, rng) as process:
            if process is None or not process.tell(Command(clock_ms=step_ms)):
                return False
            await asyncio.sleep(rng.uniform(2.0, 6.0))
            process.tell(Command())
        return True

    return do


def cut_off(kind: str) -> "Deed":
    """Let nothing through between one and Redis, for up to more than a lease."""

    async def do(world: World, rng: Random) -> bool:
        with _taken(world, kind, rng) as process:
            if process is None:
                return False
            process.proxy.black_hole()
            try:
                await asyncio.sleep(rng.uniform(0.5, 1.5 * LEASE_S))
            finally:
                if rng.random() < 0.5:
                    process.proxy.reset_connections()
                process.proxy.pass_through()
        return True

    return do


def replies_lost(kind: str) -> "Deed":
    """Lose replies of Redis to one after their calls were executed."""

    async def do(world: World, rng: Random) -> bool:
        with _taken(world, kind, rng) as process:
            if process is None:
                return False
            lost = process.proxy.lost_replies
            times = rng.randint(1, 4)
            process.proxy.lose_next_reply(b"EVALSHA", is_silent=rng.random() < 0.3, times=times)
            await _until(lambda: process.proxy.lost_replies >= lost + times, 2 * REACHED_WITHIN_S)
            process.proxy.pass_through()
            return process.proxy.lost_replies > lost

    return do


def connections_reset(kind: str) -> "Deed":
    """Reset what one has open to Redis."""

    async def do(world: World, rng: Random) -> bool:
        with _taken(world, kind, rng) as process:
            if process is None:
                return False
            process.proxy.reset_connections()
        return True

    return do


def slowed(kind: str) -> "Deed":
    """Hold each reply of Redis to one back."""

    async def do(world: World, rng: Random) -> bool:
        with _taken(world, kind, rng) as process:
            if process is None:
                return False
            process.proxy.delay(rng.uniform(20, 400))
            try:
                await asyncio.sleep(rng.uniform(1.0, 6.0))
            finally:
                process.proxy.pass_through()
        return True

    return do


async def rolling_restart(world: World, rng: Random) -> bool:
    """End each process of one kind in good order and start it anew, one after the other."""
    kind = rng.choice(tuple(POINTS))
    restarted = 0
    for process in world.of_kind(kind):
        if process.label in world.busy or not process.is_running or process.is_stopped():
            continue
        with world.holding(process.label):
            await _drain(process)
            process.start()
            await world.wait_ready(process)
            restarted += 1
    return restarted > 0


async def scaled(world: World, rng: Random) -> bool:
    """Scale from what there is to eight workers, down to one, and back."""
    with world.holding("scale"):
        while len(world.of_kind("worker")) < 8:
            await world.wait_ready(world.add_worker())
        await asyncio.sleep(rng.uniform(2.0, 6.0))
        for process in world.of_kind("worker")[1:]:
            process.is_wanted = False
            await _until(partial(_is_free, world, process), LAST_S)
            with world.holding(process.label):
                await _drain(process)
        await asyncio.sleep(rng.uniform(1.0, 3.0))
        while len(world.of_kind("worker")) < world.workers_wanted:
            await world.wait_ready(world.add_worker())
    return True


@contextmanager
def _taken(world: World, kind: str, rng: Random) -> Iterator[Process | None]:
    """Take one process that nobody has in hand."""
    process = world.free(kind, rng)
    if process is None:
        yield None
        return
    with world.holding(process.label):
        yield process


def _is_free(world: World, process: Process) -> bool:
    return process.label not in world.busy


async def _kill(world: World, process: Process, rng: Random) -> None:
    """Kill it, if it does not lie there already, and start it again as a supervisor would."""
    process.kill()
    world.note_kill(process)
    process.proxy.reset_connections()
    await asyncio.sleep(rng.uniform(0.0, 1.5))
    process.start()
    await world.wait_ready(process)


async def _drain(process: Process) -> None:
    """Ask it to end; if it does not, that is told by its exit code."""
    if not process.is_running:
        return
    process.signal_terminate()
    await _until(lambda: not process.is_running, LAST_S)
    process.kill()


async def _until(condition: Callable[[], bool], timeout_s: float) -> bool:
    try:
        return await eventually(condition, timeout_s, 0.01)
    except AssertionError:
        return False
