"""A Redis that runs full, from the share at which alerts are refused to its very limit."""

import asyncio

import pytest

from tests.e2e.faults import wait_orders
from tests.e2e.ledger import (
    accepted_ids,
    all_accepted,
    assert_clean,
    assert_executed_once,
    assert_nobody_reclaimed,
    assert_whole_run,
)
from tests.e2e.sender import Sent, send_until_taken
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.fullness import fill, use_memory

CONFIG = {"webhooks": {"default": {"max_age": "600s"}}}
ALERTS = 200


async def test_while_the_door_is_closed_for_memory_workers_end_what_is_queued_and_dead_letter_what_must(
    private_redis, venue, bridge_factory
):
    risk = {"accounts": {ACCOUNT: {"risk": {"allowed_symbols": ["S*"]}}}}
    bridge = bridge_factory(private_redis, venue=venue, workers=0, config={**CONFIG, **risk})
    accepted = all_accepted(
        await bridge.send_many([bridge.alert(f"S{number % 20}") for number in range(ALERTS)])
    )
    [refused_id] = accepted_ids([await bridge.post(bridge.alert("REFUSED"))])
    await fill(bridge, 0.85)
    assert (await bridge.post(bridge.alert())).status == 503

    bridge.add_worker()
    bridge.add_worker()
    ended = await bridge.wait_ended(ALERTS + 1)

    assert (await bridge.post(bridge.alert())).status == 503
    assert ended == {"EXECUTED": ALERTS, "REJECTED": 1}
    assert [letter["alert"] for letter in bridge.dead_letters()] == [refused_id]
    assert_executed_once(bridge, venue, accepted)
    assert_nobody_reclaimed(bridge)
    await assert_clean(bridge)
    use_memory(bridge.client, 0.5)
    assert (await bridge.post(bridge.alert())).status == 200


async def test_at_the_very_limit_nothing_is_lost_or_sent_twice_and_all_goes_on_when_it_is_raised(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, workers=2, config=CONFIG)
    pids = [service.pid for service in bridge.services]
    venue.control(delay_ms=50)
    alerts = [bridge.alert(f"S{number % 40}") for number in range(1_000)]
    sent: list[Sent] = []

    sending = asyncio.create_task(send_until_taken(bridge, alerts, 40, rate_per_s=250, sent=sent))
    for _ in range(3):
        await wait_orders(venue, venue.stats()["executed"] + 100)
        await fill(bridge, 2)
        answers = [await bridge.post(bridge.alert("FULL")) for _ in range(3)]
        assert {answer.status for answer in answers} == {503}
        assert {answer.body["error"]["code"] for answer in answers} == {"memory_full"}
        # The workers go on past it: all that is queued ends.
        await eventually(lambda: bridge.client.hlen("bascule:{s0}:lanes") == 0, 30)
        use_memory(bridge.client, 0)
    await sending
    await bridge.wait_ended(len(alerts))

    refused = [answer for one in sent for answer in one.answers if answer.status != 200]
    assert {answer.status for answer in refused} == {503}
    assert [service.pid for service in bridge.services] == pids
    assert_nobody_reclaimed(bridge)
    await assert_whole_run(bridge, venue, [one.alert_id for one in sent])


async def test_workers_that_start_at_the_very_limit_end_what_is_queued(private_redis, venue, bridge_factory):
    bridge = bridge_factory(private_redis, venue=venue, workers=0, config=CONFIG)
    accepted = all_accepted([await bridge.post(bridge.alert(f"S{number}")) for number in range(10)])
    use_memory(bridge.client, 2)

    bridge.add_worker()

    assert await bridge.wait_ended(len(accepted)) == {"EXECUTED": len(accepted)}
    assert_executed_once(bridge, venue, accepted)


@pytest.mark.parametrize("name", ["ingress", "worker", "reaper"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maxmemory-policy": "allkeys-lru"}, ["maxmemory-policy is allkeys-lru", "set it to noeviction"]),
        ({"appendfsync": "everysec"}, ["once a second", "set appendonly yes and appendfsync always"]),
        ({"appendonly": "no"}, ["no append-only file", "set appendonly yes and appendfsync always"]),
        (
            {"appendonly": "no", "maxmemory-policy": "volatile-ttl"},
            ["maxmemory-policy is volatile-ttl", "no append-only file"],
        ),
    ],
    ids=["evicts", "once a second", "no file", "both"],
)
async def test_no_service_starts_on_a_redis_that_keeps_too_little(
    private_redis, bridge_factory, name, options, words
):
    with private_redis.client() as client:
        for option, value in options.items():
            client.config_set(option, value)
    bridge = bridge_factory(private_redis, broker="log", is_started=False)
    [service] = [one for one in bridge.services if one.name == name]

    service.start()

    await eventually(lambda: service.exit_code is not None, 20)
    assert service.exit_code == 1
    [line] = service.errors().splitlines()
    assert line.startswith(f"{name}: ")
    for word in words:
        assert word in line


async def test_a_redis_that_comes_back_keeping_too_little_is_refused_until_it_keeps_enough(
    private_redis, venue, bridge_factory
):
    bridge = bridge_factory(private_redis, venue=venue, config=CONFIG)
    [ingress] = bridge.ingresses
    accepted = all_accepted([await bridge.post(bridge.alert())])
    private_redis.kill()
    private_redis.options["maxmemory-policy"] = "allkeys-lru"
    private_redis.start()

    await eventually(lambda: any(one.get("event") == "door_closed" for one in ingress.log()), 15)
    [closed] = [one for one in ingress.log() if one.get("event") == "door_closed"]
    assert "maxmemory-policy is allkeys-lru" in closed["reason"]
    assert (await bridge.post(bridge.alert())).status == 503

    private_redis.kill()
    private_redis.options["maxmemory-policy"] = "noeviction"
    private_redis.start()

    async def is_taken():
        answer = await bridge.post(bridge.alert())
        accepted.extend(accepted_ids([answer]))
        return answer.status == 200

    await eventually(is_taken, 15, 0.1)
    await bridge.wait_ended(len(accepted))
    states = bridge.instruction_states()
    assert {states[f"{alert}:{ACCOUNT}"] for alert in accepted} == {"EXECUTED"}
