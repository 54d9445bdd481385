"""The launcher as a user meets it: real processes and a real Redis, only the services are stand-ins."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from libs.common.runtime.run_record import read_run_record
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.liveness import is_alive
from tests.support.ports import free_port, free_ports
from tests.support.redis_server import best_server
from tests.support.tools import missing_tool

FAKE_UP = Path(__file__).with_name("fake_up.py")
ROOT = Path(__file__).parents[3]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("BASCULE_C", "REDIS_", "WEBHOOK_"))}


@dataclass(frozen=True)
class Note:
    kind: str
    port: int
    pid: int
    text: str


class Tree:
    """A directory with a configuration, and what `bascule up` does there."""

    def __init__(self, directory):
        self.directory = directory
        self.var = directory / "var"
        self.environment = {**CLEAN, "FAKE_NOTES": str(directory / "notes"), "PYTHONPATH": str(ROOT)}
        self.port, self.ops, self.reaper = free_port(), free_port(), free_port()
        self.worker = free_ports(3)[0]  # and behind it one for each worker
        (directory / "config").mkdir()
        (directory / "config" / "demo.yaml").write_text(
            f"ingress:\n  port: {self.port}\n  ops_port: {self.ops}\n  public_url: https://hooks.example.com\n"
            f"worker: {{ops_port: {self.worker}}}\nreaper: {{ops_port: {self.reaper}}}\n"
            "webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}\naccounts: {paper: {broker: paper}}\n"
        )
        self.output = directory / "output"
        self.launchers = []

    def up(self, *arguments, **environment):
        with self.output.open("ab") as output:
            launcher = spawn(
                [sys.executable, FAKE_UP, *arguments],
                stdout=output,
                stderr=output,
                environment={**self.environment, **environment},
                directory=self.directory,
            )
        self.launchers.append(launcher)
        return launcher

    def up_and_running(self, *arguments, **environment):
        seen = self.text.count("Ctrl-C stops everything")
        launcher = self.up(*arguments, **environment)

        def is_running():
            assert launcher.poll() is None or pytest.fail(self.text)
            return self.text.count("Ctrl-C stops everything") > seen

        eventually_sync(is_running, 20, message="everything runs")
        return launcher

    def refused(self, **environment):
        done = subprocess.run(
            [sys.executable, FAKE_UP],
            capture_output=True,
            text=True,
            env={**self.environment, **environment},
            cwd=self.directory,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr.strip()

    @property
    def text(self):
        return self.output.read_text() if self.output.exists() else ""

    @property
    def notes(self):
        path = self.directory / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [
            Note(kind, int(port), int(pid), text)
            for kind, port, pid, text in (line.split(" ", 3) for line in lines)
        ]

    def notes_of(self, word):
        return [note for note in self.notes if note.text.startswith(word)]

    def redis(self, *words):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.record.redis_url).removeprefix("unix://"))
            connection.settimeout(5)
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(100_000).decode()

    @property
    def redis_pid(self):
        text = self.redis("INFO", "server")
        return int(text.partition("process_id:")[2].splitlines()[0])

    @property
    def record(self):
        record = read_run_record(self.var)
        assert record is not None
        return record


@pytest.fixture
def tree(tmp_path):
    if best_server() is None:
        missing_tool("redis-server", "the launcher's tests")
    tree = Tree(tmp_path)
    yield tree
    for launcher in tree.launchers:
        if launcher.poll() is None:
            launcher.send_signal(signal.SIGTERM)
            launcher.wait(20)


def test_everything_starts_says_where_and_stops_redis_last(tree):
    launcher = tree.up_and_running()

    assert sorted((note.kind, note.port) for note in tree.notes) == sorted(
        [
            ("ingress", tree.ops),
            ("worker", tree.worker + 1),
            ("worker", tree.worker + 2),
            ("reaper", tree.reaper),
        ]
    )
    assert all(note.text.endswith("secret") for note in tree.notes)
    record = tree.record
    assert record.pid == launcher.pid
    assert record.ingress_url == f"http://127.0.0.1:{tree.port}"
    assert record.config == str(tree.directory / "config" / "demo.yaml")
    assert record.ops == {
        "ingress": tree.ops,
        "worker-1": tree.worker + 1,
        "worker-2": tree.worker + 2,
        "reaper": tree.reaper,
    }
    for name, value in (("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction")):
        assert value in tree.redis("CONFIG", "GET", name)
    assert "\r\n0\r\n" in tree.redis("CONFIG", "GET", "port")
    redis_pid = tree.redis_pid
    assert json.loads((tree.var / "redis" / "version.json").read_text())["server"] in {"redis", "valkey"}

    # Ctrl-C at a terminal reaches the whole foreground group; a second one changes nothing.
    os.killpg(launcher.pid, signal.SIGINT)
    os.killpg(launcher.pid, signal.SIGINT)
    assert launcher.wait(20) == 0
    stopped = tree.notes_of("stopped")
    assert [note.text for note in stopped] == ["stopped redis-lives"] * 4
    assert stopped[0].kind == "ingress"
    assert tree.notes_of("SIGINT") == []
    assert not is_alive(redis_pid)
    assert not (tree.var / "run.json").exists()
    assert "nothing is lost" in tree.text


def test_started_again_nothing_is_lost_and_the_secret_is_the_same(tree):
    launcher = tree.up_and_running()
    secret = (tree.var / "webhook-secret").read_text().strip()
    assert "WEBHOOK_SECRET was not set: generated and kept in var/webhook-secret:" in tree.text
    assert stat.S_IMODE((tree.var / "webhook-secret").stat().st_mode) == 0o600
    assert f'"secret":"{secret}"' in tree.text
    assert f"curl -sS http://127.0.0.1:{tree.port}/webhook " in tree.text
    assert "https://hooks.example.com/webhook" in tree.text
    tree.redis("SET", "key", "kept")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(20) == 0

    tree.up_and_running()
    assert "kept" in tree.redis("GET", "key")
    assert (tree.var / "webhook-secret").read_text().strip() == secret
    assert tree.text.count("generated") == 1
    assert "WEBHOOK_SECRET is not set: kept in var/webhook-secret:" in tree.text


def test_a_second_one_in_the_same_tree_is_refused(tree):
    launcher = tree.up_and_running()
    line = tree.refused()
    assert "another `bascule up` runs in" in line
    assert f"process {launcher.pid}" in line
    assert tree.record.pid == launcher.pid


def test_children_die_with_a_killed_launcher_and_the_next_one_starts_at_once(tree):
    launcher = tree.up_and_running()
    tree.redis("SET", "key", "kept")
    pids = [note.pid for note in tree.notes] + [tree.redis_pid]
    launcher.kill()
    launcher.wait()
    tree.up_and_running()
    assert not any(is_alive(pid) for pid in pids)
    assert "kept" in tree.redis("GET", "key")


def test_a_process_that_dies_is_started_again_redis_too(tree):
    tree.up_and_running()
    redis_pid = tree.redis_pid
    worker = next(note for note in tree.notes if note.kind == "worker")
    os.kill(worker.pid, signal.SIGKILL)
    eventually_sync(lambda: [note.port for note in tree.notes_of("started")].count(worker.port) == 2)
    os.kill(redis_pid, signal.SIGKILL)

    def is_new():
        try:
            return tree.redis_pid != redis_pid
        except (OSError, ValueError):
            return False

    eventually_sync(is_new)
    assert f"worker-{worker.port - tree.worker} ended unexpectedly (SIGKILL)" in tree.text
    assert "redis ended unexpectedly (SIGKILL)" in tree.text


def test_a_service_that_cannot_start_ends_it_all(tree):
    launcher = tree.up(FAKE_BROKEN="worker")
    assert launcher.wait(20) == 1
    assert "ended 3 times at start (exit 1)" in tree.text
    assert not (tree.var / "run.json").exists()
    eventually_sync(lambda: not any(is_alive(note.pid) for note in tree.notes))


@pytest.mark.parametrize(
    ("which", "key"),
    [
        ("port", "ingress.port"),
        ("ops", "ingress.ops_port"),
        ("worker", "worker.ops_port"),
        ("reaper", "reaper.ops_port"),
    ],
)
def test_a_port_in_use_is_named_with_its_setting(tree, which, key):
    port = getattr(tree, which) + (which == "worker")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        line = tree.refused()
    assert f"port {port} on 127.0.0.1 is in use" in line
    assert key in line


def test_a_wrong_configuration_and_a_missing_secret_are_one_line(tree):
    assert "cannot be read" in tree.refused(BASCULE_CONFIG="nowhere.yaml")
    path = tree.directory / "config" / "demo.yaml"
    path.write_text(path.read_text().replace("WEBHOOK_SECRET", "OWN_SECRET"))
    assert "set OWN_SECRET, or OWN_SECRET_FILE" in tree.refused()


def test_another_redis_is_used_where_the_environment_names_one(tree, redis_server):
    launcher = tree.up_and_running(REDIS_URL=redis_server.url, WEBHOOK_SECRET="of my own")
    assert tree.record.redis_url == redis_server.url
    assert all(redis_server.url in note.text for note in tree.notes)
    assert not (tree.var / "redis").exists()
    assert not (tree.var / "webhook-secret").exists()
    assert "of my own" not in tree.text
    assert "$WEBHOOK_SECRET" in tree.text
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(20) == 0


def test_another_redis_that_promises_too_little_is_one_line_and_starts_nothing(tree, redis_server):
    with redis_server.client() as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")
    line = tree.refused(REDIS_URL=redis_server.url)
    assert "set appendonly yes and appendfsync always" in line
    assert "set it to noeviction" in line
    assert tree.notes == []


def test_another_number_of_shards_than_our_own_redis_holds_is_one_line_and_starts_nothing(tree):
    launcher = tree.up_and_running()
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(20) == 0
    path = tree.directory / "config" / "demo.yaml"
    path.write_text(path.read_text() + "redis: {shards: 4}\n")
    before = tree.notes
    line = tree.refused()
    assert (
        "var/redis: redis.shards: got 4, and what Redis holds is spread over 1: set redis.shards: 1" in line
    )
    assert tree.notes == before


def test_data_of_a_newer_server_is_refused(tree):
    (tree.var / "redis").mkdir(parents=True)
    (tree.var / "redis" / "version.json").write_text('{"server":"redis","version":"99.1.0"}')
    line = tree.refused()
    assert "redis 99.1.0" in line


@pytest.mark.parametrize(("path", "reason"), [("redis", "is no directory"), ("redis/lock", "Is a directory")])
def test_what_lies_in_the_place_of_data_is_named_with_what_to_do(tree, path, reason):
    if path == "redis":
        tree.var.mkdir()
        (tree.var / path).write_text("a file")
    else:
        (tree.var / path).mkdir(parents=True)
    line = tree.refused()
    assert f"{tree.var / path}: cannot be used: {reason}; " in line
    assert "move it away" in line


def test_as_many_workers_as_asked_for(tree):
    tree.up_and_running("--workers", "1")
    assert [note.port for note in tree.notes if note.kind == "worker"] == [tree.worker + 1]
