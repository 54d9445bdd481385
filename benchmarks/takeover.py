"""How long the lanes of a killed worker stand still, with the default lease of 6 s."""

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.distribution import Distribution
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.scene import slow_scene
from tests.e2e.faults import Kill, kill_holding, takeovers_ms
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.venue import Venue

P50_MS, P99_MS = 6_000, 10_000
WORKERS = 3
LANES = 40
ANSWER_MS = 200
LANES_AT_LEAST = 5
"""A killed worker must hold."""

PATIENT = {"webhooks": {"default": {"max_age": "600s"}}}
"""Configuration: nothing in the backlog grows too old."""

START_MS = 3_000
"""Of a worker, at most or about."""

CALM_S = (2.5, 5.0)
"""Between a take-over and the next kill: leases are renewed every 2 s, and a kill may fall anywhere between two renewals.
Right after a take-over all leases are new."""


def measure(effort: Effort) -> Measured:
    """Return how long lanes stood still after so many kills."""
    by_kill = asyncio.run(stand_stills_ms(effort.runs))
    stood = Distribution.of(ms for kill in by_kill for ms in kill)
    slowest = Spread.of(max(kill) for kill in by_kill)
    figures = [
        Figure("a lane stands still, p50", Spread.of([stood.p50]), "ms", most=P50_MS),
        Figure("a lane stands still, p99", Spread.of([stood.p99]), "ms", most=P99_MS),
        Figure("a lane stands still, max", Spread.of([stood.highest]), "ms"),
        Figure("the slowest lane of each kill", slowest, "ms"),
        Figure("kills", Spread.of([len(by_kill)]), is_detail=True),
        Figure("lanes that stood still", Spread.of([stood.count]), is_detail=True),
    ]
    return Measured(figures, by_kill, {"workers": WORKERS, "lanes": LANES, "answer_ms": ANSWER_MS})


async def stand_stills_ms(
    kills: int,
    *,
    workers: int = WORKERS,
    calm_s: tuple[float, float] = CALM_S,
    longest_ms: int = P99_MS,
    config: Mapping[str, Any] = PATIENT,
) -> list[list[int]]:
    """Kill one worker after the other, and return for each kill how long its lanes stood still, ms.

    Args:
        kills: How many.
        workers: That share the lanes.
        calm_s: Between a take-over and the next kill, from and to.
        longest_ms: A take-over takes; says how much must be queued.
        config: Of the bridge.
    """
    found: list[Kill] = []
    dice = random.Random(kills)
    with slow_scene(workers=workers, delay_ms=ANSWER_MS, config=config) as (bridge, venue):
        bridge.start()
        # Every lane always has something to trade, for longer than all takes.
        round_ms = longest_ms + calm_s[1] * 1_000 + START_MS
        await _fill(bridge, LANES * (1 + int(kills * round_ms / ANSWER_MS)))
        for turn in range(kills):
            kill_at_s = time.monotonic() + dice.uniform(*calm_s)
            await eventually(partial(_has_come, kill_at_s), calm_s[1] + 1)
            victim = bridge.workers[turn % workers]
            kill = await kill_holding(bridge, victim, LANES_AT_LEAST)
            if kill is None:
                raise RuntimeError("it handed its last lane back in that very moment")
            found.append(kill)
            await _all_traded(venue, kill)
            if turn + 1 < kills:
                victim.start().wait_ready()
            slowest_ms = max(takeovers_ms(bridge, venue, [kill]))
            print(f"  {turn + 1}/{kills} {len(kill.lanes)} lanes, the slowest {slowest_ms:,} ms", flush=True)
        return [takeovers_ms(bridge, venue, [kill]) for kill in found]


async def _fill(bridge: Bridge, count: int) -> None:
    alerts = [bridge.alert(symbol=f"S{number % LANES}") for number in range(count)]
    statuses = {answer.status for answer in await bridge.send_many(alerts, LANES)}
    if statuses != {200}:
        raise RuntimeError(f"alerts were answered {statuses}")


async def _all_traded(venue: Venue, kill: Kill) -> None:
    wanted = {lane.rpartition(":")[2] for lane in kill.lanes}

    def have_traded() -> bool:
        return wanted <= {entry["symbol"] for entry in _since(venue, kill.at_ms)}

    await eventually(have_traded, 60, 0.1, "every lane of the killed worker trades again")


def _has_come(monotonic_s: float) -> bool:
    return time.monotonic() >= monotonic_s


def _since(venue: Venue, at_ms: int) -> Sequence[dict[str, object]]:
    return [entry for entry in venue.ledger() if entry["executed_at_ms"] >= at_ms]
