"""`bascule check` and `doctor`."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from libs.common.store.client import connect
from tests.integration.cli.conftest import CommandLine, write_config
from tests.support.fullness import use_memory
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer

ROOT: Final = Path(__file__).parents[3]

DOCTOR: Final = "import sys; sys.prefix = '/nowhere/venv'; from cli.main import main; sys.exit(main())"
"""Without the `var/` beside our own virtual environment, where a bridge may run."""


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def findings(bascule: CommandLine, command: str) -> tuple[int, dict[str, tuple[str, str]]]:
    outcome = bascule(command, "--json")
    return outcome.code, {
        one["subject"]: (one["verdict"], f"{one['detail']} {one['remedy']}")
        for one in outcome.json["findings"]
    }


@pytest.mark.parametrize(
    ("environ", "verdict", "words"),
    [
        ({}, "ok", "off: OTEL_EXPORTER_OTLP_ENDPOINT is not set here"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:pa55word@collector:4318"},
            "ok",
            "on: spans go to http://collector:4318 by http/protobuf",
        ),
        (
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "https://collector:4318",
                "OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem",
            },
            "wrong",
            'OTEL_EXPORTER_OTLP_CERTIFICATE: "/nowhere/ca.pem" is no file',
        ),
    ],
)
def test_a_check_tells_whether_and_where_to_spans_go(
    bascule: CommandLine,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    verdict: str,
    words: str,
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    _, found = findings(bascule, "check")

    assert found["tracing"][0] == verdict
    assert words in found["tracing"][1]
    assert "pa55word" not in found["tracing"][1]


def test_a_check_of_what_is_well_is_ok(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "one-secret")
    monkeypatch.setenv("DESK_SECRET", "another-one")

    code, found = findings(bascule, "check")

    assert code == 0
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert found.keys() >= {
        "configuration",
        "secret WEBHOOK_SECRET",
        "secret DESK_SECRET",
        "redis",
        "redis version",
        "redis eviction",
        "redis durability",
    }


def test_a_check_warns_of_a_secret_that_may_be_guessed(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", "12345678")
    monkeypatch.setenv("DESK_SECRET", "1234567")

    code, found = findings(bascule, "check")

    assert code == 3
    assert found["secret WEBHOOK_SECRET"][0] == "ok"
    verdict, words = found["secret DESK_SECRET"]
    assert verdict == "warning"
    assert "8 characters or more" in words
    assert "1234567" not in words


def test_a_check_names_each_missing_secret_and_what_to_do(bascule: CommandLine, config: Path) -> None:
    code, found = findings(bascule, "check")

    assert code == 1
    verdict, words = found["secret DESK_SECRET"]
    assert verdict == "wrong"
    assert "set DESK_SECRET, or DESK_SECRET_FILE" in words
    assert "account desk" in words


@pytest.mark.parametrize(
    ("url", "verdict", "words"),
    [
        ("https://hooks.example.com", "ok", "https://hooks.example.com"),
        ("https://hooks.example.com:8443", "warning", "port 8443"),
        ("https://localhost", "warning", "localhost"),
    ],
)
def test_a_check_tells_whether_tradingview_can_post_to_us(
    bascule: CommandLine, config: Path, url: str, verdict: str, words: str
) -> None:
    config.write_text(f'{config.read_text()}ingress: {{public_url: "{url}"}}\n')

    _, found = findings(bascule, "check")

    assert found["public_url"][0] == verdict
    assert words in found["public_url"][1]


def test_a_check_refuses_a_server_that_promises_too_little(
    bascule: CommandLine, config: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.config_set("appendfsync", "everysec")
        client.config_set("maxmemory-policy", "allkeys-lru")

    code, found = findings(bascule, "check")

    assert code == 1
    assert found["redis durability"][0] == "wrong"
    assert "appendfsync always" in found["redis durability"][1]
    assert found["redis eviction"][0] == "wrong"


def test_a_check_refuses_a_server_that_takes_no_writes(
    bascule: CommandLine, config: Path, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.replicaof("127.0.0.1", 1)
        try:
            code, found = findings(bascule, "check")
        finally:
            client.replicaof("NO", "ONE")

    assert code == 1
    assert found["redis role"][0] == "wrong"
    assert "replica, which takes no writes" in found["redis role"][1]


@pytest.mark.parametrize(("share", "verdict", "code"), [(0.6, "ok", 0), (0.9, "wrong", 1)])
def test_a_check_tells_whether_redis_has_room_for_alerts(
    bascule: CommandLine,
    config: Path,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    verdict: str,
    code: int,
) -> None:
    for name in ("DESK_SECRET", "WEBHOOK_SECRET"):
        monkeypatch.setenv(name, "x" * 20)
    with redis_server.client() as client:
        use_memory(client, share)

    found_code, found = findings(bascule, "check")

    assert found_code == code
    assert found["redis memory"][0] == verdict
    assert "of its maxmemory is used; alerts are refused from 80.0% on" in found["redis memory"][1]


def test_a_check_names_the_key_that_is_wrong(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path, monkeypatch, "webhoks: {}\n")

    code, found = findings(bascule, "check")

    assert code == 1
    assert "webhoks" in found["configuration"][1]
    assert found["redis"][0] == "ok"


def test_people_see_what_to_do(bascule: CommandLine, config: Path) -> None:
    outcome = bascule("check")

    assert outcome.code == 1
    assert "-> set DESK_SECRET" in outcome.out


def test_the_doctor_finds_ports_in_use_and_brokers_that_are_away(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: int
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")
    monkeypatch.setenv("DESK_SECRET", "x")
    away = free_port()
    write_config(
        tmp_path,
        monkeypatch,
        f"""
