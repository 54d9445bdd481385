"""A Hypothesis state machine of lanes, tokens, holders, intents, the venue, limits, halts, poison and fail-over."""

import pytest

from tests.fuzz.guards import find_guards
from tests.fuzz.mutations import MUTATIONS, applied
from tests.machine.runner import Outcome, run_machine
from tests.support.redis_server import EMBEDDED_ID, Binary

RUNS, STEPS = 500, 50
LONG_RUNS, LONG_STEPS = 5_000, 80

SERVERS = pytest.mark.parametrize("redis_binary", [EMBEDDED_ID, "newest"], indirect=True)

NOTICED = (
    "no fence in begin",
    "begin for what is not the head",
    "no deadline in begin",
    "no expiry in resolve",
    "the audit overlooks lost fences",
    "halts are ignored",
    "no breaker",
    "no gate",
    "reservations are kept",
    "intent: if is_suspect(of_head.epoch) and not is_cleared(known[6]) then return {'STATE'} end",
)
"""Rules and checks whose lack the machine must find by itself."""

AT_ONCE = ("no gate", "reservations are kept", "no deadline in begin")
"""Those that it finds in a few seconds."""

HAPPENED = (
    "begin GO",
    "begin WAIT",
    "begin HALTED",
    "begin RISK",
    "begin EXPIRED",
    "open STALE",
    "settle OK",
    "settle STALE",
    "settle BEGUN",
    "resolve EARLY",
    "park OK",
    "yield OK",
    "report OK",
    "followed OK",
    "EXECUTED",
    "REJECTED",
    "EXPIRED",
    "DEAD",
)


def assert_kept(outcome: Outcome) -> None:
    if outcome.broken is not None:
        raise outcome.broken
    # What was not tried was not shown.
    for what in HAPPENED:
        assert outcome.tally.ends[what] > 0, what


@pytest.mark.timeout(1_200)
def test_no_way_breaks_a_promise(redis_binary: Binary):
    assert_kept(run_machine(redis_binary, runs=RUNS, steps=STEPS))


@SERVERS
@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_no_way_of_many_breaks_a_promise(redis_binary: Binary):
    assert_kept(run_machine(redis_binary, runs=LONG_RUNS, steps=LONG_STEPS, is_seeded=False))


def test_every_rule_that_is_taken_out_is_there():
    assert set(NOTICED) <= {*MUTATIONS, *find_guards()}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in AT_ONCE else [pytest.mark.slow]) for name in NOTICED]
)
@pytest.mark.timeout(600)
def test_a_rule_taken_out_is_noticed(name: str, redis_binary: Binary):
    with applied(MUTATIONS.get(name) or find_guards()[name]):
        outcome = run_machine(redis_binary, runs=LONG_RUNS, steps=STEPS, shrinks=False)
    assert outcome.broken is not None
