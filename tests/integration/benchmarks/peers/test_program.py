import os
from pathlib import Path

import pytest

from benchmarks.cores import Cores
from benchmarks.peers import program
from tests.support.eventually import eventually_sync

CORES = Cores(max(os.sched_getaffinity(0)), frozenset())


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_that_a_program_started_runs_on_the_one_core_and_ends_with_it(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    # A grandchild that takes no SIGTERM.
    script = f"sh -c 'trap \"\" TERM; echo $$ >{told}.new; mv {told}.new {told}; while :; do :; done' & wait"
    with program.running(["sh", "-c", script], {}, CORES, tmp_path / "log") as started:
        eventually_sync(told.exists, message="the grandchild runs")
        grandchild = int(told.read_text())
        assert os.sched_getaffinity(grandchild) == {CORES.server}
        eventually_sync(lambda: started.cpu_s() > 0.05, message="its processor time counts")
    assert not lives(grandchild)
    assert not lives(started.process.pid)


def test_a_program_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno such queue"):
        program.run(["sh", "-c", "echo no such queue >&2; exit 3"], {})
