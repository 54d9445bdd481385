"""How long the lanes of a killed worker stand still, with the default lease of 6 s."""

import asyncio
from collections.abc import Sequence

from benchmarks.distribution import Distribution
from benchmarks.effort import Effort, Measured
from benchmarks.figures import Figure, Spread
from benchmarks.scene import slow_scene
from tests.e2e.faults import Kill, kill_holding, takeovers_ms
from tests.support.eventually import eventually
from tests.support.processes import Bridge
from tests.support.venue import Venue

P50_MS, P99_MS = 6_000, 10_000
WORKERS = 3
LANES = 40
ANSWER_MS = 200
LANES_AT_LEAST = 5
"""A killed worker must hold."""


def measure(effort: Effort) -> Measured:
    """Return how long lanes stood still after so many kills."""
    by_kill = asyncio.run(_measure(effort))
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


async def _measure(effort: Effort) -> list[list[int]]:
    with slow_scene(
        workers=WORKERS, delay_ms=ANSWER_MS, config={"webhooks": {"default": {"max_age": "600s"}}}
    ) as (
        bridge,
        venue,
    ):
        bridge.start()
        kills = []
        # Every lane always has something to trade, for longer than all takes.
        per_lane = 1 + effort.runs * (P99_MS + 2_000) // ANSWER_MS
        await _fill(bridge, LANES * per_lane)
        for turn in range(effort.runs):
            victim = bridge.workers[turn % WORKERS]
            kill = await kill_holding(bridge, victim, LANES_AT_LEAST)
            assert kill is not None, "a worker with a backlog holds lanes"
            kills.append(kill)
            await _all_traded(venue, kill)
            victim.start().wait_ready()
            slowest_ms = max(takeovers_ms(bridge, venue, [kill]))
            print(
                f"  {turn + 1}/{effort.runs} {len(kill.lanes)} lanes, the slowest {slowest_ms:,} ms",
                flush=True,
            )
        return [takeovers_ms(bridge, venue, [kill]) for kill in kills]


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


def _since(venue: Venue, at_ms: int) -> Sequence[dict[str, object]]:
    return [entry for entry in venue.ledger() if entry["executed_at_ms"] >= at_ms]
