import asyncio
import os
import signal

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.runtime.service import run_service


def test_the_first_signal_asks_to_drain_and_the_process_ends_with_0() -> None:
    drained = []

    async def main(stopping: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await stopping.wait()
        drained.append(True)

    assert run_service("worker", main) == 0
    assert drained


def test_a_second_signal_does_not_wait_for_the_drain() -> None:
    async def main(stopping: asyncio.Event) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    assert run_service("worker", main) == 1


def test_a_configuration_error_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    async def main(_: asyncio.Event) -> None:
        raise ConfigError("port 8080 on 127.0.0.1 is in use by another process")

    assert run_service("worker", main) == 1
    assert capsys.readouterr().err == "worker: port 8080 on 127.0.0.1 is in use by another process\n"


def test_any_other_error_ends_with_1_too() -> None:
    async def main(_: asyncio.Event) -> None:
        raise ZeroDivisionError

    assert run_service("worker", main) == 1
