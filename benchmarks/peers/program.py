"""Runs a peer's program on the core under measurement, with all processes that it starts."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cores import Cores, cpu_s, running_on
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.tree import ROOT

ENDING_S = 5.0


@dataclass(frozen=True)
class Program:
    """A running one."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_running(self) -> bool:
        """Say whether its first process lives."""
        return self.process.poll() is None

    def cpu_s(self) -> float:
        """Return the processor time that its living processes have used so far."""
        used_s = 0.0
        for pid in _members(self.process.pid):
            # One may end meanwhile.
            with contextlib.suppress(OSError):
                used_s += cpu_s(pid)
        return used_s

    def tail(self) -> str:
        """Return the end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


@contextmanager
def running(
    command: Sequence[str], environment: Mapping[str, str], cores: Cores, log: Path
) -> Iterator[Program]:
    """Run it on the core under measurement until the end of the block."""
    with log.open("ab") as written, running_on(frozenset({cores.server})):
        process = spawn(
            command,
            stdout=written,
            stderr=written,
            environment={**os.environ, **environment},
            directory=ROOT,
        )
    program = Program(process, log)
    try:
        yield program
    finally:
        _end(process)


def run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run it to its end, away from any measurement.

    Raises:
        RuntimeError: It ended with an error.
    """
    done = subprocess.run(
        command, env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End all processes of the session that the first one leads."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING_S)
    for pid in _members(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()
    eventually_sync(lambda: not _members(process.pid), ENDING_S, 0.01, f"all of session {process.pid} end")


def _members(session: int) -> list[int]:
    """Return the living processes of a session."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            # Behind the command's name, which may hold blanks: state, parent, group, session.
            state, _parent, _group, its = (
                (directory / "stat").read_text().rpartition(")")[2].split(maxsplit=4)[:4]
            )
            if int(its) == session and state != "Z":
                found.append(int(directory.name))
    return found
