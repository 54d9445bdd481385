"""Those who are told of alarms."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.common.domain.errors import ConfigError
from libs.common.policy.alarms import Message
from libs.common.runtime.alarm_targets import (
    CommandTarget,
    Delivered,
    Failed,
    UrlTarget,
    alarm_targets,
)
from libs.common.runtime.secrets import Secret
from libs.common.runtime.settings import Settings
from libs.common.runtime.watchdog_settings import AlarmSettings
from tests.support.eventually import eventually
from tests.support.upstream import Upstream

MESSAGE = Message(id="s0-alarm-1-0", type="alarm", text="words", at_ms=1, kind="silence", subject="näher")


@pytest.fixture
async def receiver() -> AsyncIterator[Upstream]:
    async with Upstream() as upstream:
        yield upstream


def command(script: str, timeout_s: float = 30.0, **environ: str) -> CommandTarget:
    return CommandTarget((sys.executable, "-c", script), environ, timeout_s=timeout_s)


async def test_a_message_is_posted_as_json_with_its_id_and_the_name_of_the_address(
    receiver: Upstream,
) -> None:
    url = receiver.url.replace("http://", "http://me:pass%20word@")
    target = UrlTarget(Secret(f"{url}/hook?key=1"), timeout_s=5)

    assert await target.deliver(MESSAGE) == Delivered()

    (got,) = receiver.received
    assert (got.method, got.target) == ("POST", "/hook?key=1")
    assert json.loads(got.body) == {
        "id": "s0-alarm-1-0",
        "type": "alarm",
        "text": "words",
        "at_ms": 1,
        "kind": "silence",
        "subject": "näher",
    }
    assert got.values("idempotency-key") == ["s0-alarm-1-0"]
    assert got.values("content-type") == ["application/json"]
    assert got.values("authorization") == ["Basic bWU6cGFzcyB3b3Jk"]
    assert target.shown == f"http://127.0.0.1:{receiver.port}/..."
    await target.aclose()


def test_a_receiver_is_known_by_where_it_is_and_not_by_what_is_secret() -> None:
    def receiver(url: str) -> str:
        return UrlTarget(Secret(url), timeout_s=5).receiver

    url = "https://me:password@chat.example.com/hook?key=1"
    known = receiver(url)
    assert known == receiver(url)
    assert known not in {receiver(f"{url}2"), receiver(url.replace("me:", "you:"))}
    assert not [part for part in ("password", "hook", "chat") if part in known]


def test_another_program_or_argument_is_another_receiver() -> None:
    def receiver(*command: str) -> str:
        return CommandTarget(command, {}, timeout_s=5).receiver

    assert receiver("page", "a") == receiver("page", "a")
    assert len({receiver("page", "a"), receiver("page", "b"), receiver("page"), receiver("page a")}) == 4


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Delivered()),
        (204, Delivered()),
        (302, Failed("answered 302", is_refused=True)),
        (400, Failed("answered 400", is_refused=True)),
        (404, Failed("answered 404", is_refused=True)),
        (408, Failed("answered 408")),
        (429, Failed("answered 429")),
        (500, Failed("answered 500")),
        (503, Failed("answered 503")),
    ],
)
async def test_only_2xx_says_that_it_was_taken(
    receiver: Upstream, status: int, expected: Delivered | Failed
) -> None:
    receiver.answers(status, b"")
    target = UrlTarget(Secret(receiver.url), timeout_s=5)

    assert await target.deliver(MESSAGE) == expected
    await target.aclose()


async def test_no_answer_a_broken_one_and_nobody_there_are_failures(receiver: Upstream) -> None:
    target = UrlTarget(Secret(receiver.url), timeout_s=0.2)
    receiver.gate.clear()
    assert await target.deliver(MESSAGE) == Failed("no answer within 0.2 s")
    receiver.gate.set()
    receiver.answer = None
    assert isinstance(await target.deliver(MESSAGE), Failed)
    nobody = UrlTarget(Secret("http://127.0.0.1:1/very-secret"), timeout_s=5)
    failed = await nobody.deliver(MESSAGE)
    assert isinstance(failed, Failed)
    assert "very-secret" not in failed.reason
    await target.aclose()
    await nobody.aclose()


async def test_a_receiver_that_echoes_puts_no_address_into_the_log() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(65_536))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        target = UrlTarget(Secret(f"http://127.0.0.1:{port}/very-secret"), timeout_s=5)
        failed = await target.deliver(MESSAGE)
        await target.aclose()

    assert isinstance(failed, Failed)
    assert "very-secret" not in failed.reason


async def test_a_command_reads_the_message_and_ends_well(tmp_path: Path) -> None:
    note = tmp_path / "note"
    target = command(f"import sys; open({str(note)!r}, 'w').write(sys.stdin.read())")

    assert await target.deliver(MESSAGE) == Delivered()
    assert json.loads(note.read_text())["id"] == MESSAGE.id


async def test_a_command_that_reads_nothing_and_ends_well_has_taken_it() -> None:
    assert await command("pass").deliver(MESSAGE) == Delivered()


async def test_a_command_that_ends_badly_says_why() -> None:
    failed = await command("import sys; sys.exit('no\\nroute')").deliver(MESSAGE)

    assert failed == Failed(f"{sys.executable} ended with 1: no route")


async def test_what_a_command_left_behind_in_a_session_of_its_own_is_not_waited_for() -> None:
    script = (
        "import subprocess, sys\n"
        # What is left behind is meant to hang, for longer than anybody waits; it ends by itself.
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'], start_new_session=True)\n"
    )
    held = len(list(Path("/dev/fd").iterdir()))

    assert await command(script, 3.0).deliver(MESSAGE) == Delivered()
    assert len(list(Path("/dev/fd").iterdir())) <= held


async def test_of_a_command_that_says_too_much_the_beginning_is_kept() -> None:
    script = "import sys\nfor _ in range(400): sys.stderr.write('why ' * 10_000)\nsys.exit(3)"

    failed = await command(script).deliver(MESSAGE)

    assert isinstance(failed, Failed)
    assert failed.reason.startswith(f"{sys.executable} ended with 3: why why")
    assert len(failed.reason) < 500


async def test_a_command_that_is_not_there_is_a_failure() -> None:
    failed = await CommandTarget(("/no/such/program",), {}, timeout_s=5).deliver(MESSAGE)

    assert isinstance(failed, Failed)
    assert "cannot be run" in failed.reason


async def test_a_command_that_takes_too_long_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)\n"
    )

    failed = await command(script, 2.0).deliver(MESSAGE)

    assert failed == Failed(f"{sys.executable} did not end within 2 s")
    own, child = map(int, pids.read_text().split())
    await eventually(lambda: not is_alive(own) and not is_alive(child))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_command_gets_no_secret_of_ours() -> None:
    settings = Settings(alarms=AlarmSettings(url="ALARMS_URL", command=("page",)))
    environ = {
        "ALARMS_URL": "https://chat.example/x",
        "REDIS_URL": "redis://x:y@z",
        "ALARMS_URL_FILE_NOT": "1",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer x",
        "PATH": os.defpath,
    }

    url, page = alarm_targets(settings, environ)

    assert isinstance(url, UrlTarget)
    assert isinstance(page, CommandTarget)
    assert set(page._environ) == {"ALARMS_URL_FILE_NOT", "PATH"}


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "secret ALARMS_URL: set ALARMS_URL"),
        ({"ALARMS_URL": "a-token"}, "secret ALARMS_URL: expected an http:// or https:// address"),
    ],
)
def test_an_address_that_is_none_stops_the_start_without_being_shown(
    environ: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        alarm_targets(Settings(alarms=AlarmSettings(url="ALARMS_URL")), environ)

    assert said in str(error.value)
    assert "a-token" not in str(error.value)
