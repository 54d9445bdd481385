"""One of Bascule's services as a process of its own."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import yaml

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.output import Output
from tests.support.ports import free_port
from tests.support.tree import ROOT


@dataclass(frozen=True)
class Exit:
    """How a process ended."""

    code: int
    elapsed_s: float
    """From the signal to the end."""


class Service:
    """One process of `python -m services.<name>`.

    Args:
        name: `ingress`, `worker`, `reaper`.
        config: What goes into its configuration file.
        directory: Where that file and the logs go; shared directories need different labels.
        environment: Added to the test's own.
        label: Names its files.
    """

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        label: str | None = None,
    ) -> None:
        self.name = name
        self.label = label or name
        self.config = config
        self.root = ROOT
        """The tree that it runs from; another one from its next start on."""
        self.python = Path(sys.executable)
        self.ops_port = free_port()
        self.config_path = directory / f"{self.label}.yaml"
        self._output = Output(directory, self.label)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.label} pid={self._process.pid if self._process else None} running={self.is_running}>"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.label} was not started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Return how it ended, negative for a signal; None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def url(self) -> str:
        """Return where it takes posts; only an ingress does."""
        return f"http://127.0.0.1:{self.config['ingress']['port']}"

    def start(self) -> Self:
        """Start it, again too, on the same ports; returns at once."""
        assert not self.is_running, f"{self.label} runs already"
        self.config_path.write_text(yaml.safe_dump(dict(self.config), sort_keys=False))
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "BASCULE_CONFIG": str(self.config_path),
            "BASCULE_OPS_PORT": str(self.ops_port),
            **self._environment,
        }
        with self._output.opened() as (stdout, stderr):
            self._process = spawn(
                self.command(), stdout=stdout, stderr=stderr, environment=environment, directory=self.root
            )
        return self

    def command(self) -> list[str]:
        """Return what is run."""
        return [str(self.python), "-m", f"services.{self.name}"]

    def wait_ready(self, timeout_s: float = 20.0) -> Self:
        """Wait until its ready probe answers 200."""
        eventually_sync(self.is_ready, timeout_s, 0.02, f"{self.label} is ready")
        return self

    def is_ready(self) -> bool:
        """Return whether its ready probe answers 200 now.

        Raises:
            RuntimeError: The process has ended.
        """
        if not self.is_running:
            raise RuntimeError(f"{self.label} ended with {self.exit_code}:\n{self.log_tail()}")
        try:
            return self.ops("/ready")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def ops(self, path: str) -> tuple[int, str]:
        """Get a resource of its ops port: status and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ops_port, timeout=2)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of its Prometheus samples of that name whose labels include these; 0 without any."""
        total = 0.0
        for line in self.ops("/metrics")[1].splitlines():
            series, _, value = line.rpartition(" ")
            bare, _, rest = series.partition("{")
            if bare == name and all(f'{label}="{wanted}"' in rest for label, wanted in labels.items()):
                total += float(value)
        return total

    def terminate(self, timeout_s: float = 30.0) -> Exit:
        """Send SIGTERM and wait for the end."""
        assert self._process is not None, f"{self.label} was not started"
        started_s = time.monotonic()
        self._process.terminate()
        code = self._process.wait(timeout=timeout_s)
        return Exit(code, time.monotonic() - started_s)

    def signal_terminate(self) -> None:
        """Send SIGTERM and return at once; see `exit_code`."""
        assert self._process is not None, f"{self.label} was not started"
        self._process.terminate()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Send SIGSTOP: it stalls."""
        os.kill(self.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """Send SIGCONT: it goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def log(self) -> list[dict[str, Any]]:
        """Return the log events it wrote on stdout; a line that is no JSON object comes as `{"raw": line}`."""
        return self._output.log()

    def errors(self) -> str:
        """Return what it wrote on stderr."""
        return self._output.errors()

    def log_tail(self, lines: int = 30) -> str:
        """Return the end of what it wrote on stdout and stderr."""
        return self._output.tail(lines)
