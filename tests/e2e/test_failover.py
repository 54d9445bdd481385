"""A primary that dies, stands still or is replaced under load: with `redis.replicas` nothing acknowledged is lost.

The venue never deduplicates: what is sent twice trades twice.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import pytest

from cli.exit_codes import ExitCode
from tests.e2e.commands import bascule
from tests.e2e.ledger import assert_clean, assert_executed_once, assert_in_order, assert_no_failures, journal
from tests.e2e.sender import Sent, send_until_taken
from tests.e2e.test_shards import ACCOUNTS, assert_whole, on_cluster, wait_ended
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_sentinel import SERVICE, RedisSentinels
from tests.support.redis_server import Binary, RedisServer
from tests.support.venue import Venue

SYMBOLS: Final = 12

LACKING_BYTES: Final = 4_000
"""So much of the replication stream is some alerts."""

CONFIG: Final[dict[str, Any]] = {
    "redis": {"replicas": 1},
    "worker": {"lease": "2s"},
    "accounts": {ACCOUNT: {"request_expiry": "900ms"}},
    "webhooks": {"default": {"max_age": "600s"}},
}

BridgeFactory = Callable[..., Bridge]
Fault = Callable[[RedisSentinels], Awaitable[None]]


@pytest.fixture
def servers(redis_binary: Binary) -> Iterator[RedisSentinels]:
    with RedisSentinels(redis_binary) as servers:
        yield servers


@pytest.fixture
def unguarded(redis_binary: Binary) -> Iterator[RedisSentinels]:
    """Servers that write without replicas: what they take then a fail-over loses."""
    with RedisSentinels(redis_binary, options={"min-replicas-to-write": "0"}) as servers:
        yield servers


async def wait_taken(progress: Sequence[Sent], count: int) -> None:
    def is_taken() -> bool:
        return sum(bool(one.answers) and one.answers[-1].status == 200 for one in progress) >= count

    await eventually(is_taken, 60, message=f"{count} alerts are taken")


async def fall_behind(primary: RedisServer, replicas: Sequence[RedisServer]) -> None:
    """Have all replicas stand still, cut off, until the primary has taken what they lack, or refuses to without them."""
    for replica in replicas:
        replica.freeze()
    with primary.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        if int(client.config_get("min-replicas-to-write")["min-replicas-to-write"]):
            return
        offset = client.info("replication")["master_repl_offset"]

        def is_ahead() -> bool:
            return bool(client.info("replication")["master_repl_offset"] - offset > LACKING_BYTES)

        await eventually(is_ahead, 10, message="the primary is ahead of its replicas")


async def kill(servers: RedisSentinels) -> None:
    """Have the primary die with what its replicas lack, and come back as what it was once another has taken over."""
    before = servers.primary
    replicas = [one for one in servers.servers if one is not before]
    await fall_behind(before, replicas)
    before.kill()
    for replica in replicas:
        replica.thaw()
    await asyncio.to_thread(servers.wait_replaced, before)
    before.options.pop("replicaof", None)
    before.start()


async def freeze(servers: RedisSentinels) -> None:
    """Have it stand still until another has taken over: it goes on with what it was sent meanwhile, as if still primary."""
    before = servers.primary
    replicas = [one for one in servers.servers if one is not before]
    await fall_behind(before, replicas)
    before.freeze()
    for replica in replicas:
        replica.thaw()
    await asyncio.to_thread(servers.wait_replaced, before)
    before.thaw()


async def replace(servers: RedisSentinels) -> None:
    """Have a Sentinel replace the primary, which takes calls until it is told so."""
    before = servers.primary
    servers.fail_over()
    await asyncio.to_thread(servers.wait_replaced, before)


async def assert_nothing_lost_nor_twice(
    bridge: Bridge, servers: RedisSentinels, venue: Venue, sent: Sequence[Sent]
) -> None:
    bridge.read_from(servers.primary)
    await bridge.wait_ended(len(sent), 60)
    ids = [one.alert_id for one in sent]
    assert_executed_once(bridge, venue, ids)
    assert_in_order(bridge, venue, ids)
    assert len(venue.ledger()) == len(sent)
    assert "suspect" in [event.reason for event in journal(bridge) if event.event == "INCARNATED"]
    await assert_clean(bridge)
    assert_no_failures(bridge)


@pytest.mark.parametrize(
    "fault",
    [freeze, pytest.param(kill, marks=pytest.mark.slow), pytest.param(replace, marks=pytest.mark.slow)],
)
async def test_a_fail_over_loses_nothing_acknowledged_and_nothing_trades_twice(
    unguarded: RedisSentinels, venue: Venue, bridge_factory: BridgeFactory, fault: Fault
):
    servers = unguarded
    bridge = bridge_factory(servers.url, server=servers.primary, venue=venue, workers=2, config=CONFIG)
    venue.control(delay_ms=20)
    alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(200)]
    progress: list[Sent] = []
    sending = asyncio.create_task(send_until_taken(bridge, alerts, SYMBOLS, rate_per_s=50, sent=progress))
    await wait_taken(progress, 60)
    await fault(servers)
    sent = await sending
    await assert_nothing_lost_nor_twice(bridge, servers, venue, sent)
    refusals = [answer for one in sent for answer in one.answers if answer.status != 200]
    assert {answer.status for answer in refusals} <= {503}
    assert all(answer.headers["retry-after"] for answer in refusals)
    # The command finds the same primary, and what it halts is as safe as what is admitted.
    for words in (("halt", "--mode", "pause", "--reason", "trial"), ("resume", "--reason", "over")):
        outcome = await bascule(bridge, *words)
        assert outcome.code == 0, outcome
    outcome = await bascule(bridge, "check")
    assert outcome.code == ExitCode.DEGRADED, outcome
    assert "replicas follow Redis, and redis.replicas is 1" in outcome.stdout
    assert "min-replicas-to-write is 0" in outcome.stdout


def priorities(servers: RedisSentinels, replica: RedisServer) -> set[str]:
    """Return what the Sentinels know of how readily a replica takes over."""
    found = set()
    for sentinel in servers.sentinels:
        with sentinel.client() as client:
            for one in client.sentinel_slaves(SERVICE):
                if one["port"] == replica.port:
                    found.add(str(one["slave-priority"]))
    return found


@pytest.mark.slow
async def test_a_replica_that_never_takes_over_does_not_stand_in_for_one_that_does(
    servers: RedisSentinels, venue: Venue, bridge_factory: BridgeFactory
):
    first, heir, backup = servers.servers
    with backup.client() as client:
        client.config_set("replica-priority", "0")
    await eventually(lambda: priorities(servers, backup) == {"0"}, 30, 0.2, "the Sentinels know")
    bridge = bridge_factory(servers.url, server=first, venue=venue, workers=0, config=CONFIG)
    # Their links are cut, and the backup alone comes back.
    heir.freeze()
    with first.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        await eventually(
            lambda: client.info("replication").get("slave0", {}).get("state") == "online", 5, 0.02
        )
    answer = await bridge.post(bridge.alert())
    first.kill()
    heir.thaw()
    await asyncio.to_thread(servers.wait_replaced, first)
    assert servers.primary is heir
    bridge.read_from(heir)
    assert (answer.status, len(bridge.instructions())) in {(200, 1), (503, 0)}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(3))
async def test_through_fail_overs_of_all_kinds_nothing_is_lost_and_nothing_trades_twice(
    servers: RedisSentinels, venue: Venue, bridge_factory: BridgeFactory, seed: int
):
    chance = random.Random(seed)
    faults = [kill, freeze, replace]
    chance.shuffle(faults)
    bridge = bridge_factory(servers.url, server=servers.primary, venue=venue, workers=2, config=CONFIG)
    venue.control(delay_ms=20)
    alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(2_700)]
    progress: list[Sent] = []
    sending = asyncio.create_task(send_until_taken(bridge, alerts, SYMBOLS, rate_per_s=30, sent=progress))
    for number, fault in enumerate(faults, start=1):
        await wait_taken(progress, 300 * number + chance.randrange(60))
        # Each finds a primary with replicas, as operators keep it.
        await asyncio.to_thread(servers.wait_whole)
        await fault(servers)
    await assert_nothing_lost_nor_twice(bridge, servers, venue, await sending)


@pytest.fixture
def cluster(redis_binary: Binary) -> Iterator[RedisCluster]:
    """Three primaries with a replica each."""
    with RedisCluster(redis_binary) as cluster:
        for shard in (0, 2, 3):
            cluster.add_replica(shard)
        yield cluster


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "fault",
    [
        "kill",
        pytest.param("freeze", marks=pytest.mark.slow),
        pytest.param("replace", marks=pytest.mark.slow),
    ],
)
async def test_in_a_cluster_a_fail_over_loses_nothing_acknowledged_and_nothing_trades_twice(
    cluster: RedisCluster, venue: Venue, bridge_factory: BridgeFactory, fault: str
):
    before, replica = cluster.node_of(2), cluster.nodes[4]
    bridge = on_cluster(bridge_factory, cluster, venue, workers=2, replicas=1)
    venue.control(delay_ms=20)
    alerts = [bridge.alert(symbol=f"S{number % SYMBOLS}") for number in range(300)]
    progress: list[Sent] = []
    sending = asyncio.create_task(send_until_taken(bridge, alerts, SYMBOLS, rate_per_s=30, sent=progress))
    await wait_taken(progress, 60)
    if fault == "replace":
        with replica.client() as client:
            client.execute_command("CLUSTER", "FAILOVER")
    else:
        await fall_behind(before, [replica])
        if fault == "kill":
            before.kill()
        else:
            before.freeze()
        replica.thaw()
    await eventually(lambda: cluster.node_of(2) is replica, 30, 0.1, "the replica has taken over")
    if fault == "kill":
        before.start()
    before.thaw()
    sent = await sending
    assert cluster.node_of(2) is replica
    await wait_ended(cluster, len(alerts) * len(ACCOUNTS))
    assert_whole(cluster, venue, sent, alerts)
    assert len(venue.ledger()) == len(alerts) * len(ACCOUNTS)
    assert_no_failures(bridge)
