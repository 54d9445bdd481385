import asyncio
import os
import signal
import sys

import pytest

from libs.common.runtime import supervisor
from libs.common.runtime.supervisor import Child, Program
from tests.support.eventually import eventually


@pytest.fixture
def words():
    return []


@pytest.fixture
async def keep(words, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.02)
    children = []

    def start(script, patience_s=10.0):
        program = Program(
            name="worker-1",
            command=(sys.executable, "-c", script),
            environment=dict(os.environ),
            patience_s=patience_s,
        )
        child = Child(program, words.append, lambda text: words.append(f"given up: {text}"))
        child.start()
        children.append(child)
        return child

    yield start
    for child in children:
        await child.stop()


async def test_a_child_leads_a_session_of_its_own(keep):
    child = keep("import time; time.sleep(60)")
    pid = await eventually(lambda: child.pid)
    assert await eventually(lambda: os.getsid(pid) == pid)
    assert os.getsid(pid) != os.getsid(0)


async def test_a_child_that_dies_is_started_again_aloud(keep, words):
    child = keep("import time; time.sleep(60)")
    first = await eventually(lambda: child.pid)
    child.settle()
    os.kill(first, signal.SIGKILL)
    assert await eventually(lambda: child.pid not in {None, first})
    assert words == ["worker-1 ended unexpectedly (SIGKILL): starting it again in 0.02 s"]


async def test_a_child_that_cannot_start_is_given_up(keep, words):
    child = keep("raise SystemExit(7)")
    await eventually(lambda: words and words[-1].startswith("given up"))
    assert words[-1] == "given up: worker-1 ended 3 times at start (exit 7); see its words above"
    assert len(words) == 3
    assert child.pid is None


async def test_a_child_that_was_up_is_never_given_up(keep, words):
    child = keep("raise SystemExit(7)")
    child.settle()
    await eventually(lambda: len(words) >= 5)
    assert not any(word.startswith("given up") for word in words)
    assert words[3] == "worker-1 ended unexpectedly (exit 7): starting it again in 0.16 s"


async def test_a_missing_program_says_so_and_is_given_up(words, capfd, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 0.02)
    program = Program(name="x", command=("/nowhere/x",), environment={}, patience_s=1)
    child = Child(program, words.append, words.append)
    child.start()
    await eventually(lambda: len(words) == 3)
    await child.stop()
    assert "/nowhere/x: No such file or directory" in capfd.readouterr().err


async def test_a_stopped_child_is_asked_first_and_stays_stopped(keep, words):
    child = keep("import time; time.sleep(60)")
    await eventually(lambda: child.pid)
    await child.stop()
    await child.stop()
    assert child.pid is None
    assert words == []


async def test_a_child_that_will_not_end_is_killed_after_its_patience(keep, words, tmp_path):
    ready = tmp_path / "ready"
    child = keep(
        f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); open({str(ready)!r}, 'w'); time.sleep(60)",
        patience_s=0.2,
    )
    await eventually(ready.exists)
    await child.stop()
    assert child.pid is None
    assert words == ["worker-1 did not end within 0.2 s: killing it"]


async def test_a_child_waiting_to_be_started_again_stops_at_once(keep, words, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_DELAY_S", 4.0)
    child = keep("raise SystemExit(1)")
    await eventually(lambda: words)
    await asyncio.wait_for(child.stop(), 1)
    assert child.pid is None


async def test_stopping_while_it_starts_leaves_nothing(keep):
    child = keep("import time; time.sleep(60)")
    await asyncio.wait_for(child.stop(), 5)
    assert child.pid is None


async def test_a_child_that_was_never_started_stops(words):
    program = Program(name="x", command=("true",), environment={}, patience_s=1)
    await Child(program, words.append, words.append).stop()
