import json
import os
import stat
import subprocess
import sys

import pytest

from libs.common.runtime.run_record import (
    RunRecord,
    read_run_record,
    remove_run_record,
    write_run_record,
)


def record(pid):
    return RunRecord(
        redis_url="unix:///x/var/redis.sock",
        ingress_url="http://127.0.0.1:8080",
        config="/x/config/demo.yaml",
        pid=pid,
        ops={"ingress": 9_101, "worker-1": 9_111},
    )


def test_a_record_is_read_as_it_was_written_by_its_owner_alone(tmp_path):
    write_run_record(tmp_path, record(os.getpid()))
    assert read_run_record(tmp_path) == record(os.getpid())
    assert stat.S_IMODE((tmp_path / "run.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "run.json").read_text())["ops"] == {"ingress": 9_101, "worker-1": 9_111}
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_record_of_a_process_that_is_gone_counts_as_none(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    write_run_record(tmp_path, record(int(done.stdout)))
    assert read_run_record(tmp_path) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "1"}'])
def test_a_broken_record_counts_as_none(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    assert read_run_record(tmp_path) is None


def test_a_record_is_gone_when_removed(tmp_path):
    write_run_record(tmp_path, record(os.getpid()))
    remove_run_record(tmp_path)
    remove_run_record(tmp_path)
    assert read_run_record(tmp_path) is None
