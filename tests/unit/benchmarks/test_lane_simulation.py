import itertools
import random
import statistics
from dataclasses import replace

import pytest

from benchmarks.costs import Costs
from benchmarks.lane_simulation import HOP_US, Stage, evenly_random_ms, simulate

COSTS = Costs()
FREE = Costs(ingress_us=0, admit_us=0, execute_us=0, execute_alone_us=0, work_us=0, fsync_us=0)
"""Nothing costs anything, but for the hops."""

STAGE = Stage(ingresses=1, workers=1, slots=64, venue_ms=0.0, accounts=50, markets=4)
ONE_LANE = replace(STAGE, accounts=1, markets=1)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_a_single_ingress_waits_as_the_theory_of_one_server_with_even_times_says(load) -> None:
    service_ms = 1.0
    received_ms = evenly_random_ms(load / service_ms * 1_000, 20_000, random.Random(7))

    found = simulate(STAGE, replace(FREE, ingress_us=service_ms * 1_000), received_ms)

    # M/D/1: the mean wait is load * service / (2 * (1 - load)). Two hops to Redis and back; now and then a flight waits for one.
    waited_ms = statistics.fmean(found.answered_ms) - service_ms - 2 * HOP_US / 1_000
    assert waited_ms == pytest.approx(load * service_ms / (2 * (1 - load)), rel=0.1)
    assert found.ingress_share == pytest.approx(load, rel=0.05)


def test_one_lane_sends_an_order_only_after_the_answer_to_the_one_before() -> None:
    found = simulate(replace(ONE_LANE, workers=4, venue_ms=200.0), COSTS, [0.0] * 40)

    gaps_ms = [after - before for before, after in itertools.pairwise(found.sent_at_ms)]
    assert min(gaps_ms) >= 200.0
    assert max(gaps_ms) < 210.0
    assert found.longest_lane == 40


def test_waits_behind_the_own_lane_do_not_count_as_the_bridges_own() -> None:
    found = simulate(replace(ONE_LANE, venue_ms=200.0), COSTS, [0.0] * 40)

    assert max(found.ordered_ms) > 39 * 200.0
    assert max(found.own_ms) < 10.0


def test_lanes_beyond_the_slots_wait_for_one() -> None:
    stage = replace(STAGE, slots=2, venue_ms=100.0, accounts=10_000, markets=1)

    found = simulate(stage, FREE, [0.0] * 10)

    # Ten lanes, two at a time: the last two leave when four venue answers have passed.
    assert found.sent_at_ms[-1] == pytest.approx(400.0, abs=5.0)


@pytest.mark.parametrize("venue_ms", [0.0, 50.0])
def test_more_workers_never_make_it_slower(venue_ms) -> None:
    took_ms = [
        simulate(
            replace(STAGE, workers=workers, slots=8, venue_ms=venue_ms), COSTS, [0.0] * 1_000
        ).sent_at_ms[-1]
        for workers in (1, 2, 4, 8)
    ]

    # To the half percent: with more workers fewer calls share a flight.
    assert all(after <= before * 1.005 for before, after in itertools.pairwise(took_ms))
    assert took_ms[0] > took_ms[-1]


def test_a_flight_costs_redis_one_pass() -> None:
    costs = replace(COSTS, work_us=0)

    alone = simulate(ONE_LANE, costs, [0.0])

    assert alone.redis_us == pytest.approx(3 * costs.pass_us + costs.admission_us + 2 * costs.step_us)
    assert simulate(STAGE, costs, [0.0] * 1_000).redis_us < alone.redis_us / 3


def test_every_alert_becomes_one_order_and_the_same_seed_the_same_outcome() -> None:
    received_ms = list(evenly_random_ms(300, 5_000, random.Random(3)))

    first, second = (simulate(replace(STAGE, workers=3), COSTS, received_ms, seed=9) for _ in range(2))

    assert first == second
    assert len(first.sent_at_ms) == len(first.answered_ms) == len(received_ms)


def test_what_is_shared_by_several_primaries_has_a_share_of_its_time_for_each() -> None:
    received_ms = list(evenly_random_ms(200, 5_000, random.Random(3)))

    one, four = (simulate(replace(STAGE, primaries=count), COSTS, received_ms) for count in (1, 4))

    assert four.worker_share == pytest.approx(4 * one.worker_share)
    assert four.ingress_share == pytest.approx(4 * one.ingress_share)
