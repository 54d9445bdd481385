"""Servers in processes of their own, to be frozen, killed and started again at will."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.tree import ROOT

SCRATCH: Final = "BASCULE_TEST_SCRATCH"
"""Environment variable: where servers make their directories; /tmp without it."""

_MEMORY: Final = Path("/dev/shm")
_ENOUGH_BYTES: Final = 2 << 30


def quickest_scratch() -> Path:
    """Return where a server that fsyncs each write waits least: in memory, if there is a file system with room for many.

    Only for tests: a server that is killed finds there what it wrote, as on a disk, and none of them outlives the machine.
    """
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        return Path("/tmp")
    is_enough = room.f_bavail * room.f_frsize >= _ENOUGH_BYTES and os.access(_MEMORY, os.W_OK)
    return _MEMORY if is_enough else Path("/tmp")


class ChildServer(ABC):
    """A server and the directory that it writes to. As a context manager it runs while the block does.

    Args:
        name: Names its directory and its log.
        directory: Where it writes; by default a new one, deleted by `close`.
    """

    def __init__(self, name: str, directory: Path | None = None) -> None:
        self.name = name
        self._is_temporary = directory is None
        # A short path: that of a socket may have 107 bytes.
        scratch = os.environ.get(SCRATCH, "/tmp")
        self.directory = directory or Path(tempfile.mkdtemp(prefix=f"bascule-{name}-", dir=scratch))
        self.log_path = self.directory / f"{name}.log"
        self._output = self.directory / f"{name}.out"
        self._process: subprocess.Popen[bytes] | None = None
        self.is_frozen = False

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @abstractmethod
    def command(self) -> Sequence[str | os.PathLike[str]]:
        """Return what is run."""

    @abstractmethod
    def listens(self) -> bool:
        """Return whether it answers now; asked while it runs."""

    def environment(self) -> Mapping[str, str]:
        """Return the variables that it is started with."""
        return os.environ

    def start(self, timeout_s: float = 20.0) -> Self:
        """Start it, again too, on the same directory and address; return once it listens."""
        assert not self.is_running, f"{self.name} runs already"
        self._output.unlink(missing_ok=True)
        with self._output.open("wb") as stdout, self.log_path.open("ab") as stderr:
            self._process = spawn(
                self.command(),
                stdout=stdout,
                stderr=stderr,
                environment=self.environment(),
                directory=self.directory,
            )
        eventually_sync(self._has_started, timeout_s, 0.005, f"{self.name} listens")
        return self

    def stop(self) -> None:
        """End it in good order; what it wrote stays, for another `start`."""
        if self._process is not None and self.is_running:
            self.thaw()
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it as a crash would: SIGKILL."""
        self.is_frozen = False
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again on what it wrote."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop its every thread; connections stay open and nothing answers."""
        self.is_frozen = True
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen one go on."""
        self.is_frozen = False
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Kill it and delete what it wrote, unless the directory was given."""
        self.kill()
        if self._is_temporary:
            shutil.rmtree(self.directory, ignore_errors=True)

    def output(self) -> bytes:
        """Return what it has written on stdout since its start."""
        return self._output.read_bytes()

    def log_tail(self, lines: int = 20) -> str:
        """Return the end of its log."""
        written = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(written.splitlines()[-lines:])

    def _has_started(self) -> bool:
        if not self.is_running:
            raise RuntimeError(f"{self.name} ended at start: {self.log_tail()}")
        assert self.listens(), self.log_tail()
        return True


class ModuleServer(ChildServer):
    """A module of the tests' own that listens on the port it is told and then prints a line.

    Args:
        name: See `ChildServer`.
        module: What `python -m` runs.
        directory: See `ChildServer`.
    """

    def __init__(self, name: str, module: str, directory: Path | None = None) -> None:
        super().__init__(name, directory)
        self.port = free_port()
        self._module = module

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | os.PathLike[str]]:
        """Return what is run."""
        return [sys.executable, "-m", self._module, "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        """Return the variables that it is started with."""
        return {**os.environ, "PYTHONPATH": str(ROOT)}

    def listens(self) -> bool:
        """Return whether it has printed its line."""
        return self.output().endswith(b"\n")
