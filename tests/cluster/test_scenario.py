"""The way over a cluster, walked over processes of this machine: what it looks at is there, and it tells what is wrong."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.cluster.kubectl import NAMESPACE_AT, Kubectl
from tests.cluster.scenario import LOAD, Cluster, Scenario
from tests.support.bridge import Bridge
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT


class Processes:
    """A bridge of processes that is scaled like a cluster's."""

    def __init__(self, directory: Path, redis_server: RedisServer) -> None:
        self.directory, self.redis_server = directory, redis_server
        self.url = ""
        self.bridge: Bridge | None = None
        self.secret = ""

    def apply(self, secret: str) -> None:
        self.secret = secret
        self.bridge = Bridge(
            self.directory,
            self.redis_server,
            workers=2,
            environment={"WEBHOOK_SECRET": secret},
        ).start()
        self.url = self.bridge.ingresses[0].url

    def wait(self, workload: str, pods: int | None = None) -> None:
        for service in self._running(workload):
            service.wait_ready()
        if pods is not None:
            assert len(self._running(workload)) == pods

    def scale(self, workload: str, pods: int) -> None:
        assert self.bridge is not None
        while len(self._running(workload)) < pods:
            self.bridge.add_worker()
        for service in self._running(workload)[pods:]:
            assert service.terminate().code == 0

    def restart(self, workload: str) -> None:
        for service in self._running(workload):
            assert service.terminate().code == 0
            service.start().wait_ready()

    def delete_pod(self, workload: str) -> None:
        first = self._running(workload)[0]
        assert first.terminate().code == 0
        first.start().wait_ready()

    def start(self, workload: str, command: Sequence[str]) -> "subprocess.Popen[str]":
        assert self.bridge is not None
        programs = {"python": sys.executable, "bascule": str(Path(sys.executable).parent / "bascule")}
        variables = {
            "REDIS_URL": self.redis_server.url,
            "WEBHOOK_SECRET": self.secret,
            "BASCULE_CONFIG": str(self.bridge.workers[0].config_path),
            "BASCULE_INGRESS_URL": self.url,
            "BASCULE_OPS_URLS": " ".join(
                f"http://127.0.0.1:{one.ops_port}"
                for workload in ("ingress", "worker", "reaper")
                for one in self._running(workload)
            ),
        }
        return subprocess.Popen(
            [programs[command[0]], *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **variables},
            cwd=self.directory,
        )

    def log(self, workload: str) -> str:
        return ""

    def _running(self, workload: str) -> list[Service]:
        assert self.bridge is not None
        named = {
            "ingress": self.bridge.ingresses,
            "worker": self.bridge.workers,
            "reaper": self.bridge.reapers,
        }
        return [service for service in named[workload] if service.is_running]


@pytest.fixture
def processes(tmp_path: Path, redis_server: RedisServer) -> Iterator[Processes]:
    made = Processes(tmp_path, redis_server)
    yield made
    if made.bridge is not None:
        made.bridge.close()


def walk(processes: Processes, cluster: Cluster) -> list[str]:
    said: list[str] = []
    Scenario(cluster, said.append, seconds=6, rate=20, demands_answers=False, reads_traces=False).walk()
    return said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_whole_way_is_walked(processes: Processes) -> None:
    said = walk(processes, processes)
    assert said[-1].strip() == "each was traded once"


@pytest.mark.parametrize(
    "figures",
    [
        None,
        {"services": [], "posts": None},
        {
            "services": [{"process": "ingress", "problem": "does not answer"}],
            "posts": {"200": {"admitted": 1}},
        },
        {"services": [{"process": "ingress", "problem": None}], "posts": {"200": {"admitted": 0}}},
    ],
)
def test_a_status_without_what_services_have_counted_is_told(figures: dict[str, object] | None) -> None:
    scenario = _answering({"figures": figures}, "1")
    with pytest.raises(AssertionError, match="counted"):
        scenario.has_figures()


def test_an_alert_that_is_traded_twice_is_told() -> None:
    scenario = _answering({"status": "ok", "reasons": [], "dead_letters": 0, "workers": _TWO}, "3")
    with pytest.raises(AssertionError, match="traded once"):
        scenario.check({"taken": {"A": 2}, "answers": {"200": 2}, "given_up": [], "slowest_s": 0.1})


@pytest.mark.parametrize("answers", [{"200": 2, "503": 1}, {"200": 2, "none": 1}])
def test_a_post_that_was_not_taken_at_first_is_told(answers: dict[str, int]) -> None:
    scenario = _answering({"status": "ok", "reasons": [], "dead_letters": 0, "workers": _TWO}, "2")
    with pytest.raises(AssertionError, match="posts"):
        scenario.check({"taken": {"A": 2}, "answers": answers, "given_up": [], "slowest_s": 0.1})


def test_the_load_is_python_without_packages() -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD], capture_output=True, text=True, check=False
    )
    assert "IndexError" in done.stderr, "it misses its arguments, and nothing else"


def test_a_namespace_that_is_there_is_left_alone(tmp_path: Path) -> None:
    """What is in it may be for real money."""
    done, called = over_a_cluster_in_use(tmp_path)
    assert done.returncode == 2
    assert "--over" in done.stderr
    assert not any(word in called for word in ("apply", "delete", "create"))


def test_a_namespace_that_was_there_is_never_deleted(tmp_path: Path) -> None:
    done, called = over_a_cluster_in_use(tmp_path, "--over")
    assert done.returncode == 1
    assert "apply" in called
    assert "delete" not in called


def over_a_cluster_in_use(directory: Path, *arguments: str) -> "tuple[subprocess.CompletedProcess[str], str]":
    """Walk over a cluster that has the namespace and takes nothing; return also what it was asked."""
    kubectl = directory / "kubectl"
    kubectl.write_text(
        '#!/bin/sh\necho "$@" >> "$0.log"\ncase "$*" in *get\\ namespace*) echo namespace/bascule ;; *apply*) exit 1 ;; esac\n'
    )
    kubectl.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster", *arguments],
        env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, (directory / "kubectl.log").read_text()


def test_what_is_applied_is_there() -> None:
    assert (ROOT / NAMESPACE_AT / "kustomization.yaml").exists()


_TWO = [{"is_live": True}, {"is_live": True}]


def _answering(status: dict[str, object], quantity: str) -> Scenario:
    scenario = Scenario(_Nowhere(), _silent, settled_s=0.1)
    answers: dict[str, object] = {"status": status, "positions": [{"symbol": "A", "quantity": quantity}]}
    scenario.bascule = lambda command, *_, **__: answers[command]  # type: ignore[method-assign]
    return scenario


def _silent(_: str) -> None:
    pass


_Nowhere: Callable[[], Cluster] = lambda: Kubectl("nowhere")  # noqa: E731
