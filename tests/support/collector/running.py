"""A collector as a process of its own, and what it wrote."""

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tests.support.children import spawn
from tests.support.collector.build import GATEWAY, OVERLAY
from tests.support.eventually import eventually_sync
from tests.support.otlp_sink import ERROR, KINDS, Received
from tests.support.ports import free_port


class Collector:
    """Runs with a configuration that we ship; as a context manager it runs while the block does.

    Args:
        program: See `build.py`.
        directory: Where its output and its log go.
        configurations: Laid one on another.
        environment: Added to the test's own.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        configurations: Sequence[Path] = (GATEWAY, OVERLAY),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(program), *(f"--config={path}" for path in configurations)]
        self.http_port, self.grpc_port, self._health_port = free_port(), free_port(), free_port()
        self._output = directory / "spans.json"
        self._log = directory / "collector.log"
        self._environment = {
            **os.environ,
            "TEST_HEALTH_PORT": str(self._health_port),
            "TEST_HTTP_PORT": str(self.http_port),
            "TEST_GRPC_PORT": str(self.grpc_port),
            "TEST_OUTPUT": str(self._output),
            **(environment or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> Self:
        """Start it, again too, on the same ports, and wait until it takes spans."""
        with self._log.open("ab") as log:
            self._process = spawn(self._command, stdout=log, stderr=log, environment=self._environment)
        eventually_sync(self._is_well, 20, 0.02, "the collector is well")
        return self

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Send SIGSTOP: it takes connections and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """Send SIGCONT: it goes on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def variables(self, protocol: str = "http/protobuf") -> dict[str, str]:
        """Return the variables that have a service export here, soon."""
        port = self.grpc_port if protocol == "grpc" else self.http_port
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }

    def written(self) -> str:
        """Return all that it wrote, its own log too."""
        return "".join(
            path.read_text(errors="replace") for path in (self._output, self._log) if path.exists()
        )

    def spans(self, **attributes: Any) -> list[Received]:
        """Return the spans so far, in the order of their start, that have these attributes of ours."""
        wanted = {f"bascule.{name}": value for name, value in attributes.items()}
        lines = self._output.read_text().split("\n")[:-1] if self._output.exists() else []
        found = [span for line in lines for span in spans_of(line)]
        return sorted(
            (span for span in found if wanted.items() <= span.attributes.items()),
            key=lambda span: span.started_at_ns,
        )

    def _is_well(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(f"the collector ended with {self._process.returncode}:\n{self.written()}")
        connection = http.client.HTTPConnection("127.0.0.1", self._health_port, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def spans_of(line: str) -> list[Received]:
    """Return the spans in one line of the file exporter, which is one batch in OTLP's JSON."""
    return [
        Received(
            resource=_values(group["resource"].get("attributes", ())),
            name=span["name"],
            kind=KINDS[span["kind"]],
            trace_id=span["traceId"],
            span_id=span["spanId"],
            parent_id=span.get("parentSpanId", ""),
            attributes=_values(span.get("attributes", ())),
            links=tuple((link["traceId"], link["spanId"]) for link in span.get("links", ())),
            has_failed=span.get("status", {}).get("code") == ERROR,
            started_at_ns=int(span["startTimeUnixNano"]),
            ended_at_ns=int(span["endTimeUnixNano"]),
        )
        for group in json.loads(line)["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def _values(attributes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return attributes as they were set: the form writes whole numbers as texts."""
    found = {}
    for one in attributes:
        [(kind, value)] = one["value"].items()
        found[one["key"]] = int(value) if kind == "intValue" else value
    return found
