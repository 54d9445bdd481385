"""The start scripts of components/redis-sentinel, run by real servers: three pods are three addresses of the loopback."""

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import fit_users
from tests.support.tools import missing_tool
from tests.support.tree import ROOT

SCRIPTS = ROOT / "k8s" / "components" / "redis-sentinel"
ADDRESSES = ("127.0.0.21", "127.0.0.22", "127.0.0.23")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Pod:
    """Redis and its Sentinel, on an address and a volume of their own."""

    def __init__(self, address: str, directory: Path, ports: tuple[int, int]) -> None:
        self.address, self.directory = address, directory
        self.port, self.sentinel_port = ports
        self.data = directory / f"data-{address}"
        self.data.mkdir()
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        environment = {
            **os.environ,
            "SELF": self.address,
            "PEERS": " ".join(ADDRESSES),
            "DATA": str(self.data),
            "SECRETS": str(self.directory / "secrets" / "redis"),
            "PORT": str(self.port),
            "SENTINEL_PORT": str(self.sentinel_port),
            "BIND": self.address,
        }
        users = self.directory / "secrets" / "redis" / "users.acl"
        config = self.directory / f"redis-{self.address}.conf"
        text = (ROOT / "config" / "redis.conf").read_text()
        config.write_text(text.replace("dir /data\n", f"dir {self.data}\n"))
        own: list[str | Path] = [config, "--aclfile", users, "--bind", self.address, "--port", str(self.port)]
        commands: tuple[tuple[str, list[str | Path]], ...] = (
            ("start-redis.sh", own),
            ("start-sentinel.sh", []),
        )
        with (self.data / "log").open("ab") as log:
            self._running = [
                spawn(["sh", SCRIPTS / name, *arguments], stdout=log, stderr=log, environment=environment)
                for name, arguments in commands
            ]

    def kill(self) -> None:
        for process in self._running:
            process.send_signal(signal.SIGKILL)
            process.wait()
        self._running = []

    def lose_data(self) -> None:
        shutil.rmtree(self.data)
        self.data.mkdir()

    def client(self) -> "redis.Redis":
        password = (self.directory / "secrets" / "people" / "redis-admin").read_text()
        return redis.Redis(
            self.address,
            self.port,
            username="admin",
            password=password,
            decode_responses=True,
            socket_timeout=5,
        )

    def role(self) -> str:
        try:
            with self.client() as client:
                return str(client.info("replication")["role"])
        except redis.RedisError:
            return "away"

    def named_primary(self) -> str | None:
        """Return whom its Sentinel takes for the primary."""
        try:
            with redis.Redis(
                self.address, self.sentinel_port, decode_responses=True, socket_timeout=5
            ) as client:
                found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "bascule")
                return None if found is None else str(found[0])
        except redis.RedisError:
            return None

    def knows_all(self) -> bool:
        """Return whether its Sentinel knows two replicas and two other Sentinels."""
        with redis.Redis(self.address, self.sentinel_port, decode_responses=True, socket_timeout=5) as client:
            flat = client.execute_command("SENTINEL", "MASTER", "bascule")
            told = flat if isinstance(flat, dict) else dict(zip(flat[::2], flat[1::2], strict=True))
            return int(told["num-slaves"]) == 2 and int(told["num-other-sentinels"]) == 2

    def log(self) -> str:
        return (self.data / "log").read_text()


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[list[Pod]]:
    for tool in ("redis-server", "redis-cli"):
        if shutil.which(tool) is None:
            missing_tool(tool, "the start scripts of redis-sentinel")
    subprocess.run([ROOT / "tools" / "make-secrets", tmp_path / "secrets"], check=True, capture_output=True)
    fit_users(tmp_path / "secrets" / "redis" / "users.acl", Path(shutil.which("redis-server") or ""))
    ports = (free_port(), free_port())
    made = [Pod(address, tmp_path, ports) for address in ADDRESSES]
    for pod in made:
        pod.start()
    try:
        eventually_sync(
            lambda: all(pod.named_primary() for pod in made), 30, 0.2, "every Sentinel knows a primary"
        )
        eventually_sync(lambda: all(pod.knows_all() for pod in made), 60, 0.5, "everybody knows everybody")
        yield made
    finally:
        for pod in made:
            pod.kill()


def primary_of(pods: list[Pod]) -> Pod:
    """Return the one that the others' Sentinels agree on and that is it."""

    def agreed() -> Pod | None:
        named = {pod.named_primary() for pod in pods} - {None}
        found = next((pod for pod in pods if named == {pod.address}), None)
        return found if found is not None and found.role() == "master" else None

    found = eventually_sync(agreed, 60, 0.2, "one primary that all agree on")
    assert found is not None
    return found


def write(pod: Pod, key: str, value: str = "there") -> None:
    """Write once a replica is near enough."""

    def written() -> bool:
        try:
            with pod.client() as client:
                return bool(client.set(key, value))
        except redis.RedisError as error:
            raise AssertionError(str(error)) from error

    eventually_sync(written, 30, 0.2, f"{key} is written")


def read(pod: Pod, key: str) -> str | None:
    with pod.client() as client:
        found: str | None = client.get(key)
        return found


