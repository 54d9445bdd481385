"""`bascule tail`: what happens, as it happens."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.support.children import spawn
from tests.support.eventually import eventually, eventually_sync
from tests.support.filled_store import FilledStore

ROOT = Path(__file__).parents[3]


class Following:
    """A `bascule tail` of its own."""

    def __init__(self, directory: Path, redis_url: str, *arguments: str) -> None:
        self._out, self._err = directory / "tail.out", directory / "tail.err"
        environment = {**os.environ, "REDIS_URL": redis_url, "PYTHONPATH": str(ROOT)}
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = spawn(
                [sys.executable, "-m", "cli", "tail", *arguments],
                stdout=out,
                stderr=err,
                environment=environment,
                directory=directory,
            )
        eventually_sync(lambda: "following" in self.said(), 20, message="it follows")

    def lines(self) -> list[str]:
        return self._out.read_text().splitlines()

    def said(self) -> str:
        return self._err.read_text()

    def wait_lines(self, count: int) -> list[str]:
        return eventually_sync(lambda: self.lines() if len(self.lines()) >= count else [], 20)


Follow = Callable[..., Following]


@pytest.fixture
def follow(bascule: CommandLine, tmp_path: Path) -> Iterator[Follow]:
    started: list[Following] = []

    def start(*arguments: str) -> Following:
        started.append(Following(tmp_path, bascule.redis.url, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


async def next_millisecond(store: FilledStore) -> None:
    """Return when Redis' clock has moved on: within a millisecond nothing tells which of two streams came first."""

    async def now_ms() -> int:
        seconds, micros = await store.client.time()
        return int(seconds) * 1_000 + int(micros) // 1_000

    before = await now_ms()

    async def has_moved_on() -> bool:
        return await now_ms() > before

    await eventually(has_moved_on, interval_s=0.001)


async def two_alerts(store: FilledStore) -> list[str]:
    first = await store.admit("AAA", sender_id="same", accounts=("paper",))
    await store.execute()
    await store.admit("AAA", sender_id="same")
    await next_millisecond(store)
    second = await store.admit("BBB", accounts=("desk",), webhook="other", strategy="trend")
    await store.refuse("invalid_action", 422, field="action", detail='"action" is "by"', webhook="other")
    return [first, second]


async def one_refusal(store: FilledStore) -> str:
    return await store.refuse("invalid_action", 422, field="action")


def documents(bascule: CommandLine, count: int, *options: str) -> list[dict[str, Any]]:
    """Return what a tail shows of the past, as JSON lines."""
    outcome = bascule("tail", "--json", "--since", "1h", "--count", str(count), *options)
    assert outcome.code == 0
    return [json.loads(line) for line in outcome.out.splitlines()]


def words(shown: list[dict[str, Any]]) -> list[str]:
    return [one["outcome"] if one["kind"] == "post" else one["event"] for one in shown]


def test_posts_and_state_changes_are_shown_in_order(bascule: CommandLine) -> None:
    first, second = bascule.fill(two_alerts)

    shown = documents(bascule, 8)

    assert words(shown) == [
        "admitted",
        "QUEUED",
        "SENDING",
        "EXECUTED",
        "duplicate",
        "admitted",
        "QUEUED",
        "refused",
    ]
    assert [one["alert_id"] for one in shown] == [first] * 5 + [second] * 2 + [None]
    sending = shown[2]
    assert (sending["account"], sending["webhook"], sending["symbol"], sending["attempt"]) == (
        "paper",
        "default",
        "AAA",
        1,
    )
    assert sending["client_order_id"]
    assert (shown[7]["code"], shown[7]["field"]) == ("invalid_action", "action")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--webhook", "Other"), ["admitted", "QUEUED", "refused"]),
        (("--account", "desk"), ["QUEUED"]),
        (("--strategy", "Trend"), ["admitted", "QUEUED"]),
        (("--account", "paper"), ["QUEUED", "SENDING", "EXECUTED"]),
        (("--symbol", "aaa"), ["admitted", "QUEUED", "SENDING", "EXECUTED", "duplicate"]),
        (("--symbol", "BBB", "--webhook", "other"), ["admitted", "QUEUED"]),
    ],
)
def test_a_tail_is_filtered(bascule: CommandLine, options: tuple[str, ...], expected: list[str]) -> None:
    bascule.fill(two_alerts)

    assert words(documents(bascule, len(expected), *options)) == expected


def test_a_webhook_that_nothing_knows_is_refused_at_once_not_waited_for(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "bridge.yaml"
    config.write_text("webhooks: {default: {secret: S, accounts: [p]}}\naccounts: {p: {broker: paper}}\n")
    monkeypatch.setenv("BASCULE_CONFIG", str(config))
    outcome = bascule("tail", "--webhook", "nope")
    assert outcome.code == 1
    assert "no webhook nope: there are default" in outcome.err


def test_people_see_a_line_for_each(bascule: CommandLine) -> None:
    first, second = bascule.fill(two_alerts)

    lines = bascule("tail", "--since", "1h", "--count", "8").out.splitlines()

    assert len(lines) == 8
    assert "ADMITTED" in lines[0]
    assert f"buy 0.10 AAA, alert {first}" in lines[0]
    assert "paper AAA" in lines[2]
    assert "attempt 1" in lines[2]
    assert '422 invalid_action ("action")' in lines[7]
    assert any(f"BBB, strategy trend, alert {second}" in line for line in lines)


def test_what_happens_is_shown_as_it_happens_and_the_interrupt_is_the_good_end(
    bascule: CommandLine, follow: Follow
) -> None:
    bascule.fill(one_refusal)
    tail = follow("--json")

    event = bascule.fill(one_refusal)

    [line] = tail.wait_lines(1)
    assert json.loads(line)["event_id"] == event
    tail.process.send_signal(signal.SIGINT)
    assert tail.process.wait(20) == 0
    assert tail.said() == "following; Ctrl-C ends it\n"


def test_a_restart_of_redis_is_noted_once_and_loses_nothing(bascule: CommandLine, follow: Follow) -> None:
    tail = follow("--json", "--count", "2")
    first = bascule.fill(one_refusal)
    tail.wait_lines(1)

    bascule.redis.kill()
    eventually_sync(lambda: "waiting for it" in tail.said())
    bascule.redis.start()
    second = bascule.fill(one_refusal)

    assert tail.process.wait(20) == 0
    assert [json.loads(line)["event_id"] for line in tail.lines()] == [first, second]
    assert tail.said().count("no answer from Redis") == 1
    assert tail.said().count("Redis answers again") == 1


def test_a_reader_that_has_enough_ends_it_well(bascule: CommandLine) -> None:
    bascule.fill(two_alerts)
    arguments = [sys.executable, "-m", "cli", "tail", "--since", "1h"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        bascule.fill(two_alerts_more)

        assert process.wait(20) == 0
        assert process.stderr.read() == "following; Ctrl-C ends it\n"


async def two_alerts_more(store: FilledStore) -> None:
    await store.admit("CCC")
    await store.admit("DDD")


def test_where_redis_is_away_at_the_beginning_it_is_a_failure(
    bascule: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

    outcome = bascule("tail")

    assert (outcome.code, outcome.out) == (1, "")
    assert "no answer from Redis" in outcome.err
