"""`bascule status --watch`: the status as it changes, until the interrupt."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.integration.cli.test_status import at_work
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.filled_store import FilledStore

ROOT = Path(__file__).parents[3]

Watch = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def watch(bascule: CommandLine, tmp_path: Path) -> Iterator[Watch]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, stdout: Any) -> "subprocess.Popen[bytes]":
        environment = {**os.environ, "REDIS_URL": bascule.redis.url, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
        started.append(
            spawn(
                [sys.executable, "-m", "cli", "status", "--watch", "--interval", "100ms", *arguments],
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                environment=environment,
                directory=tmp_path,
            )
        )
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.wait()


async def one_more(store: FilledStore) -> None:
    await store.admit("ETHUSDT")


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines so far."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def test_each_line_is_a_status_and_the_exit_code_is_that_of_the_last(
    bascule: CommandLine, watch: Watch, tmp_path: Path
) -> None:
    path = tmp_path / "watch.out"
    with path.open("wb") as out:
        process = watch("--json", stdout=out)
        eventually_sync(lambda: documents(path), 20)
        assert documents(path)[-1]["status"] == "degraded"
        bascule.fill(at_work)
        eventually_sync(lambda: documents(path)[-1]["status"] == "ok", 20)
        bascule.fill(one_more)
        eventually_sync(lambda: documents(path)[-1]["waiting"] == 2, 20)
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def test_a_redis_that_goes_and_comes_is_watched_on(
    bascule: CommandLine, watch: Watch, tmp_path: Path
) -> None:
    path = tmp_path / "watch.out"
    with path.open("wb") as out:
        process = watch("--json", stdout=out)
        eventually_sync(lambda: documents(path), 20)
        bascule.redis.kill()
        eventually_sync(lambda: documents(path)[-1]["lanes"] is None, 20)
        bascule.redis.start()
        eventually_sync(lambda: documents(path)[-1]["lanes"] is not None, 20)
        process.send_signal(signal.SIGINT)
    assert process.wait(20) == 3, "no worker is alive"


def test_on_a_terminal_it_stays_in_place(bascule: CommandLine, watch: Watch) -> None:
    bascule.fill(at_work)
    ours, its = pty.openpty()
    try:
        process = watch(stdout=its)
        os.close(its)
        shown = b""
        while shown.count(b"every 0.1 s, Ctrl-C ends it") < 3:
            shown += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        os.close(ours)
    assert shown.count(b"\x1b[H") >= 3
    assert b"1 held" in shown


def test_an_interval_without_watching_is_a_mistake(bascule: CommandLine) -> None:
    assert bascule("status", "--interval", "2s").code == 2
    assert bascule("status", "--watch", "--interval", "50ms").code == 2


def test_the_status_tells_dead_letters_by_reason_tokens_and_resting_orders(bascule: CommandLine) -> None:
    async def refused(store: FilledStore) -> None:
        await at_work(store)
        await store.client.xadd(store.keys.dead, {"reason": "risk"})
        await store.client.xadd(store.keys.dead, {"reason": "risk"})
        await store.client.xadd(store.keys.dead, {"reason": "too_old"})

    bascule.fill(refused)
    document = bascule("status", "--json").json
    assert (document["dead_letters"], document["dead_letters_by_reason"]) == (3, {"risk": 2, "too_old": 1})
    assert document["stream"]["pending"] == 1
    assert document["orders_resting"] == 0
    assert document["redis"]["keeps_promises"]
    assert "3 dead letters (2 risk, 1 too_old)" in bascule("status").out


def test_one_dead_letter_and_one_resting_order_are_told_as_one(bascule: CommandLine) -> None:
    async def one_each(store: FilledStore) -> None:
        await at_work(store)
        await store.client.xadd(store.keys.dead, {"reason": "risk"})
        await store.client.zadd(store.keys.following, {"an-order": 1})

    bascule.fill(one_each)
    told = bascule("status").out
    assert "1 dead letter (1 risk)" in told
    assert "1 order at its venue" in told
