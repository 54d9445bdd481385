"""What it takes for 100, 10,000 and 1,000,000 alerts a minute: worked out from measured costs, and simulated.

`python -m benchmarks.scale` prints the costs, the plans, and what the simulation finds of them, in some 15 seconds; nothing is
measured. `--newest` takes costs from the newest files in `var/bench/`, where they have them. See docs/scale.md.
"""

import argparse
import math
import random
from dataclasses import dataclass, fields, replace
from typing import Final

from benchmarks import figures
from benchmarks.costs import Costs, renewed
from benchmarks.distribution import percentile
from benchmarks.lane_simulation import Outcome, Stage, evenly_random_ms, simulate

RATES: Final = (100, 10_000, 1_000_000)
"""Alerts a minute, one instruction each."""
VENUES_MS: Final = (50.0, 200.0, 800.0)

AT_MOST: Final = 0.7
"""Of each core and of all slots, in the steady part."""
OWN_P99_MS: Final = 50.0
"""From received to order, without waits behind the own lane, outside a burst."""
BURST_SHARE: Final = 0.3
"""Of a minute's alerts, that come within its first second."""
ADMITTED_WITHIN_S: Final = 2.0
"""A burst, from its first alert: `ingress.deadline`, so that none is answered 503."""
DRAINED_WITHIN_S: Final = 30.0
"""A burst's orders sent, from its first alert: half of the default maximum age."""

AFTERWARDS_MS: Final = DRAINED_WITHIN_S * 1_000
"""How long alerts go on coming after a burst has begun."""

PER_ACCOUNT: Final = 100
"""Alerts a minute."""
MARKETS: Final = 20
CONCURRENCY: Final = 64
SHARDS_EACH: Final = 2
"""Of each primary, where there are several."""
MOST_SIMULATED: Final = 20_000


@dataclass(frozen=True, kw_only=True)
class Kept:
    """How long history stays, in days: `retention`, and the webhooks' `dedup`."""

    alerts: float = 7
    journal: float = 7
    dead_letters: float = 30
    dedup: float = 1


RETENTIONS: Final = {
    "defaults": Kept(),
    "a day each": Kept(alerts=1, journal=1, dead_letters=1, dedup=1),
    "an hour each": Kept(alerts=1 / 24, journal=1 / 24, dead_letters=1 / 24, dedup=1 / 24),
}


