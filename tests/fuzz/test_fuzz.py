import pytest

from tests.fuzz.mutations import FUZZ, MUTATIONS, applied
from tests.fuzz.runner import Outcome, fuzz
from tests.support.redis_server import Binary

SEEDS = 50
ENOUGH = 120
"""Seeds within which a rule that is missing has always shown."""

BY_FUZZ = [mutation.name for mutation in MUTATIONS.values() if mutation.noticed_by == FUZZ]
TWO = ["neither compare-and-set nor fence in begin", "no expiry in resolve"]


def assert_kept(outcome: Outcome) -> None:
    first = {seed: violations[:3] for seed, violations in list(outcome.broken.items())[:3]}
    assert not outcome.broken, f"{len(outcome.broken)} of {outcome.runs} seeds broke a promise, first {first}"


@pytest.mark.timeout(180)
def test_no_seed_breaks_a_promise(redis_binary: Binary):
    outcome = fuzz(range(SEEDS), binary=redis_binary)
    assert_kept(outcome)
    # What was not tried was not shown.
    for happened in (
        "reclaimed",
        "healed",
        "expired in place",
        "replays",
        "kills",
        "again",
        "group",
        "ready",
    ):
        assert outcome.counts[happened] > 0, happened
    for state in ("EXECUTED", "REJECTED", "EXPIRED", "DEAD"):
        assert outcome.counts[state] > 0, state


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_no_seed_of_many_breaks_a_promise(redis_binary: Binary):
    assert_kept(fuzz(range(1_000, 1_500), binary=redis_binary))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in TWO else [pytest.mark.slow]) for name in BY_FUZZ]
)
@pytest.mark.timeout(180)
def test_a_rule_taken_out_breaks_one(name: str, redis_binary: Binary):
    with applied(MUTATIONS[name]):
        outcome = fuzz(range(ENOUGH), binary=redis_binary, stop_at_first=True)
    assert outcome.broken
