"""What `bascule status` shows of the services' own metrics, and of alarms, beside a bridge that runs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.common.runtime.run_record import RunRecord, write_run_record
from libs.common.runtime.secrets import mask_url
from tests.e2e.commands import bascule
from tests.support.bridge import Bridge
from tests.support.children import spawn
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer
from tests.support.service import Service
from tests.support.tree import ROOT

pytestmark = pytest.mark.asyncio


@pytest.fixture
def bridge(bridge_factory: Callable[..., Bridge], redis_server: RedisServer) -> Bridge:
    """A bridge whose launcher is this process; `trend` is silent soon after it was heard."""
    bridge = bridge_factory(
        redis_server,
        workers=2,
        config={
            "watchdog": {
                "skew": "0s",
                "silence": {"learn_for": "1s", "least": "1s", "strategies": {"trend": "1s"}},
            }
        },
    )
    var = bridge.directory / "var"
    var.mkdir()
    record = RunRecord(
        redis_url=mask_url(bridge.redis_url),
        ingress_url=bridge.ingresses[0].url,
        config=str(bridge.ingresses[0].config_path),
        pid=os.getpid(),
        ops={name: one.ops_port for name, one in named(bridge).items()},
    )
    write_run_record(var, record)
    return bridge


def named(bridge: Bridge) -> dict[str, Service]:
    names = ("ingress", "worker-1", "worker-2", "reaper")
    return dict(zip(names, bridge.services, strict=True))


async def post(bridge: Bridge, symbol: str = "BTCUSDT", **fields: Any) -> int:
    answer = await bridge.post({**bridge.alert(symbol, bascule=1, strategy="trend"), **fields})
    return answer.status


async def status(bridge: Bridge) -> dict[str, Any]:
    document: dict[str, Any] = (await bascule(bridge, "status", "--json")).data
    return document


async def test_the_figures_are_those_of_the_services_added_up(bridge: Bridge) -> None:
    symbols = [f"S{number}USDT" for number in range(6)]
    for symbol in symbols:
        assert await post(bridge, symbol) == 200
    twice = bridge.alert()
    for _ in range(2):
        assert (await bridge.post(twice)).status == 200
    assert await post(bridge, secret="wrong") == 401
    await eventually(
        lambda: sum(one.metric("bascule_orders_total", outcome="filled") for one in bridge.workers) == 7
    )

    figures = (await status(bridge))["figures"]

    assert {one["process"]: one["problem"] for one in figures["services"]} == dict.fromkeys(named(bridge))
    assert figures["posts"]["200"] == {"admitted": 7, "duplicate": 1}
    assert (figures["duplicates"], figures["credential_failures"], figures["signature_failures"]) == (1, 1, 0)
    assert figures["orders"]["filled"] == 7
    assert (figures["reclaims"], figures["leases_lost"], figures["rate_limit_waits"]) == (0, 0, 0)
    assert figures["spans_dropped"] is None, "it is not traced"
    for name, count in {"ingress": 9, "queue_wait": 7, "broker_call": 7, "alert_to_sent": 7}.items():
        latency = figures["latencies"][name]
        assert latency["count"] == count, name
        assert 0 < latency["p50_ms"] <= latency["p99_ms"] <= latency["largest_bound_ms"]

    shown = (await bascule(bridge, "status")).stdout
    assert "posts     7 admitted, 1 duplicate, 1 unauthorized (401)\n" in shown
    assert "orders    7 filled\n" in shown
    assert "alert to sent" in shown


async def test_a_service_that_does_not_answer_is_named_and_the_others_are_counted(bridge: Bridge) -> None:
    assert await post(bridge) == 200
    bridge.workers[1].stop()
    try:
        document = await status(bridge)
    finally:
        bridge.workers[1].cont()

    problems = {one["process"]: one["problem"] for one in document["figures"]["services"]}
    assert problems.pop("worker-2").startswith("does not answer: ")
    assert set(problems.values()) == {None}
    assert document["figures"]["posts"]["200"]["admitted"] == 1
    assert document["figures"]["orders"] is not None


async def test_an_alarm_that_is_raised_is_shown_and_is_no_ailment(bridge: Bridge) -> None:
    assert await post(bridge) == 200
    raised = {"kind": "silence"}
    await eventually(lambda: bridge.reapers[0].metric("bascule_alarms_raised", **raised) == 1, 20)

    outcome = await bascule(bridge, "status", "--json")

    [alarm] = outcome.data["alarms"]
    assert (alarm["kind"], alarm["subject"]) == ("silence", "trend")
    assert (outcome.code, outcome.data["status"]) == (0, "ok")
    assert "alarm     silence of trend: not heard for " in (await bascule(bridge, "status")).stdout, (
        bridge.reapers[0].log_tail()
    )
    assert bridge.reapers[0].metric("bascule_alarms_raised", kind="refusals") == 0


async def test_watched_counts_are_shown_by_the_second_too(bridge: Bridge, tmp_path: Path) -> None:
    with watched(bridge, tmp_path / "watch.out") as figures:
        await eventually(lambda: len(figures()) >= 2, 20)
        assert figures()[0]["rates"] is None
        assert await post(bridge) == 200

        def is_seen() -> bool:
            return any(
                one["rates"] is not None
                and one["rates"]["posts"]["200"]["admitted"] > 0
                and one["rates"]["latencies"]["ingress"]["p99_ms"] > 0
                for one in figures()
            )

        await eventually(is_seen, 20)
        bridge.reapers[0].kill()
        await eventually(lambda: figures()[-1]["reclaims"] is None, 20)
        assert figures()[-1]["posts"]["200"]["admitted"] == 1


@contextmanager
def watched(bridge: Bridge, path: Path) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Watch the status, and give a function that returns the figures of each look so far."""

    def figures() -> list[dict[str, Any]]:
        lines = path.read_text().splitlines(keepends=True)
        return [json.loads(line)["figures"] for line in lines if line.endswith("\n")]

    with path.open("wb") as out:
        process = spawn(
            [sys.executable, "-m", "cli", "status", "--watch", "--interval", "100ms", "--json"],
            stdout=out,
            stderr=subprocess.DEVNULL,
            environment={
                **os.environ,
                **bridge.environment,
                "PYTHONPATH": str(ROOT),
                "BASCULE_CONFIG": str(bridge.ingresses[0].config_path),
            },
            directory=bridge.directory,
        )
        try:
            yield figures
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
