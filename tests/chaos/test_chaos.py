"""A short run of everything at once, and whether the failpoints are where they are said to be."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.failpoints import POINTS, Command
from tests.chaos.load import Load
from tests.chaos.runner import Chaos
from tests.chaos.world import World
from tests.support.eventually import eventually

SEED = 20_261
SECONDS = 45.0


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, ingresses=1, workers=2, reapers=1)
    try:
        yield await world.start()
    finally:
        world.close()


@pytest.mark.timeout(420)
async def test_whatever_happens_every_alert_taken_trades_once_and_in_order(tmp_path: Path) -> None:
    told: list[str] = []
    chaos = Chaos(tmp_path, per_s=40, fault_every_s=1.5, tell=told.append)
    try:
        await chaos.world.start()
        outcome = await chaos.stretch(SEED, SECONDS)
    finally:
        chaos.world.close()

    assert not outcome.violations, f"seed {SEED}: {outcome.violations[:10]}; faults: {told}"
    assert outcome.alerts
    assert outcome.faults


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", POINTS)
async def test_every_failpoint_is_passed(world: World, kind: str) -> None:
    load = Load(world, SEED, per_s=60)
    sending = asyncio.create_task(load.run())
    [process, *_] = world.of_kind(kind)
    missed = []
    try:
        # So that there is something to look up, to take over and to promote.
        world.venue.control(drop_after=0.2)
        for point in POINTS[kind]:
            if kind == "reaper":
                world.of_kind("worker")[0].kill()
            process.tell(Command(point, "kill"))
            try:
                await eventually(lambda: not process.is_running, 20, message=f"it dies {point}")
            except AssertionError:
                missed.append(point)
            for dead in world.processes:
                if not dead.is_running:
                    dead.start()
                    await world.wait_ready(dead)
    finally:
        world.venue.control(reset=True)
        load.is_over.set()
        await sending

    assert not missed
