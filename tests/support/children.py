"""Processes that tests start: in sessions of their own, dying with the test process, and counted at the end."""

import contextlib
import ctypes
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

MARK: Final = "BASCULE_TEST_RUN"
"""Environment variable that every process started under this run carries, and so do their children."""


def _run_id() -> str:
    # A run may have several processes (pytest-xdist), each with an id that begins with that of the run.
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    return f"{os.environ[MARK]}.{worker}" if worker and MARK in os.environ else uuid.uuid4().hex


RUN_ID: Final = _run_id()

_PR_SET_PDEATHSIG: Final = 1
_libc: Final = ctypes.CDLL(None, use_errno=True)


def spawn(
    arguments: Sequence[str | os.PathLike[str]],
    *,
    stdout: IO[bytes] | int | None = subprocess.DEVNULL,
    stderr: IO[bytes] | int | None = subprocess.DEVNULL,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session that is killed when this process ends, however that ends.

    The kernel ties the child to the *thread* that started it, so only the main thread may.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start processes from the main thread: they die with the thread that started them")
    parent = os.getpid()

    def die_with_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call above
            os._exit(1)

    return subprocess.Popen(
        [os.fspath(argument) for argument in arguments],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env={**(os.environ if environment is None else environment), MARK: RUN_ID},
        cwd=directory,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - takes no lock that another thread may hold
    )


@dataclass(frozen=True)
class LeftBehind:
    """A process of this run that outlived it."""

    pid: int
    command: str


def left_behind() -> list[LeftBehind]:
    """Return the living processes of this run: children of this process, and all that carry the run's mark."""
    own = os.getpid()
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == own:
            continue
        try:
            # Behind the command's name, which may hold spaces: state, parent.
            state, parent = (directory / "stat").read_text().rpartition(")")[2].split()[:2]
            is_ours = int(parent) == own or _is_marked((directory / "environ").read_bytes())
            command = (
                (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            )
        except OSError:  # it ended meanwhile, or is somebody else's
            continue
        if is_ours and state != "Z" and "multiprocessing" not in command:
            found.append(LeftBehind(int(directory.name), command))
    return found


def _is_marked(environment: bytes) -> bool:
    wanted = f"{MARK}={RUN_ID}".encode()
    return any(one == wanted or one.startswith(wanted + b".") for one in environment.split(b"\0"))


def kill_left_behind() -> list[LeftBehind]:
    """Kill what this run left behind, each by its pid, and return it."""
    found = left_behind()
    for process in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)
    return found
