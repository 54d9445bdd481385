"""One run: load and faults for a while, then rest, then everything is checked; as often as wanted on the same bridge."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.listing import CUT
from tests.chaos.faults import FAULTS
from tests.chaos.invariants import Evidence, Shown, Violation, find_violations, leftovers
from tests.chaos.load import Load, Sent
from tests.chaos.measures import Measures, measure
from tests.chaos.world import World, now_ms
from tests.e2e.commands import bascule
from tests.e2e.ledger import Event, journal
from tests.support.eventually import eventually
from tests.support.stored import ENDED

REST_S: Final = 180.0
"""How long everything may take to end once the faults are over."""

LONGEST_FAULT_S: Final = 180.0

KILLS: Final = frozenset({"worker killed", "worker killed at a failpoint"})
"""How soon lanes of a dead worker trade again shows only where nothing else is wrong."""

CALMER: Final = 2.5
"""How much longer the pauses are then: a worker that was killed takes seconds to be one again."""

AT_ONCE: Final = 4
"""Faults at the same time."""


@dataclass
class Outcome:
    """What one stretch came to."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    """Of processes of ours, Redis and the venue."""
    alerts: int = 0
    orders: int = 0
    refused: int = 0
    """Posts that were not answered 200: 503, or nothing at all."""
    violations: list[Violation] = field(default_factory=list)
    measures: Measures = field(default_factory=Measures)
    rested_s: float = 0.0
    redis_mb: float = 0.0


STARTS_S = 120
"""More than the commands take to start, all together, on a busy machine: what they show is counted back from when they look."""


class Chaos:
    """A bridge that goes through stretches of faults, each with a seed of its own."""

    def __init__(
        self, directory: Path, *, per_s: float, fault_every_s: float, tell: Callable[[str], None]
    ) -> None:
        """Args:
        directory: For configuration files and logs.
        per_s: Alerts a second.
        fault_every_s: The mean time between the beginnings of two faults.
        tell: Gets a line of text for every fault.
        """
        self.world = World(directory)
        self._per_s = per_s
        self._fault_every_s = fault_every_s
        self._tell = tell
        self._found: set[Violation] = set()
        """So that what stays wrong is counted once."""

    async def stretch(self, seed: int, seconds: float, only: Sequence[str] = tuple(FAULTS)) -> Outcome:
        """Load and faults for so long, then rest, then the checks.

        Args:
            seed: Decides what is sent and what befalls it.
            seconds: Without the rest.
            only: The faults there may be.
        """
        outcome, world = Outcome(seed), self.world
        kills_before, backs_before, began_ms = len(world.kills), len(world.redis_back_ms), now_ms()
        load = Load(world, seed, self._per_s)
        sending, supervising = asyncio.create_task(load.run()), asyncio.create_task(world.supervise())
        await self._hurt(random.Random(seed), seconds, only, outcome)
        load.is_over.set()
        await sending
        rested_s = time.monotonic()
        open_ = await self._rest(load.sent)
        outcome.rested_s = time.monotonic() - rested_s
        supervising.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await supervising  # or it ended by itself, and this run with it
        events = [event for event in journal(world.bridge) if event.at_ms >= began_ms]
        evidence = await self._evidence(load.sent, events, began_ms)
        found = [*open_, *find_violations(world, evidence)]
        outcome.violations = [one for one in found if one not in self._found]
        self._found.update(found)
        outcome.measures = measure(
            evidence,
            events,
            world.kills[kills_before:],
            world.redis_back_ms[backs_before:],
            is_calm=set(only) <= KILLS,
        )
        outcome.alerts = sum(bool(one.alert_id) for one in load.sent)
        outcome.orders = sum(1 for _ in evidence.executions())
        outcome.refused = sum(each.status != 200 for one in load.sent for each in one.tries)
        outcome.kills = sum(count for name, count in outcome.faults.items() if "killed" in name)
        outcome.redis_mb = int(world.bridge.client.info("memory")["used_memory"]) / 1e6
        return outcome

    async def _hurt(self, rng: random.Random, seconds: float, only: Sequence[str], outcome: Outcome) -> None:
        """Begin a fault every now and then, a few at the same time."""
        every_s = self._fault_every_s * (CALMER if set(only) <= KILLS else 1)
        deadline_s = time.monotonic() + seconds
        running: set[asyncio.Task[None]] = set()
        while time.monotonic() < deadline_s:
            await asyncio.sleep(rng.expovariate(1 / every_s))
            while len(running) >= AT_ONCE:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                _reap(running)
            names = [name for name in only if FAULTS[name].is_possible(self.world)]
            if not names:
                continue
            name = rng.choices(names, [FAULTS[each].weight for each in names])[0]
            running.add(asyncio.create_task(self._do(name, random.Random(rng.random()), outcome)))
            _reap(running)
        if running:
            await asyncio.wait(running)
            _reap(running)

    async def _do(self, name: str, rng: random.Random, outcome: Outcome) -> None:
        began_s = time.monotonic()
        self._tell(f"{name} begins")
        async with asyncio.timeout(LONGEST_FAULT_S):
            came_about = await FAULTS[name].do(self.world, rng)
        if came_about:
            outcome.faults[name] += 1
        self._tell(f"{name}{'' if came_about else ' (nobody there)'}, {time.monotonic() - began_s:.1f} s")

    async def _rest(self, sent: Sequence[Sent]) -> list[Violation]:
        """Wait until every instruction has ended and nothing is left; returns what has not."""
        world = self.world
        for process in world.processes:
            process.proxy.pass_through()
            if process.is_wanted:
                await world.wait_ready(process)

        async def is_at_rest() -> bool:
            states = await asyncio.to_thread(world.bridge.state_counts)
            still_open = {state: count for state, count in states.items() if state not in ENDED}
            left = {name: found for name, found in leftovers(world).items() if found}
            assert not still_open, str(still_open)
            assert not left, str(left)[:500]
            return True

        try:
            await eventually(is_at_rest, REST_S, 0.25)
        except AssertionError as error:
            return [Violation("everything ends", str(error))]
        return []

    async def _evidence(self, sent: Sequence[Sent], events: Sequence[Event], began_ms: int) -> Evidence:
        queued: dict[str, list[str]] = {}
        for event in events:
            if event.event == "QUEUED":
                queued.setdefault(event.lane, []).append(event.alert_id)
        bridge, world = self.world.bridge, self.world
        since = f"{(now_ms() - began_ms) // 1_000 + STARTS_S}s"
        listed = ("--json", "--limit", "1000000", "--since", since)
        status = await bascule(bridge, "status", "--json")
        alerts, orders = [await bascule(bridge, what, *listed) for what in ("alerts", "orders")]
        is_cut = any(CUT in listing.stderr for listing in (alerts, orders))
        shown = Shown(status.data, alerts.data, orders.data, is_cut)
        return Evidence(sent, world.venue.ledger(), bridge.instructions(), queued, shown)


def _reap(running: set[asyncio.Task[None]]) -> None:
    """Forget what is over; a fault that failed is a bug of the driver, and ends the run."""
    for task in [task for task in running if task.done()]:
        running.discard(task)
        task.result()
