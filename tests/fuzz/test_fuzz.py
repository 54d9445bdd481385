"""The promises, under lost replies, late commands, stalls, kills and deletions: see `world.py`."""

import pytest

from tests.fuzz.runner import fuzz
from tests.support.redis_server import Binary


@pytest.mark.timeout(180)
def test_fifty_seeds_break_no_promise(redis_binary: Binary):
    outcome = fuzz(range(50), binary=redis_binary)
    assert outcome.runs == 50
    assert outcome.broken == {}
    # Otherwise it proved nothing.
    assert outcome.counts["alerts"] > 2_000
    for fault in ("reclaimed", "kills", "own", "group", "ready", "fence", "healed"):
        assert outcome.counts[fault] > 50, f"{fault} hardly ever happened"


@pytest.mark.slow
@pytest.mark.timeout(3_600)
def test_five_hundred_seeds_break_no_promise(redis_binary: Binary):
    assert fuzz(range(1_000, 1_500), binary=redis_binary).broken == {}
