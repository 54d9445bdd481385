"""A real Prometheus with the configuration and the rules of this repository."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import httpx
import yaml

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.service import Service
from tests.support.tools import missing_tool
from tests.support.tree import ROOT

CONFIGURATION: Final = ROOT / "monitoring/prometheus"
RULES: Final = CONFIGURATION / "rules.yaml"
EVERY: Final = "1s"
"""Between two scrapes, and two evaluations of the rules."""


def prometheus_binary() -> str:
    """Return the program, or skip the test."""
    return shutil.which("prometheus") or missing_tool("prometheus", "tests with a real Prometheus")


def promtool_binary() -> str:
    """Return the program, or skip the test; Debian's package `prometheus` has it."""
    return shutil.which("promtool") or missing_tool("promtool", "tests of rules and queries")


def alert_rules() -> list[dict[str, Any]]:
    """Return every rule, in the file's order."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


class Prometheus:
    """Scrapes services every second. Use as a context manager.

    Args:
        directory: For everything it writes.
        jobs: Job -> its services.
    """

    def __init__(self, directory: Path, jobs: Mapping[str, Sequence[Service]]) -> None:
        self._binary = prometheus_binary()
        self._directory = directory
        self._jobs = jobs
        self._log = directory / "prometheus.log"
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{free_port()}", timeout=10.0, trust_env=False)

    def __enter__(self) -> Self:
        # What differs from the files: how often, and whom.
        document = yaml.safe_load((CONFIGURATION / "prometheus.yml").read_text())
        document["global"] = {"scrape_interval": EVERY, "evaluation_interval": EVERY}
        config = self._directory / "prometheus.yml"
        config.write_text(yaml.safe_dump(document))
        shutil.copy(RULES, self._directory)
        targets = [
            {"targets": [f"127.0.0.1:{service.ops_port}" for service in services], "labels": {"job": job}}
            for job, services in self._jobs.items()
        ]
        (self._directory / "targets.yaml").write_text(yaml.safe_dump(targets))
        arguments = (
            self._binary,
            f"--config.file={config}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self._client.base_url.host}:{self._client.base_url.port}",
            "--log.level=warn",
        )
        with self._log.open("wb") as log:
            self._process = spawn(arguments, stdout=log, stderr=log)
        eventually_sync(self._is_ready, 20.0, 0.05, "Prometheus answers")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression comes to now: `metric` and `value` each."""
        answer = self._client.get("/api/v1/query", params={"query": expression})
        document = answer.json()
        assert document["status"] == "success", f"{expression}: {document['error']}"
        found = document["data"]["result"]
        return found if document["data"]["resultType"] == "vector" else [{"metric": {}, "value": found}]

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing, with labels and annotations as they are sent."""
        alerts: list[dict[str, Any]] = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return alerts

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, f"Prometheus ended:\n{self._log.read_text(errors='replace')}"
        try:
            return self._client.get("/-/ready").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