redis: {{url: "{bascule.redis.url}"}}
ingress: {{port: {listener}, ops_port: {free_port()}}}
worker: {{ops_port: {free_port()}}}
reaper: {{ops_port: {free_port()}}}
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [desk]}}}}
accounts: {{desk: {{broker: http, url: "http://127.0.0.1:{away}", secret: DESK_SECRET}}}}
""",
    )

    code, found = findings(bascule, "doctor")

    assert code == 1
    assert found[f"port {listener}"][0] == "wrong"
    assert "ingress.port" in found[f"port {listener}"][1]
    assert found["account desk"][0] == "wrong"
    assert "not reachable" in found["account desk"][1]
    assert (found["clock"][0], found["redis"][0], found["python"][0]) == ("ok", "ok", "ok")


def test_the_doctor_reaches_a_broker_that_listens(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listener: int
) -> None:
    monkeypatch.setenv("DESK_SECRET", "desk-secret")
    write_config(
        tmp_path,
        monkeypatch,
        f"""
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [desk]}}}}
accounts: {{desk: {{broker: http, url: "http://127.0.0.1:{listener}", secret: DESK_SECRET}}}}
""",
    )

    code, found = findings(bascule, "doctor")

    assert found["account desk"][0] == "ok"
    assert found["secret DESK_SECRET"][0] == "ok"
    assert code in {0, 3}  # 3 where the machine's disk is nearly full


def test_the_doctor_finds_the_record_of_a_bridge_that_is_gone(bascule: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    (tmp_path / "var" / "run.json").write_text("{}")

    code, found = findings(bascule, "doctor")

    assert code == 3
    assert found["run record"][0] == "warning"


DEMO = """
webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}
accounts: {paper: {broker: paper}}
"""


@pytest.mark.parametrize("command", ["check", "doctor"])
def test_before_the_first_start_a_missing_redis_is_nothing_wrong(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")
    # The default address may be in use on the machine that tests run on.
    monkeypatch.setattr(
        "libs.common.store.shards.connect", lambda *_, **__: connect("redis://127.0.0.1:1/0", timeout_s=1)
    )
    write_config(tmp_path, monkeypatch, DEMO)

    _, found = findings(bascule, command)

    assert found["redis"][0] == "skip"
    assert "`make up` brings its own Redis" in found["redis"][1]
    if command == "check":
        assert found["secret WEBHOOK_SECRET"][0] == "ok"
        assert bascule(command).code == 0


def test_a_redis_that_the_configuration_names_must_answer(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.setattr("sys.prefix", "/nowhere/venv")
    write_config(tmp_path, monkeypatch, f'redis: {{url: "redis://127.0.0.1:1/0"}}{DEMO}')

    code, found = findings(bascule, "check")

    assert (code, found["redis"][0]) == (1, "wrong")


def test_a_wrong_password_is_named_with_what_to_do(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", f"{bascule.redis.url}?username=nobody&password=wrong")

    code, found = findings(bascule, "check")

    assert code == 1
    assert "password" in found["redis"][1]
    assert "REDIS_URL=redis://NAME:PASSWORD@host:port/0" in found["redis"][1]


def test_a_check_names_the_variable_about_tracing_that_is_wrong(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")

    code, found = findings(bascule, "check")

    assert code == 1
    assert found["tracing"][0] == "wrong"
    assert "OTEL_EXPORTER_OTLP_PROTOCOL" in found["tracing"][1]


def _as_file(var: Path) -> None:
    var.write_text("")


def _read_only(var: Path) -> None:
    var.mkdir(mode=0o500)


def _locked_by_a_directory(var: Path) -> None:
    (var / "lock").mkdir(parents=True)


def _data_in_a_file(var: Path) -> None:
    var.mkdir()
    (var / "redis").write_text("")


def _record_in_a_directory(var: Path) -> None:
    (var / "run.json").mkdir(parents=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_as_file, "var: is no directory"),
        (_read_only, "var: may not be written"),
        (_locked_by_a_directory, "var/lock: is a directory"),
        (_data_in_a_file, "var/redis: is no directory"),
        (_record_in_a_directory, "var/run.json: is a directory"),
    ],
)
def test_a_doctor_finds_that_up_could_not_keep_its_data(
    spoil: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "demo.yaml").write_text(
        "webhooks: {default: {secret: WEBHOOK_SECRET, accounts: [paper]}}\naccounts: {paper: {broker: paper}}\n"
    )
    spoil(tmp_path / "var")
    # Root may write anywhere: not where it has left that right.
    left = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("BASCULE_", "REDIS_"))
    }
    done = subprocess.run(
        [*left, sys.executable, "-c", DOCTOR, "doctor", "--json"],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    found = {one["subject"]: one for one in json.loads(done.stdout)["findings"]}
    assert done.returncode == 1
    assert found["data of up"]["verdict"] == "wrong"
    assert found["data of up"]["detail"] == f"{tmp_path}/{words}"
    assert "run record" not in found


@pytest.mark.parametrize("command", ["check", "doctor"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [("REDIS_URL", ""), ("REDIS_URL_FILE", ""), ("BASCULE_INGRESS_URL", "x"), ("BASCULE_OPS_URLS", "x")],
)
def test_a_variable_that_leads_to_no_bridge_is_told_apart_from_the_configuration(
    bascule: CommandLine,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    variable: str,
    value: str,
) -> None:
    if variable == "REDIS_URL_FILE":
        monkeypatch.delenv("REDIS_URL")
    monkeypatch.setenv(variable, value)

    code, found = findings(bascule, command)

    assert (code, found["environment"][0]) == (1, "wrong")
    assert variable in found["environment"][1]
    assert "unset it" in found["environment"][1]
    assert "configuration" not in found


def test_a_variable_that_leads_to_no_bridge_leaves_no_venue_to_ask(
    bascule: CommandLine, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "")
    outcome = bascule("check", "--connect")
    assert outcome.code == 1
    assert "there is no configuration to go by" in outcome.out
