import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import structlog

from libs.common.domain.errors import ConfigError
from libs.common.runtime.service import Process, Service, run_process, run_service
from libs.common.telemetry.logs import get_logger

CONFIG = """\
webhooks: {default: {secret: HOOK_SECRET, accounts: [desk]}}
accounts: {desk: {broker: http, url: "http://127.0.0.1:9", secret: DESK_SECRET}}
"""


@pytest.fixture
def environ(tmp_path: Path) -> Mapping[str, str]:
    path = tmp_path / "my.yaml"
    path.write_text(CONFIG)
    return {"BASCULE_CONFIG": str(path), "HOOK_SECRET": "hook-secret", "DESK_SECRET": "desk-key"}


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_the_first_signal_asks_to_drain_and_the_process_ends_with_0(environ: Mapping[str, str]) -> None:
    drained = []

    async def main(service: Service) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await service.stopping.wait()
        drained.append(True)

    assert run_service("worker", main, environ) == 0
    assert drained


def test_a_second_signal_does_not_wait_for_the_drain(environ: Mapping[str, str]) -> None:
    async def main(service: Service) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await service.stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    assert run_service("worker", main, environ) == 1


def test_a_configuration_error_is_one_line_on_stderr(
    environ: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def main(_: Service) -> None:
        raise ConfigError("port 8080 on 127.0.0.1 is in use by another process")

    assert run_service("worker", main, environ) == 1
    assert capsys.readouterr().err == "worker: port 8080 on 127.0.0.1 is in use by another process\n"


def test_settings_that_cannot_be_read_are_one_line_on_stderr_too(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_: Service) -> None:
        raise AssertionError

    assert run_service("worker", main, {}) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("worker: BASCULE_CONFIG")


def test_any_other_error_ends_with_1_too(environ: Mapping[str, str]) -> None:
    async def main(_: Service) -> None:
        raise ZeroDivisionError

    assert run_service("worker", main, environ) == 1


def test_a_service_gets_its_settings_and_a_registry_that_tells_about_the_process(
    environ: Mapping[str, str],
) -> None:
    services = []

    async def main(service: Service) -> None:
        services.append(service)

    assert run_service("worker", main, environ) == 0
    (service,) = services
    assert (service.name, list(service.settings.accounts)) == ("worker", ["desk"])
    assert service.registry.get_sample_value("process_resident_memory_bytes")


@pytest.mark.parametrize("name", ["ingress", "worker", "reaper"])
def test_no_service_logs_the_secret_of_another(
    name: str, environ: Mapping[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    async def main(service: Service) -> None:
        get_logger().warning("head_seen", error=ValueError("desk-key"))
        service.started(port=1, reason="hook-secret")
        raise ZeroDivisionError("desk-key and hook-secret")

    assert run_service(name, main, environ) == 1
    out = capsys.readouterr().out
    assert "desk-key" not in out
    assert "hook-secret" not in out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["head_seen", "service_started", "service_failed"]
    assert {line["service"] for line in lines} == {name}


def test_a_process_goes_by_settings_of_its_own_without_a_file_and_logs_none_of_their_secrets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def main(process: Process, settings: dict[str, str]) -> None:
        process.started(port=1, key=settings["key"])
        os.kill(os.getpid(), signal.SIGTERM)
        await process.stopping.wait()

    code = run_process(
        "relay", main, load=lambda: {"key": "signing-key"}, secrets_of=lambda settings: settings.values()
    )

    assert code == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["service_started", "service_stopping", "service_stopped"]
    assert (lines[0]["service"], lines[0]["key"]) == ("relay", "***")


def test_settings_of_its_own_that_do_not_fit_are_one_line_on_stderr(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load() -> dict[str, str]:
        raise ConfigError("RELAY_PORT: got x")

    async def main(_process: Process, _settings: dict[str, str]) -> None:
        raise AssertionError

    assert run_process("relay", main, load=load, secrets_of=lambda _: ()) == 1
    assert capsys.readouterr().err == "relay: RELAY_PORT: got x\n"