def history_bytes(per_day: float, kept: Kept, costs: Costs) -> float:
    """Return the memory of history once as many alerts a day have come for longer than anything is kept.

    Orders stay a day longer than any dead letter, so that a replay finds them.
    """
    days = (
        costs.record_part * kept.alerts
        + costs.order_part * (max(kept.alerts, kept.dead_letters) + 1)
        + costs.journal_part * kept.journal
        + costs.seen_part * kept.dedup
    )
    return per_day * costs.ended_bytes * days


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Replicas that serve so many alerts."""

    per_minute: int
    venue_ms: float
    ingresses: int
    workers: int
    concurrency: int
    primaries: int
    shards: int

    @property
    def slots(self) -> int:
        """How many slots a worker has for the lanes of one primary."""
        return self.concurrency * self.shards // self.primaries

    @property
    def stage(self) -> Stage:
        """Return what the alerts of one primary meet."""
        return Stage(
            ingresses=self.ingresses,
            workers=self.workers,
            slots=self.slots,
            venue_ms=self.venue_ms,
            accounts=max(1, round(self.per_minute / PER_ACCOUNT / self.primaries)),
            markets=MARKETS,
            primaries=self.primaries,
        )


def redis_us(costs: Costs) -> tuple[float, float]:
    """Return what an alert costs Redis in full flights, and where no lane is busy and no call has company.

    Then an instruction is two calls: its lane is taken for it alone, and closed.
    """
    alone = costs.admission_us + 2 * costs.step_us + 3 * costs.pass_us
    return costs.admit_us + costs.execute_us, alone


def carried_per_s(costs: Costs) -> float:
    """Return the alerts a second that one primary carries at `AT_MOST` of its core.

    The busier Redis is, the more calls share a pass. A quarter of the way from full flights to calls without company is
    what the simulation finds there, with the calls of many workers.
    """
    full, alone = redis_us(costs)
    return AT_MOST * 1e6 / (full + (alone - full) / 4)


def plan(per_minute: int, venue_ms: float, costs: Costs) -> Plan:
    """Return the fewest replicas that keep the bounds, on paper; two of each process at least."""
    per_s, burst = per_minute / 60, per_minute * BURST_SHARE
    primaries = max(
        math.ceil(per_s / carried_per_s(costs)),
        math.ceil(burst * costs.admit_us / 1e6 / ADMITTED_WITHIN_S / AT_MOST),
    )
    shards = 1 if primaries == 1 else SHARDS_EACH * primaries
    ingress_cores = max(per_s, burst / ADMITTED_WITHIN_S) * costs.ingress_us / 1e6
    work_cores = max(per_s, burst / DRAINED_WITHIN_S + per_s * (1 - BURST_SHARE)) * costs.work_us / 1e6
    workers = max(2, math.ceil(work_cores / AT_MOST))
    under_way = per_s * (venue_ms + OWN_P99_MS / 2) / 1_000
    concurrency = under_way / AT_MOST / workers / shards
    return Plan(
        per_minute=per_minute,
        venue_ms=venue_ms,
        ingresses=max(2, math.ceil(ingress_cores / AT_MOST)),
        workers=workers,
        concurrency=CONCURRENCY * max(1, math.ceil(concurrency / CONCURRENCY)),
        primaries=primaries,
        shards=shards,
    )


def steady(planned: Plan, costs: Costs, seed: int = 1, most: int = MOST_SIMULATED) -> Outcome:
    """Return what becomes of a Poisson stream of all its alerts, of one primary."""
    per_s = planned.per_minute / 60 / planned.primaries
    until_ms = min(most / per_s, 3_600) * 1_000
    stream = evenly_random_ms(per_s, until_ms, random.Random(seed))
    return simulate(planned.stage, costs, stream, seed)


@dataclass(frozen=True)
class Burst:
    """What became of the alerts of the first second of a minute."""

    outcome: Outcome
    answered_within_ms: float
    """From received to durable, the slowest of all."""
    drained_s: float
    """From the burst's begin to its last order's leaving."""


def burst(planned: Plan, costs: Costs, seed: int = 1) -> Burst:
    """Return what becomes of a burst of one primary, onto an empty bridge, with what comes during the next seconds."""
    dice = random.Random(seed)
    per_s = planned.per_minute / 60 / planned.primaries
    count = max(1, round(planned.per_minute * BURST_SHARE / planned.primaries))
    at_once = [dice.uniform(0, 1_000) for _ in range(count)]
    after = evenly_random_ms(per_s * (1 - BURST_SHARE), AFTERWARDS_MS, dice)
    outcome = simulate(planned.stage, costs, sorted([*at_once, *after]), seed)
    # Alerts of the burst are those that were received within the first second.
    sent_at_ms = [
        sent_at_ms
        for sent_at_ms, took_ms in zip(outcome.sent_at_ms, outcome.ordered_ms, strict=True)
        if sent_at_ms - took_ms <= 1_000
    ]
    return Burst(outcome, max(outcome.answered_ms), max(sent_at_ms) / 1_000)


def faults(found: Outcome, peak: Burst) -> list[str]:
    """Return what does not keep its bound."""
    shares = {
        "ingress": found.ingress_share,
        "worker": found.worker_share,
        "Redis": found.redis_share,
        "slots": found.slots_share,
    }
    missed = [f"{part} {share:.0%}" for part, share in shares.items() if share > AT_MOST]
    if percentile(sorted(found.own_ms), 99) > OWN_P99_MS:
        missed.append("own p99")
    if peak.answered_within_ms > ADMITTED_WITHIN_S * 1_000:
        missed.append("burst admitted")
    if peak.drained_s > DRAINED_WITHIN_S:
        missed.append(f"burst drained (a lane of {peak.outcome.longest_lane})")
    return missed


def checks(costs: Costs) -> list[tuple[str, str, str]]:
    """Return what the simulation says of benchmarks, beside what they measured: what, simulated, measured."""
    log = replace(costs, work_us=costs.work_log_us, ingress_us=0.0, admit_us=0.0)
    stage = Stage(ingresses=1, workers=1, slots=64, venue_ms=0.0, accounts=1, markets=1)
    one = simulate(stage, log, [0.0] * 2_000)
    many = simulate(replace(stage, accounts=200), log, [0.0] * 20_000)
    bridge = Stage(ingresses=1, workers=2, slots=64, venue_ms=0.0, accounts=50, markets=1)
    quiet = simulate(bridge, costs, evenly_random_ms(500, 20_000, random.Random(1)))
    rows = [
        (name, f"{len(found.sent_at_ms) / found.sent_at_ms[-1] * 1_000:,.0f}/s", measured)
        for name, found, measured in (
            ("log broker, one lane", one, "1,170 to 1,430/s"),
            ("log broker, 200 lanes", many, "8,700 to 9,400/s"),
        )
    ]
    ordered = sorted(quiet.ordered_ms)
    times = f"p50 {percentile(ordered, 50):.1f}, p99 {percentile(ordered, 99):.1f} ms"
    return [
        *rows,
        ("http broker, 500 alerts/s, to order", times, "p50 1.8 to 2.4, p99 6.8 to 8.7 ms"),
        ("the same, Redis per alert", f"{quiet.redis_us:.0f} us", "740 us"),
    ]


def main() -> None:
    """Print costs, plans and what the simulation finds."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument(
        "--newest", action="store_true", help="take costs from the newest files in var/bench/"
    )
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    costs = renewed(Costs(), figures.newest()) if given.newest else Costs()
    for field in fields(costs):
        print(f"{field.name:20} {getattr(costs, field.name):8g}")
    full, alone = redis_us(costs)
    print(
        f"\nRedis: {full:.0f} us per alert in full flights, {alone:.0f} us where every call comes alone;"
        f" one primary carries {carried_per_s(costs):,.0f} alerts/s at {AT_MOST:.0%} of its core\n"
    )
    for per_minute in RATES:
        told = ", ".join(
            f"{name} {history_bytes(per_minute * 1_440, kept, costs) / 1e9:,.1f} GB"
            for name, kept in RETENTIONS.items()
        )
        print(f"history of {per_minute:,} alerts a minute, day and night, one order each: {told}")
    print()
    for name, simulated, measured in checks(costs):
        print(f"{name:38} simulated {simulated:26} measured {measured}")
    heads = "a minute|venue|ingress|workers|slots|primaries|shards|ingress|worker|Redis|slots|us/alert|p50|p99|own p99|"
    heads += "answered|drained|"
    print("\n" + " ".join(f"{head:>{max(7, len(head))}}" for head in heads.split("|")))
    for per_minute in RATES:
        for venue_ms in VENUES_MS:
            print(_row(plan(per_minute, venue_ms, costs), costs, given.seed, heads.split("|")))


def _row(planned: Plan, costs: Costs, seed: int, heads: list[str]) -> str:
    found, peak = steady(planned, costs, seed), burst(planned, costs, seed)
    ordered = sorted(found.ordered_ms)
    cells = [
        f"{planned.per_minute:,}",
        f"{planned.venue_ms:.0f}ms",
        str(planned.ingresses),
        str(planned.workers),
        str(planned.concurrency),
        str(planned.primaries),
        str(planned.shards),
        f"{found.ingress_share:.0%}",
        f"{found.worker_share:.0%}",
        f"{found.redis_share:.0%}",
        f"{found.slots_share:.0%}",
        f"{found.redis_us:.0f}",
        f"{percentile(ordered, 50):.1f}",
        f"{percentile(ordered, 99):.0f}",
        f"{percentile(sorted(found.own_ms), 99):.1f}",
        f"{peak.answered_within_ms:.0f}ms",
        f"{peak.drained_s:.1f}s",
        "; ".join(faults(found, peak)) or "keeps up",
    ]
    return " ".join(f"{cell:>{max(7, len(head))}}" for head, cell in zip(heads, cells, strict=True))


if __name__ == "__main__":
    main()