def on_disk(pod: Pod, value: str) -> bool:
    """Return whether its append-only file holds a value, in its base or after; a part may be replaced while it is read."""
    found = False
    for file in (pod.data / "appendonlydir").glob("appendonly.aof.*"):
        with suppress(FileNotFoundError):
            found |= value.encode() in file.read_bytes()
    return found


def has(pod: Pod, key: str) -> bool:
    """Return whether it has a key; one that is away or loads has nothing."""
    try:
        return read(pod, key) == "there"
    except redis.RedisError:
        return False


def test_a_replica_takes_over_and_the_old_primary_comes_back_as_one_of_its_replicas(pods: list[Pod]) -> None:
    first = primary_of(pods)
    assert first.address == ADDRESSES[0]
    write(first, "one")
    first.kill()
    second = primary_of([pod for pod in pods if pod is not first])
    assert second is not first
    assert read(second, "one") == "there"
    write(second, "two")
    first.start()
    eventually_sync(lambda: first.role() == "slave", 30, 0.2, "the old one follows")
    eventually_sync(lambda: read(first, "two") == "there", 30, 0.2, "it has what it missed")


def test_all_come_back_at_once_and_know_who_was_the_primary(pods: list[Pod]) -> None:
    first = primary_of(pods)
    first.kill()
    second = primary_of([pod for pod in pods if pod is not first])
    first.start()
    eventually_sync(lambda: first.role() == "slave", 30, 0.2, "the old one follows")
    write(second, "kept")
    for pod in pods:
        pod.kill()
    for pod in pods:
        pod.start()
    # One whose Sentinel had not heard of the fail-over may take itself for the primary, until the others have told it.
    eventually_sync(lambda: all(has(pod, "kept") for pod in pods), 90, 0.2, "nothing is lost")
    assert read(primary_of(pods), "kept") == "there"


@pytest.mark.parametrize("waits", [True, False], ids=["one-after-the-other", "together"])
def test_who_was_the_primary_long_ago_takes_nothing_back_when_all_come_back(
    pods: list[Pod], waits: bool
) -> None:
    first = primary_of(pods)
    write(first, "kept")
    first.kill()
    second = primary_of([pod for pod in pods if pod is not first])
    write(second, "newer")
    for pod in pods:
        pod.kill()
    assert first is pods[0], "the first that a stateful set starts"
    first.start()
    if waits:
        eventually_sync(lambda: first.named_primary() is not None, 30, 0.2, "it asked, and nobody was there")
    for pod in pods[1:]:
        pod.start()
    eventually_sync(
        lambda: all(has(pod, "newer") for pod in pods), 90, 0.2, f"nothing is lost: {first.log()}"
    )
    assert primary_of(pods) is not first


def test_a_backup_that_is_put_back_as_the_runbook_says_is_what_all_have(
    pods: list[Pod], tmp_path: Path
) -> None:
    first = primary_of(pods)
    write(first, "kept")
    shutil.copytree(first.data / "appendonlydir", tmp_path / "backup")
    write(first, "newer")
    first.kill()
    primary_of(pods[1:])
    for pod in pods:
        pod.kill()
        (pod.data / "sentinel.conf").unlink()
        shutil.rmtree(pod.data / "appendonlydir")
    shutil.copytree(tmp_path / "backup", first.data / "appendonlydir")
    for pod in pods:
        pod.start()
    assert primary_of(pods) is first
    eventually_sync(lambda: all(has(pod, "kept") for pod in pods), 30, 0.2, "all have what was put back")
    assert not any(has(pod, "newer") for pod in pods)


def test_whoever_has_data_follows_no_primary_that_has_none(pods: list[Pod]) -> None:
    """After all stood still nobody is there to tell the first one that it lost its own."""
    first = primary_of(pods)
    # Redis compresses what repeats itself when it rewrites its file into a base of another kind.
    value = secrets.token_urlsafe(4_000)
    write(first, "kept", value)
    eventually_sync(lambda: all(on_disk(pod, value) for pod in pods), 30, 0.2, "all have it on disk")
    for pod in pods:
        pod.kill()
    pods[0].lose_data()
    pods[0].start()
    eventually_sync(lambda: pods[0].role() == "master", 30, 0.2, "it takes this for the very first start")
    for pod in pods[1:]:
        pod.start()
        eventually_sync(lambda pod=pod: "has none: waiting" in pod.log(), 30, 0.2, "it does not follow")  # type: ignore[misc]
        assert on_disk(pod, value)


def test_a_primary_that_lost_its_data_waits_until_another_took_over(pods: list[Pod]) -> None:
    first = primary_of(pods)
    write(first, "kept")
    first.kill()
    first.lose_data()
    first.start()  # sooner than the others notice
    eventually_sync(lambda: first.role() == "slave", 90, 0.2, f"it follows another: {first.log()}")
    assert "has no data: waiting until another takes over" in first.log()
    second = primary_of(pods)
    assert second is not first
    assert read(second, "kept") == "there"
    eventually_sync(lambda: read(first, "kept") == "there", 30, 0.2, "and has its data")
