"""The images themselves, made by the steps of the Dockerfile in chroots: no container engine is needed to try them."""

import json
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.images.chroots import Workshop, cannot, debootstrap
from tests.images.dockerfile import ROOT, last, read_dockerfile
from tests.support.eventually import eventually_sync
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, fit_users
from tests.support.tools import MISSING, missing_tool

STAGES = read_dockerfile()


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """A directory that the user of the images may walk."""
    reason = cannot()
    if reason is not None:
        MISSING[f"chroot ({reason})"] = "images made by the steps of the Dockerfile"
        pytest.skip(f"no chroot can be made here: {reason}")  # without root there is nothing to try
    with tempfile.TemporaryDirectory(prefix="bascule-images-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def redis_server(directory: Path) -> Iterator[RedisServer]:
    """A server with the users that tools/make-secrets makes, as in compose.yaml and the overlay for production."""
    made = RedisServer(tcp=True)
    secrets = directory / "secrets"
    subprocess.run([ROOT / "tools" / "make-secrets", secrets, made.tcp_url], check=True, capture_output=True)
    # Files of secrets are shown to containers one by one; their directory is for its owner.
    secrets.chmod(0o755)
    fit_users(secrets / "redis" / "users.acl", made.binary.path)
    made.options["aclfile"] = str(secrets / "redis" / "users.acl")
    made.identity.update(username="admin", password=(secrets / "people" / "redis-admin").read_text())
    with made as server:
        yield server


@pytest.fixture
def machine(directory: Path) -> Iterator[Workshop]:
    """A workshop on this machine's own system, which costs nothing to have."""
    with Workshop(STAGES, directory / "machine", Path("/")) as workshop:
        yield workshop


@pytest.fixture
def debian(directory: Path) -> Iterator[Workshop]:
    """A workshop on a fresh Debian, that of the official image."""
    if shutil.which("debootstrap") is None:
        missing_tool("debootstrap", "images on a fresh Debian")
    with Workshop(STAGES, directory / "debian", debootstrap(directory / "debian-12")) as workshop:
        yield workshop


class Running:
    """A service of an image, in a container."""

    def __init__(
        self, workshop: Workshop, image: str, directory: Path, ingress_port: int | None = None
    ) -> None:
        self.workshop, self.image = workshop, image
        self.port, self.ops_port = ingress_port or free_port(), free_port()
        self.secret = (directory / "secrets" / "webhooks" / "WEBHOOK_SECRET").read_text()
        document: dict[str, Any] = yaml.safe_load((ROOT / "config" / "container.yaml").read_text())
        document["ingress"]["port"] = self.port
        config = directory / f"{image}-{self.ops_port}.yaml"
        config.write_text(yaml.safe_dump(document))
        self.mounted = {
            "/etc/bascule/bascule.yaml": config,
            "/run/secrets/redis/url": directory / "secrets" / "redis" / image,
            "/run/secrets/bascule/WEBHOOK_SECRET": directory / "secrets" / "webhooks" / "WEBHOOK_SECRET",
        }
        self.variables = {
            "REDIS_URL_FILE": "/run/secrets/redis/url",
            "WEBHOOK_SECRET_FILE": "/run/secrets/bascule/WEBHOOK_SECRET",
            "BASCULE_INGRESS_URL": f"http://127.0.0.1:{self.port}",
            "BASCULE_OPS_PORT": str(self.ops_port),
        }
        self._log = directory / f"{image}-{self.ops_port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Running":
        command = last(STAGES, self.image, "CMD").command
        with self._log.open("wb") as log:
            self._process = self.workshop.run(
                self.image, command, mounted=self.mounted, variables=self.variables, output=log
            )
        eventually_sync(lambda: self.health() == 0, 30, message=f"{self.image} is well: {self.log}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def call(self, *command: str) -> tuple[int, str]:
        return self.workshop.call(self.image, command, mounted=self.mounted, variables=self.variables)

    def health(self) -> int:
        """Return what the image's own health check answers."""
        return self.call(*last(STAGES, self.image, "HEALTHCHECK").command)[0]

    def status(self) -> dict[str, Any]:
        return dict(json.loads(self.call("bascule", "status", "--json")[1]))

    def stop(self) -> int:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(30)


@pytest.mark.timeout(300)
def test_the_ingress_made_on_this_machine_takes_an_alert(
    machine: Workshop, redis_server: RedisServer, directory: Path
) -> None:
    machine.make("ingress")
    _holds_what_it_should(machine, "ingress")
    with Running(machine, "ingress", directory) as ingress:
        _runs_without_rights(ingress)
        assert _post(ingress)["ok"] is True
        assert ingress.stop() == 0, ingress.log


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_images_made_on_a_fresh_debian_trade_an_alert(
    debian: Workshop, redis_server: RedisServer, directory: Path
) -> None:
    for image in ("ingress", "worker", "reaper", "relay"):
        debian.make(image)
        _holds_what_it_should(debian, image)
    with (
        Running(debian, "ingress", directory) as ingress,
        Running(debian, "worker", directory, ingress.port) as worker,
        Running(debian, "reaper", directory, ingress.port) as reaper,
    ):
        alert = _post(ingress)["alert_id"]
        for service in (ingress, worker, reaper):
            _runs_without_rights(service)

        def traded() -> bool:
            with redis_server.client() as client:
                state: str | None = client.hget(f"bascule:{{s0}}:instruction:{alert}:paper", "state")
                return state == "EXECUTED"

        eventually_sync(traded, 30, message="the alert is traded")
        # By the worker's own user of Redis, as `kubectl exec deploy/worker -- bascule status`.
        eventually_sync(lambda: worker.status()["status"] == "ok", 30, message="the bridge is well")
        for service in (worker, reaper, ingress):
            assert service.stop() == 0, service.log


def _holds_what_it_should(workshop: Workshop, image: str) -> None:
    packages = [
        path for layer in workshop.tree(image) for path in layer.glob("opt/bascule/lib/*/site-packages")
    ]
    (site,) = packages
    assert (site / "ccxt").is_dir() is (image == "worker")
    assert not (site / "pip").exists()
    for module in (
        "services/ingress/app.py",
        "libs/common/store/client.py",
        "starlette/routing.py",
        "cli/main.py",
    ):
        path = site / module
        compiled = list((path.parent / "__pycache__").glob(f"{path.stem}.cpython-*.pyc"))
        assert compiled, f"{module} has no bytecode"
        # Its second word: a hash that is not checked (PEP 552).
        assert compiled[0].read_bytes()[4:8] == b"\x01\x00\x00\x00"


def _runs_without_rights(service: Running) -> None:
    status = Path(f"/proc/{service.pid}/status").read_text()
    assert "Uid:\t10001\t10001\t10001\t10001" in status
    assert "Gid:\t10001\t10001\t10001\t10001" in status
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    for place in ("/", "/opt/bascule", "/etc/bascule"):
        assert service.call("sh", "-c", f"touch {place}/x")[0] != 0
    assert service.call("touch", "/tmp/x")[0] == 0


def _post(ingress: Running) -> dict[str, Any]:
    body = {"secret": ingress.secret, "id": f"image-{ingress.port}", "symbol": "BTCUSDT", "action": "buy"}
    request = urllib.request.Request(
        f"http://127.0.0.1:{ingress.port}/webhook",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )

    def answered() -> dict[str, Any]:
        # Right after its start it answers 503 until it has looked at Redis.
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{error.code}: {error.read().decode()}") from error

    return eventually_sync(answered, 10)
