import os
import signal
import subprocess
import sys
import threading

import pytest

from tests.support.children import MARK, RUN_ID, left_behind, spawn
from tests.support.eventually import eventually_sync

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_dies_with_a_killed_parent():
    text = (
        "import signal, os, sys\n"
        "from tests.support.children import spawn\n"
        f"print(spawn({SLEEPER!r}).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    parent = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=20)
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    eventually_sync(lambda: not is_alive(int(parent.stdout)), message="the child dies")


def test_a_child_has_a_session_of_its_own():
    child = spawn(SLEEPER)
    try:
        assert os.getsid(child.pid) == child.pid
    finally:
        child.kill()
        child.wait()


def test_a_process_left_behind_is_found_and_an_ended_one_is_not():
    child = spawn(SLEEPER)
    try:
        assert child.pid in {process.pid for process in left_behind()}
    finally:
        child.kill()
    eventually_sync(lambda: child.pid not in {process.pid for process in left_behind()})
    child.wait()


def test_an_orphan_left_behind_is_found():
    quiet = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    text = f"import subprocess; print(subprocess.Popen({SLEEPER!r}, {quiet}).pid)"
    pid = int(subprocess.run([sys.executable, "-c", text], capture_output=True, check=True).stdout)
    try:
        assert pid in {process.pid for process in left_behind()}
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(("suffix", "is_ours"), [(".gw1", True), ("0", False)])
def test_what_a_worker_of_this_run_left_behind_is_found_and_what_another_run_does_is_not(suffix, is_ours):
    quiet = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    text = f"import subprocess; print(subprocess.Popen({SLEEPER!r}, {quiet}).pid)"
    environment = {**os.environ, MARK: RUN_ID + suffix}
    pid = int(
        subprocess.run([sys.executable, "-c", text], capture_output=True, check=True, env=environment).stdout
    )
    try:
        assert (pid in {process.pid for process in left_behind()}) == is_ours
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_thread_cannot_start_a_process_that_would_die_with_it():
    caught: list[Exception] = []

    def run() -> None:
        try:
            spawn(SLEEPER)
        except RuntimeError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert len(caught) == 1
    with pytest.raises(RuntimeError, match="main thread"):
        raise caught[0]
