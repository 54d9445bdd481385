"""The way of docs/kubernetes.md, from a cluster with nothing on it to a trace."""

import json
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from tests.support.eventually import eventually_sync

LOAD: Final = (Path(__file__).parent / "load.py").read_text(encoding="utf-8")
FEW, MANY = 2, 5


class Cluster(Protocol):
    """Where a bridge runs, as far as the way needs it."""

    url: str
    """Of the ingress, seen from a pod."""

    def apply(self, secret: str) -> None:
        """Make the one secret, and everything else."""

    def wait(self, workload: str, pods: int | None = None) -> None:
        """Wait until a workload is rolled out, with so many pods."""

    def scale(self, workload: str, pods: int) -> None:
        """Change how many pods a workload has."""

    def restart(self, workload: str) -> None:
        """Replace all its pods, one after the other."""

    def delete_pod(self, workload: str) -> None:
        """Delete one of its pods."""

    def start(self, workload: str, command: Sequence[str]) -> "subprocess.Popen[str]":
        """Start a command in one of its pods; its standard input and outputs are ours."""

    def log(self, workload: str) -> str:
        """Return what its pods wrote."""


@dataclass
class Scenario:
    """One walk.

    Args:
        cluster: With nothing of ours on it.
        say: Told of each step.
        seconds: How long alerts are posted, at least.
        rate: How many a second.
        demands_answers: No post may go unanswered either, while pods go and come.
        reads_traces: Whether there is a collector to read from.
        settled_s: For the last alerts to end after the load, and for whatever else takes a while.
    """

    cluster: Cluster
    say: Callable[[str], None]
    seconds: float = 60.0
    rate: float = 20.0
    demands_answers: bool = True
    reads_traces: bool = True
    settled_s: float = 120.0
    run: str = field(default_factory=lambda: secrets.token_hex(3))

    def walk(self) -> None:
        """Walk the whole way.

        Raises:
            AssertionError: Something was not as it must be.
        """
        secret = secrets.token_hex(32)
        self.say("apply")
        self.cluster.apply(secret)
        for workload in ("ingress", "worker", "reaper"):
            self.cluster.wait(workload)
        self.is_well(FEW)
        self.say("send one alert")
        alert = self.one_alert()
        self.has_figures()
        if self.reads_traces:
            # Before the load, since a node keeps only so much of a log.
            self.say("read its trace from the collector")
            self.has_trace(alert)
        self.under_load(secret)

    def is_well(self, workers: int) -> None:
        """Wait until the bridge says that it is well, with so many workers."""

        def well() -> bool:
            document = self.bascule("status", "--json")
            live = sum(one["is_live"] for one in document["workers"])
            assert document["status"] == "ok", document["reasons"]
            assert live == workers, f"{live} workers"
            return True

        eventually_sync(well, self.settled_s, 1.0, "the bridge is well")

    def has_figures(self) -> None:
        """Wait until the status shows what all services have counted, a post among it."""

        def counted() -> bool:
            figures = self.bascule("status", "--json")["figures"]
            assert figures, "nobody was asked"
            problems = [f"{one['process']} {one['problem']}" for one in figures["services"] if one["problem"]]
            assert not problems, problems
            return bool(figures["posts"] and figures["posts"].get("200", {}).get("admitted"))

        # Names of a cluster may lead to pods that are gone for a while.
        eventually_sync(counted, self.settled_s, 1.0, "what services have counted is shown")

    def one_alert(self) -> dict[str, Any]:
        """Send an alert, see it traded, and return it."""
        answer = self.bascule("send", "--wait", "--json", workload="ingress")
        alert = self.bascule("alerts", answer["alert_id"], "--json")
        assert alert["state"] == "EXECUTED", alert
        return dict(alert)

    def under_load(self, secret: str) -> None:
        """Scale up and down, delete pods and replace them while alerts come; see that each was traded once."""
        self.say(f"post {self.rate:g} alerts a second for {self.seconds:g} s")
        command = ["python", "-c", LOAD, self.cluster.url, self.run, str(self.seconds), str(self.rate)]
        load = self.cluster.start("reaper", command)
        assert load.stdin is not None
        load.stdin.write(f"{secret}\n")
        load.stdin.flush()
        began = time.monotonic()
        self.say(f"  workers {FEW} -> {MANY}")
        self.cluster.scale("worker", MANY)
        self.cluster.wait("worker", MANY)
        self.say("  delete a worker's pod, and an ingress's")
        self.cluster.delete_pod("worker")
        self.cluster.delete_pod("ingress")
        self.cluster.wait("worker", MANY)
        self.cluster.wait("ingress")
        self.say(f"  workers {MANY} -> {FEW}")
        self.cluster.scale("worker", FEW)
        self.cluster.wait("worker", FEW)
        self.say("  replace all ingresses and workers")
        self.cluster.restart("ingress")
        self.cluster.restart("worker")
        self.say(f"  that took {time.monotonic() - began:.0f} s")
        said, complaints = load.communicate(timeout=self.seconds + 2 * self.settled_s)
        assert load.returncode == 0, complaints
        self.check(json.loads(said))

    def check(self, load: dict[str, Any]) -> None:
        """Hold what was traded against what was answered."""
        taken, answers = load["taken"], load["answers"]
        self.say(
            f"  {sum(taken.values())} alerts taken, slowest {load['slowest_s']:.2f} s; answers: {answers}"
        )
        assert load["given_up"] == [], "alerts that nobody took"
        assert set(answers) <= {"200", "none"}, f"posts were refused: {answers}"
        if self.demands_answers:
            assert "none" not in answers, f"posts without an answer: {answers}"
        self.is_well(FEW)

        def traded() -> bool:
            held = {one["symbol"]: float(one["quantity"]) for one in self.bascule("positions", "--json")}
            ours = {symbol: held.get(symbol, 0.0) for symbol in taken}
            # One unit each: more is twice, less is lost.
            assert ours == {symbol: float(count) for symbol, count in taken.items()}
            return True

        eventually_sync(traded, self.settled_s, 1.0, "each alert that was taken is traded once")
        status = self.bascule("status", "--json")
        assert status["dead_letters"] == 0, status
        self.say("  each was traded once")

    def has_trace(self, alert: dict[str, Any]) -> None:
        """Find the spans of an alert in the collector's log."""
        trace = str(alert["trace_id"])

        def complete() -> bool:
            parts = self.cluster.log("collector").split("ResourceSpans #")
            own = {
                match[1]
                for part in parts
                if trace in part and (match := re.search(r"service\.name: Str\(([\w-]+)\)", part))
            }
            assert {"bascule-ingress", "bascule-worker"} <= own, f"trace {trace} has spans of {own}"
            return True

        eventually_sync(complete, self.settled_s, 2.0, "the trace")

    def bascule(self, *arguments: str, workload: str = "worker") -> Any:
        """Run `bascule` in a pod; return the document that it writes."""
        process = self.cluster.start(workload, ["bascule", *arguments])
        said, complaints = process.communicate(timeout=90)
        assert said, f"bascule {' '.join(arguments)}: {complaints}"
        return json.loads(said)
