"""A cluster, by kubectl."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any, Final

from tests.support.eventually import eventually_sync
from tests.support.tree import ROOT

NAMESPACE: Final = "bascule"
NAMESPACE_AT: Final = "k8s/namespace"
ROLLOUT_S: Final = 300


class Kubectl:
    """The cluster that kubectl points to.

    Args:
        overlay: What to apply, as a directory of the repository.
    """

    url = "http://ingress:8080"

    def __init__(self, overlay: str) -> None:
        self.overlay = overlay

    def context(self) -> str:
        """Return the name of the cluster."""
        return self._call("config", "current-context").strip()

    def has_namespace(self) -> bool:
        """Return whether something of ours may be there already."""
        return bool(self._call("get", "namespace", NAMESPACE, "--ignore-not-found", "--output=name").strip())

    def apply(self, secret: str) -> None:
        """Make the one secret, and everything else."""
        self._call("apply", "--kustomize", str(ROOT / NAMESPACE_AT))
        # On standard input, where no list of processes shows it.
        made = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "bascule-webhooks"},
            "stringData": {"WEBHOOK_SECRET": secret},
        }
        self._ours("apply", "--filename", "-", stdin=json.dumps(made))
        self._call("apply", "--kustomize", str(ROOT / self.overlay))

    def wait(self, workload: str, pods: int | None = None) -> None:
        """Wait until a workload is rolled out, with so many pods."""
        self._ours("rollout", "status", f"deploy/{workload}", f"--timeout={ROLLOUT_S}s")
        if pods is not None:
            eventually_sync(
                lambda: len(self._pods(workload)) == pods, ROLLOUT_S, 1.0, f"{pods} of {workload}"
            )

    def scale(self, workload: str, pods: int) -> None:
        """Change how many pods a workload has."""
        self._ours("scale", f"deploy/{workload}", f"--replicas={pods}")

    def restart(self, workload: str) -> None:
        """Replace all its pods, one after the other."""
        self._ours("rollout", "restart", f"deploy/{workload}")
        self.wait(workload)

    def delete_pod(self, workload: str) -> None:
        """Delete one of its pods."""
        self._ours("delete", "pod", self._pods(workload)[0], "--wait=false")

    def start(self, workload: str, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command in one of its pods; its standard input and outputs are ours."""
        return subprocess.Popen(
            ["kubectl", "--namespace", NAMESPACE, "exec", "--stdin", f"deploy/{workload}", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def log(self, workload: str) -> str:
        """Return what its pods wrote."""
        return self._ours("logs", f"deploy/{workload}", "--tail=-1")

    def delete(self) -> None:
        """Delete everything of ours."""
        self._call("delete", "namespace", NAMESPACE)

    def describe(self) -> str:
        """Return what may tell why something failed."""
        parts = [
            self._ours("get", "pods", "--output=wide", check=False),
            self._ours("get", "events", "--sort-by=.lastTimestamp", check=False)[-4_000:],
        ]
        services = ("ingress", "worker", "reaper")
        parts += [self._ours("logs", f"deploy/{one}", "--tail=20", check=False) for one in services]
        return "\n".join(parts)

    def _pods(self, workload: str) -> list[str]:
        """Return the names of a workload's pods, without those that are ending."""
        selector = f"app.kubernetes.io/component={workload}"
        found: dict[str, Any] = json.loads(self._ours("get", "pods", "--selector", selector, "--output=json"))
        return [
            one["metadata"]["name"] for one in found["items"] if "deletionTimestamp" not in one["metadata"]
        ]

    def _ours(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return self._call("--namespace", NAMESPACE, *arguments, stdin=stdin, check=check)

    def _call(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=ROLLOUT_S + 60,
            check=False,
        )
        assert done.returncode == 0 or not check, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout
