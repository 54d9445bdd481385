"""`bascule` as a process, beside a bridge that runs: posting, waiting, and what becomes visible."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.filled_store import FilledStore, filled_store
from tests.support.redis_server import RedisServer
from tests.support.tree import ROOT

pytestmark = [pytest.mark.redis, pytest.mark.e2e]


def bascule(bridge: Bridge, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=bridge.directory,
        env={
            **os.environ,
            **bridge.environment,
            "PYTHONPATH": str(ROOT),
            "BASCULE_CONFIG": str(bridge.ingresses[0].config_path),
            **environment,
        },
    )


def data(outcome: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(outcome.stdout)


@pytest.fixture
def bridge(bridge_factory: Callable[..., Bridge], redis_server: RedisServer) -> Bridge:
    return bridge_factory(redis_server)


async def test_a_sample_alert_is_sent_executed_and_shown(bridge: Bridge) -> None:
    sent = bascule(bridge, "send", "--symbol", "ETHUSDT", "--price", "2000", "--wait", "--json")

    assert sent.returncode == 0, sent.stderr
    answer = data(sent)
    assert (answer["status"], answer["ok"], answer["duplicate"]) == (200, True, False)
    assert answer["alert"]["state"] == "EXECUTED"
    assert data(bascule(bridge, "alerts", answer["alert_id"], "--json"))["price"] == "2000"
    [order] = data(bascule(bridge, "orders", "--json"))
    assert (order["symbol"], order["state"]) == ("ETHUSDT", "FILLED")
    [position] = data(bascule(bridge, "positions", "--json"))
    assert (position["symbol"], position["quantity"]) == ("ETHUSDT", "1")

    status = bascule(bridge, "status", "--json")
    assert status.returncode == 0, status.stdout
    assert data(status)["ingress"]["is_healthy"] is True


async def test_the_same_id_twice_is_a_duplicate_and_a_refusal_is_exit_code_1(bridge: Bridge) -> None:
    first, second = data(bascule(bridge, "send", "--id", "one", "--count", "2", "--json"))
    assert (first["duplicate"], second["duplicate"]) == (False, True)
    assert first["alert_id"] == second["alert_id"]

    refused = bascule(bridge, "send", "--action", "hold")
    assert refused.returncode == 1
    assert "422 invalid_action" in refused.stdout

    wrong_secret = bascule(bridge, "send", "--json", WEBHOOK_SECRET="not-the-secret")
    assert (wrong_secret.returncode, data(wrong_secret)["status"]) == (1, 401)

    nobody = bascule(bridge, "send", "--url", "http://127.0.0.1:9")
    assert (nobody.returncode, nobody.stdout) == (1, "")
    assert "no answer from http://127.0.0.1:9/webhook" in nobody.stderr


async def test_status_says_when_the_workers_are_gone(bridge: Bridge) -> None:
    assert bascule(bridge, "send", "--wait").returncode == 0
    for worker in bridge.workers:
        worker.kill()

    async def is_degraded() -> bool:
        status = bascule(bridge, "status", "--json")
        return status.returncode == 3 and "no worker is alive" in data(status)["reasons"][0]

    await eventually(is_degraded, 15, 0.5)


async def fill(store: FilledStore, count: int) -> None:
    for number in range(count):
        await store.admit(f"S{number}")


@pytest.mark.parametrize("options", [(), ("--json",)])
async def test_a_reader_that_has_enough_is_no_error(
    redis_server: RedisServer, tmp_path: Path, options: Sequence[str]
) -> None:
    async with filled_store(redis_server.url) as store:
        await fill(store, 1_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "alerts", "--limit", "1000", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "REDIS_URL": redis_server.url},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()

    assert process.wait(timeout=30) in {0, 1}
    assert process.stderr.read() == b""
    process.stderr.close()
