"""`bascule status`."""

import re
from pathlib import Path

import pytest

from libs.common.domain.reasons import Reason
from libs.common.store.keys import Keys
from tests.integration.cli.conftest import CommandLine, write_config
from tests.support.filled_store import FilledStore
from tests.support.fullness import use_memory
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer


async def at_work(store: FilledStore) -> None:
    """A worker holds a lane, and the reaper has just gone round."""
    await store.admit()
    await store.take()
    await store.upkeep.promote()
    await store.upkeep.reclaim(lease_ms=6_000)


def test_status_of_a_bridge_at_work_is_ok(bascule: CommandLine) -> None:
    bascule.fill(at_work)

    outcome = bascule("status", "--json")

    document = outcome.json
    assert (outcome.code, document["status"], document["reasons"]) == (0, "ok", [])
    assert document["lanes"] == {"ready": 0, "held": 1, "parked": 0, "parked_for": {}}
    assert document["waiting"] == 1
    assert [worker["pending"] for worker in document["workers"]] == [1]
    assert document["redis"]["durability"] == "always"
    assert document["ingress"]["is_healthy"] is None


def test_people_see_the_status(bascule: CommandLine) -> None:
    bascule.fill(at_work)

    outcome = bascule("status")

    assert outcome.code == 0
    for words in ("0 ready, 1 held, 0 parked", "worker-a", "durability always", "last pass"):
        assert words in outcome.out


def test_status_tells_that_redis_may_lack_its_newest_writes(bascule: CommandLine) -> None:
    bascule.fill(at_work)
    with bascule.redis.client() as client:
        seconds, _ = client.time()
        marks = {"suspect_until": (seconds + 3_600) * 1_000, "suspect_window": 60_000}
        client.hset(Keys().meta, mapping=marks)

    outcome = bascule("status", "--json")

    assert outcome.code == 3
    [reason] = outcome.json["reasons"]
    assert "may lack its newest writes" in reason


def test_status_without_worker_and_reaper_is_degraded(bascule: CommandLine) -> None:
    outcome = bascule("status", "--json")

    assert outcome.code == 3
    assert outcome.json["status"] == "degraded"
    assert len(outcome.json["reasons"]) == 2


def test_status_with_an_ingress_that_is_away_is_degraded(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bascule.fill(at_work)
    write_config(
        tmp_path,
        monkeypatch,
        f"""
ingress: {{port: {free_port()}}}
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [paper]}}}}
accounts: {{paper: {{broker: paper}}}}
""",
    )

    outcome = bascule("status", "--json")

    assert outcome.code == 3
    [reason] = outcome.json["reasons"]
    assert "the ingress refuses alerts" in reason


def test_status_with_redis_away_is_degraded(bascule: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

    outcome = bascule("status", "--json")

    assert outcome.code == 3
    assert "no answer from Redis" in outcome.json["reasons"][0]
    assert "no answer from Redis" in bascule("status").out


def test_without_redis_services_of_a_configuration_are_not_shown_as_those_of_that_redis(
    bascule: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    write_config(
        tmp_path,
        monkeypatch,
        f"""
ingress: {{port: {free_port()}, ops_port: {port}}}
webhooks: {{default: {{secret: WEBHOOK_SECRET, accounts: [paper]}}}}
accounts: {{paper: {{broker: paper}}}}
""",
    )
    monkeypatch.setenv("REDIS_URL", "unix:///nowhere/redis.sock")

    lines = bascule("status").out.splitlines()

    assert lines[0] == "degraded"
    assert "no answer from Redis" in lines[1]
    assert "the ingress refuses alerts" in lines[2]
    assert len(lines) == 3
    assert bascule("status", "--json").json["figures"] is None


def test_a_status_names_the_longest_lane_and_what_is_full(
    bascule: CommandLine, config: Path, redis_server: RedisServer
) -> None:
    config.write_text(f"{config.read_text()}limits: {{backlog: 1}}\n")
    bascule.fill(at_work)
    with redis_server.client() as client:
        use_memory(client, 0.9)

    document = bascule("status", "--json").json

    assert document["longest_lane"]["waiting"] == 1
    assert any("(limits.memory)" in reason for reason in document["reasons"])
    assert any("(limits.backlog)" in reason for reason in document["reasons"])


def test_people_see_what_parked_lanes_wait_for_and_for_how_long_a_breaker_is_half_open(
    bascule: CommandLine,
) -> None:
    async def parked(store: FilledStore) -> None:
        await store.admit("PARKED")
        held, _ = await store.take()
        await store.park(held)
        await store.open_breaker("paper:PARKED", reset_ms=0)

    bascule.fill(parked)

    outcome = bascule("status")

    assert "1 parked (1 rate_limit)" in outcome.out
    assert "paper:PARKED half_open for " in outcome.out
    assert "breaker" not in " ".join(bascule("status", "--json").json["reasons"])


def test_a_venue_that_asked_for_a_pause_is_told_in_words(bascule: CommandLine) -> None:
    async def paused(store: FilledStore) -> None:
        await store.pause("paper", 60_000)

    bascule.fill(paused)

    [line] = [one for one in bascule("status").out.splitlines() if one.startswith("breaker")]

    assert re.fullmatch("breaker   paper paused, as its venue asked, for (59.*s|1 min) more", line)


@pytest.mark.parametrize(("lanes", "words"), [(1, "1 lane waits"), (2, "2 lanes wait")])
def test_lanes_that_wait_for_an_order_that_cannot_be_told_are_a_reason(
    bascule: CommandLine, lanes: int, words: str
) -> None:
    async def held(store: FilledStore) -> None:
        for number in range(lanes):
            await store.admit(f"HELD{number}")
            taken, _ = await store.take()
            await store.park(taken, reason=Reason.RESOLVING)

    bascule.fill(held)

    assert f"{words} for an order that cannot be told" in " ".join(
        bascule("status", "--json").json["reasons"]
    )
