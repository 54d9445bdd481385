import itertools
from dataclasses import replace

import pytest

from benchmarks.costs import Costs
from benchmarks.scale import RATES, VENUES_MS, Kept, Plan, burst, faults, history_bytes, plan, steady

COSTS = Costs()


def found_faults(planned: Plan) -> list[str]:
    return faults(steady(planned, COSTS, most=5_000), burst(planned, COSTS))


@pytest.mark.timeout(240)
@pytest.mark.parametrize("per_minute", RATES)
def test_the_simulation_bears_the_paper_out(per_minute) -> None:
    assert found_faults(plan(per_minute, 200.0, COSTS)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"workers": 1, "concurrency": 16}, "slots"),
        ({"primaries": 2, "shards": 4}, "Redis"),
        ({"workers": 6}, "worker"),
    ],
)
def test_what_does_not_keep_up_is_named(change, fault) -> None:
    per_minute = 10_000 if fault == "slots" else 500_000
    planned = plan(per_minute, 200.0, COSTS)
    slower = replace(planned, **change)

    assert any(told.startswith(fault) for told in faults(steady(slower, COSTS, most=5_000), EASY))


EASY = burst(plan(100, 50.0, COSTS), COSTS)


@pytest.mark.parametrize("venue_ms", VENUES_MS)
def test_more_alerts_never_take_fewer_replicas(venue_ms) -> None:
    plans = [plan(per_minute, venue_ms, COSTS) for per_minute in (100, 1_000, 10_000, 100_000, 1_000_000)]

    for fewer, more in itertools.pairwise(plans):
        assert fewer.ingresses <= more.ingresses
        assert fewer.workers <= more.workers
        assert fewer.primaries <= more.primaries


def test_orders_stay_a_day_longer_than_dead_letters() -> None:
    costs = replace(COSTS, ended_bytes=1_000, record_part=0, order_part=1, journal_part=0, seen_part=0)

    assert history_bytes(10, Kept(alerts=7, dead_letters=30), costs) == 10 * 1_000 * 31
    assert history_bytes(10, Kept(alerts=7, dead_letters=1), costs) == 10 * 1_000 * 8


def test_the_parts_of_what_ended_are_the_whole() -> None:
    assert COSTS.record_part + COSTS.order_part + COSTS.journal_part + COSTS.seen_part == pytest.approx(1.0)
