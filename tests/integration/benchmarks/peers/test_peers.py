"""That everything still runs, where it is installed: `make bench-peers` installs it, the tests never do."""

import os

import pytest

from benchmarks.figures import table
from benchmarks.peers import receiving, working
from benchmarks.peers.catalog import QUEUES, RECEIVERS, missing

pytestmark = [
    pytest.mark.redis,
    pytest.mark.timeout(180),
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="benchmarks need two cores"),
]


# The default run must not install node and two environments of packages that nothing else here uses: 0039.
needs_receivers = pytest.mark.skipif(
    all(missing(peer) is not None for peer in RECEIVERS), reason="`make bench-peers` installs the receivers"
)
needs_queues = pytest.mark.skipif(
    all(missing(peer) is not None for peer in QUEUES), reason="`make bench-peers` installs the queues"
)


@needs_receivers
def test_receivers_that_are_installed_answer_and_keep_what_they_say() -> None:
    installed = [peer for peer in RECEIVERS if missing(peer) is None]
    figures, details = receiving.measure(installed, runs=1, seconds=1, patience_s=0)
    runs = details["runs"]
    assert isinstance(runs, dict)
    assert set(runs) == {"bascule", "bare", *(peer.name for peer in installed)}
    assert all(run["per_s"] > 0 for [run] in runs.values())
    assert all(peer.what in table(figures) for peer in installed)


@needs_queues
def test_queues_that_are_installed_end_every_job() -> None:
    installed = [peer for peer in QUEUES if missing(peer) is None]
    figures, details = working.measure(installed, runs=1, jobs=300, patience_s=0)
    runs = details["runs"]
    assert isinstance(runs, dict)
    assert set(runs) == {"bascule", *(peer.name for peer in installed)}
    assert all(run["jobs"] == 300 and run["per_s"] > 0 for [run] in runs.values())
    assert all(peer.what in table(figures) for peer in installed)
