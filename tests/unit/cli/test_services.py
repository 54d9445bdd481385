"""Which services are asked for what they have counted."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest

from cli.context import find_bridge
from cli.services import ask_services, known_services
from libs.common.domain.errors import ConfigError
from libs.common.runtime.run_record import RunRecord, write_run_record
from tests.support.ports import free_port, free_ports

CONFIG = """
ingress: {{ops_host: 0.0.0.0, ops_port: {0}}}
worker: {{ops_host: "::1", ops_port: {1}}}
reaper: {{ops_port: {2}}}
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [paper]}}}}
accounts: {{paper: {{broker: paper}}}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG.format(9201, 9210, 9203))
    return path


def known(environ: dict[str, str], start: Path, live_workers: int = 0) -> list[tuple[str, str]]:
    services = known_services(find_bridge(environ, start), live_workers)
    return [(one.process, one.url) for one in services]


def test_a_launcher_that_runs_tells_each_of_its_services(tmp_path: Path, config: Path) -> None:
    record = RunRecord(
        redis_url="unix:///run/here.sock",
        ingress_url="http://127.0.0.1:8080",
        config=str(config),
        pid=os.getpid(),
        ops={"ingress": 9301, "worker-1": 9311, "reaper": 9303},
    )
    (tmp_path / "var").mkdir()
    write_run_record(tmp_path / "var", record)

    assert known({}, tmp_path) == [
        ("ingress", "http://127.0.0.1:9301"),
        ("worker-1", "http://[::1]:9311"),
        ("reaper", "http://127.0.0.1:9303"),
    ]


def test_by_a_configuration_alone_as_many_workers_are_looked_for_as_redis_knows(
    tmp_path: Path, config: Path
) -> None:
    found = known({"BASCULE_CONFIG": str(config), "REDIS_URL": "redis://other:1"}, tmp_path, live_workers=3)

    assert found == [
        ("ingress", "http://127.0.0.1:9201"),
        *((f"worker-{n}", f"http://[::1]:{9210 + n}") for n in range(4)),
        ("reaper", "http://127.0.0.1:9203"),
    ]


def test_without_a_configuration_or_where_it_does_not_say_where_they_are_none_is_known(
    tmp_path: Path, config: Path
) -> None:
    elsewhere = {"BASCULE_CONFIG": str(config), "BASCULE_INGRESS_URL": "http://ingress:8080"}

    assert known({"REDIS_URL": "redis://other:1"}, tmp_path) == []
    assert known({"REDIS_URL": "redis://other:1", **elsewhere}, tmp_path) == []


def test_the_environment_names_them_and_each_process_behind_a_name_is_asked(
    tmp_path: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def addresses(host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        if host == "gone":
            raise socket.gaierror(-2, "Name or service not known")
        found = ["10.0.0.2", "10.0.0.1"] if host == "worker" else ["10.0.0.9"]
        six = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", port, 0, 0))
        return [*((socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found), six]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    named = "http://ingress:9101/ http://worker:9110, http://gone:9103"

    found = known({"BASCULE_OPS_URLS": named, "BASCULE_CONFIG": str(config)}, tmp_path)

    assert found == [
        ("ingress", "http://10.0.0.9:9101"),
        ("worker-1", "http://10.0.0.1:9110"),
        ("worker-2", "http://10.0.0.2:9110"),
        ("gone", "http://gone:9103"),
    ]


@pytest.mark.parametrize(
    "named", ["ingress:9101", "https://ingress:9101", "http://ingress", "http://a:9 http://[b"]
)
def test_a_service_that_is_no_address_is_refused(tmp_path: Path, config: Path, named: str) -> None:
    with pytest.raises(ConfigError, match="BASCULE_OPS_URLS: got"):
        find_bridge({"BASCULE_OPS_URLS": named, "BASCULE_CONFIG": str(config)}, tmp_path)


def test_who_does_not_answer_is_named_and_of_workers_how_many(tmp_path: Path) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG.format(free_port(), free_ports(5)[0], free_port()).replace("::1", "127.0.0.1"))
    bridge = find_bridge({"BASCULE_CONFIG": str(path)}, tmp_path)

    look, asked, silent = ask_services(known_services(bridge, 2), 2)

    assert look.counts == {}
    assert [one.process for one in asked] == ["ingress", "reaper", "2 of 2 workers"]
    assert {one.process for one in silent} >= {"ingress", "reaper", "2 of 2 workers"}
