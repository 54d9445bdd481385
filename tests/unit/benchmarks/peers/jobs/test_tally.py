import json
import os
from pathlib import Path

import pytest

from benchmarks.peers.jobs.tally import Tally


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "taskiq1"
    monkeypatch.setenv("PEER_JOBS", "3")
    monkeypatch.setenv("PEER_TALLY", str(path))
    monkeypatch.setenv("PEER_REDIS_PID", str(os.getpid()))
    return path


def test_nothing_is_told_before_the_first_job_ends(file: Path) -> None:
    Tally()
    assert list(file.parent.iterdir()) == []


def test_the_first_job_that_ends_says_that_it_begins(file: Path) -> None:
    Tally().ended()
    assert [path.name for path in file.parent.iterdir()] == ["taskiq1.begun"]


def test_the_last_job_says_how_long_they_took(file: Path) -> None:
    tally = Tally()
    for _ in range(2):
        tally.ended()
    assert not file.exists()
    tally.ended()
    told = json.loads(file.read_text())
    assert told.keys() == {"elapsed_s", "worker_s", "redis_s"}
    assert told["elapsed_s"] > 0
    assert told["worker_s"] > 0
    assert told["redis_s"] >= 0
    assert {path.name for path in file.parent.iterdir()} == {"taskiq1.begun", "taskiq1"}


def test_a_job_that_runs_once_more_changes_nothing(file: Path) -> None:
    tally = Tally()
    for _ in range(3):
        tally.ended()
    told = file.read_text()
    tally.ended()
    assert file.read_text() == told
