"""The benchmarks with tiny counts: that they still run, find what they look for, and leave nothing behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import burst, figures, ingress, join, latency, simultaneous, takeover, worker
from benchmarks.cores import Cores, share_out
from benchmarks.limits import raw_in, raw_out
from benchmarks.scene import STRATEGIES, Scene, scene
from benchmarks.servers import bare_server, ingress_server, make_webhooks
from benchmarks.sink import Sink
from tests.e2e.faults import SHORT_LEASE
from tests.support import http_client
from tests.support.children import spawn
from tests.support.eventually import eventually_sync
from tests.support.redis_server import RedisServer
from tests.support.tree import ROOT

pytestmark = [
    pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="benchmarks need two cores"),
    # Each starts a whole bridge and works off what it is given.
    pytest.mark.timeout(180),
]


@pytest.fixture
def cores() -> Cores:
    return share_out()


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DIRECTORY", tmp_path)
    monkeypatch.setattr("benchmarks.private_redis.DIRECTORY", tmp_path)


@pytest.fixture
def stage(_files: None) -> Iterator[Scene]:
    with scene(workers=1, config=STRATEGIES) as running:
        yield running


def test_every_alert_of_a_pace_a_burst_and_an_instant_becomes_one_order(stage: Scene) -> None:
    paced = latency.run_at(stage, 100, 0.5)
    together = burst.run_once(stage, 50, seed=1)
    at_once = simultaneous.run_once(stage, simultaneous.ALERTS, answer_ms=5)
    in_lanes = simultaneous.run_once(stage, simultaneous.SYMBOLS, answer_ms=5)

    assert paced.received_to_order.count == 50
    assert 0 < paced.due_to_order.p50 <= paced.due_to_order.highest
    assert (together.lost, together.inverted) == (0, 0)
    assert [sum(counts) for counts in together.timeline.values()] == [50, 50, 50]
    assert at_once.first_order_ms < at_once.last_order_ms
    # Each waits for the answers to those before it.
    assert in_lanes.last_order_ms > 6 * 5


def test_a_backlog_is_worked_off_and_measured(
    redis_server: RedisServer, cores: Cores, tmp_path: Path
) -> None:
    run = worker.run_backlog(redis_server, tmp_path, 5, 200, cores=cores)
    part = worker.run_backlog(redis_server, tmp_path, 5, 100, queued=300)

    assert run.instructions == 200
    assert run.ended_bytes is not None
    assert run.ended_bytes > run.queued_bytes > 0
    assert part.ended_bytes is None


def test_the_limits_add_and_work_off_what_they_are_told(redis_server: RedisServer, cores: Cores) -> None:
    added = raw_in(redis_server, cores.server, batch=10, seconds=0.1)
    worked_off = raw_out(redis_server, cores.server, batch=7, count=100)

    assert added.count % 10 == 0
    assert worked_off.count == 100
    with redis_server.client() as client:
        assert client.dbsize() == 0


def test_a_turn_finds_every_answered_alert_on_disk(
    redis_server: RedisServer, cores: Cores, tmp_path: Path
) -> None:
    with (
        bare_server("asgi", "benchmarks.bare_asgi", cores) as bare,
        ingress_server("one", cores, redis_server, tmp_path, {}) as (target, service),
    ):
        answer = asyncio.run(http_client.post(f"http://127.0.0.1:{bare.port}/webhook", {}))
        path, _ = make_webhooks(2, redis_server, service)
        run = ingress.run_turn(target, "1", redis_server, cores, 1)

    assert path.startswith("/hooks/")
    assert (answer.status, answer.body["ok"]) == (200, True)
    assert run.load.requests > 0
    assert run.load.failures == 0


def test_the_sink_counts_by_sender() -> None:
    with Sink() as sink:
        for sender, size in (("a", 3), ("b", 4), ("a", 5)):
            command = ["curl", "-sf", "--data-binary", "x" * size, f"{sink.address_for(sender)}/v1/traces"]
            subprocess.run(command, check=True)

        assert sink.bytes_by_sender() == {"a": 8, "b": 4}


RUNNER = """
import pathlib, sys
from benchmarks import figures
figures.DIRECTORY = pathlib.Path(sys.argv.pop(1))
from benchmarks.__main__ import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_benchmark_and_removes_what_it_wrote(number: signal.Signals, tmp_path: Path) -> None:
    process = spawn([sys.executable, "-c", RUNNER, str(tmp_path), "burst", "--patience", "0"], directory=ROOT)
    eventually_sync(lambda: [*tmp_path.glob("redis-*/appendonlydir")], 20, 0.02, "it has started a Redis")

    process.send_signal(number)

    assert process.wait(timeout=20) == 1
    assert not [*tmp_path.iterdir()]


@pytest.mark.slow
def test_a_killed_worker_s_lanes_are_seen_to_trade_again() -> None:
    stood = asyncio.run(
        takeover.stand_stills_ms(2, workers=2, calm_s=(0.0, 0.5), longest_ms=3_000, config=SHORT_LEASE)
    )

    assert len(stood) == 2
    assert all(ms > 0 for kill in stood for ms in kill)


@pytest.mark.slow
def test_a_joining_worker_s_share_is_counted() -> None:
    run = asyncio.run(join.run_once(lanes=20, window_ms=1_000, answer_ms=200))

    assert run.orders > 0
    assert 0 < run.percent < 100
