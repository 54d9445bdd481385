"""Which bridge a command is about."""

import os
import re
from pathlib import Path

import msgspec
import pytest

from cli.context import Bridge, find_bridge, var_directories
from cli.output import Failure
from libs.common.domain.errors import ConfigError
from libs.common.runtime.run_record import RunRecord, write_run_record

CONFIG = """
ingress: {host: 0.0.0.0, port: 8099, public_url: "https://hooks.example.com"}
redis: {url: "redis://elsewhere:6400/0"}
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}
accounts: {paper: {broker: paper}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def running(tmp_path: Path, config: Path) -> RunRecord:
    record = RunRecord(
        redis_url="unix:///run/here.sock",
        ingress_url="http://127.0.0.1:8080",
        config=str(config),
        pid=os.getpid(),
        ops={"ingress": 9101},
    )
    (tmp_path / "var").mkdir()
    write_run_record(tmp_path / "var", record)
    return record


def test_a_running_bridge_is_found_from_any_directory_below(tmp_path: Path, running: RunRecord) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    bridge = find_bridge({}, below)

    assert bridge.redis_url == running.redis_url
    assert bridge.record == running
    assert bridge.ingress_url() == "http://127.0.0.1:8080"
    assert bridge.config == Path(running.config)


@pytest.mark.parametrize("redis", [{}, {"REDIS_URL": "redis://other:1/0"}])
def test_the_environment_says_where_an_ingress_is_that_runs_elsewhere(
    tmp_path: Path, running: RunRecord, config: Path, redis: dict[str, str]
) -> None:
    named = {"BASCULE_INGRESS_URL": "http://ingress:8080/", "BASCULE_CONFIG": str(config), **redis}

    assert find_bridge(named, tmp_path).ingress_url() == "http://ingress:8080"


@pytest.mark.parametrize(
    "url", ["ingress:8080", "http://", "http://[::1", "http://ingress:99999", "ftp://ingress"]
)
def test_an_ingress_that_is_no_address_is_refused(tmp_path: Path, running: RunRecord, url: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f'BASCULE_INGRESS_URL: got "{url}"')):
        find_bridge({"BASCULE_INGRESS_URL": url}, tmp_path)


def test_the_environments_redis_comes_first(tmp_path: Path, running: RunRecord) -> None:
    bridge = find_bridge({"REDIS_URL": "redis://other:1/0"}, tmp_path)

    assert bridge.redis_url == "redis://other:1/0"
    assert bridge.record is None


def test_the_environments_redis_may_be_the_running_bridges(tmp_path: Path, running: RunRecord) -> None:
    bridge = find_bridge({"REDIS_URL": running.redis_url}, tmp_path)

    assert bridge.record == running


@pytest.fixture
def guarded(tmp_path: Path, running: RunRecord) -> RunRecord:
    """A bridge whose Redis has a password."""
    record = msgspec.structs.replace(running, redis_url="redis://ops:***@elsewhere:6400/0")
    write_run_record(tmp_path / "var", record)
    return record


def test_the_environments_redis_is_the_running_bridges_whatever_password_is_masked_there(
    tmp_path: Path, guarded: RunRecord
) -> None:
    url = "redis://ops:pass@elsewhere:6400/0"
    bridge = find_bridge({"REDIS_URL": url}, tmp_path)

    assert (bridge.redis_url, bridge.record) == (url, guarded)


def test_a_password_that_the_record_masks_comes_from_its_configuration(
    tmp_path: Path, guarded: RunRecord
) -> None:
    url = "redis://ops:pass@elsewhere:6400/0"
    Path(guarded.config).write_text(Path(guarded.config).read_text().replace("redis://elsewhere:6400/0", url))

    assert find_bridge({}, tmp_path).redis_url == url


def test_a_password_that_is_kept_nowhere_is_asked_for(tmp_path: Path, guarded: RunRecord) -> None:
    with pytest.raises(Failure, match=r"has a password, which is kept nowhere: set REDIS_URL"):
        find_bridge({}, tmp_path)


def test_without_a_running_bridge_the_configuration_says_where(tmp_path: Path, config: Path) -> None:
    bridge = find_bridge({"BASCULE_CONFIG": str(config)}, tmp_path)

    assert bridge.redis_url == "redis://elsewhere:6400/0"
    assert bridge.ingress_url() == "http://127.0.0.1:8099"
    assert bridge.public_url() == "https://hooks.example.com/webhook"


def test_the_record_of_a_process_that_is_gone_counts_for_nothing(tmp_path: Path, running: RunRecord) -> None:
    # Process ids end below this.
    gone = RunRecord(redis_url="unix:///gone.sock", ingress_url="http://x", config="x", pid=2**22 + 1, ops={})
    write_run_record(tmp_path / "var", gone)

    with pytest.raises(Failure, match="no running bridge found"):
        find_bridge({}, tmp_path)


def test_a_password_is_not_shown() -> None:
    bridge = Bridge("redis://user:hunter2@host:6379/0", "REDIS_URL", None, None, None)

    assert "hunter2" not in bridge.shown_url


def test_the_systems_own_var_is_not_ours(tmp_path: Path) -> None:
    assert Path("/var") not in var_directories(tmp_path)
