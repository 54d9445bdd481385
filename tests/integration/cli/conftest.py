"""Runs `bascule` in this process, against a store that the test fills."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pytest

from cli import webhook_changes
from cli.main import main
from tests.support.filled_store import FilledStore, fill
from tests.support.redis_server import RedisServer

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome:
    """What one run of the command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return its data."""
        return orjson.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """`bascule`, and the store that it is about."""

    redis: RedisServer
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> Outcome:
        self.capture.readouterr()
        code = main(list(arguments))
        captured = self.capture.readouterr()
        return Outcome(code, captured.out, captured.err)

    def fill(self, steps: Callable[[FilledStore], Awaitable[T]]) -> T:
        """Take steps on the store."""
        return fill(self.redis.url, steps)


CONFIG = """
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}
accounts:
  paper: {broker: paper, cash: 1000, currency: EUR}
  desk: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET}
"""

WEBHOOK_CONFIG = """
ingress: {public_url: "https://hooks.example.com", addresses: {office: [203.0.113.0/24]}}
signing_keys: {relay: RELAY_KEY}
webhooks:
  default: {secret: WEBHOOK_SECRET, accounts: [paper]}
  fixed: {token: FIXED_TOKEN, accounts: [desk], auth: [url], rate: 90/min}
accounts:
  paper: {broker: paper}
  desk: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET}
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    return path


@pytest.fixture
def webhook_config(bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "bridge.yaml"
    path.write_text(WEBHOOK_CONFIG)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
    # No ingress runs here that a change would have to reach.
    monkeypatch.setattr(webhook_changes, "IN_FORCE_S", 0)
    return path


@pytest.fixture
def bascule(
    redis_server: RedisServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    for name in ("BASCULE_CONFIG", "WEBHOOK_SECRET", "WEBHOOK_SECRET_FILE", "DESK_SECRET", "REDIS_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    return CommandLine(redis_server, capsys)


def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have the command run with a configuration of its own."""
    path = tmp_path / "own.yaml"
    path.write_text(text)
    monkeypatch.setenv("BASCULE_CONFIG", str(path))
