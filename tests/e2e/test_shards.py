"""A bridge with four shards on a Redis Cluster of three nodes."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from libs.common.domain.ids import AccountName
from libs.common.policy.shards import shard_of
from libs.common.store.keys import Keys
from tests.e2e.commands import bascule
from tests.e2e.ledger import assert_no_failures
from tests.e2e.redis_users import ADMIN, USERS, GuardedBridge, GuardedRedis, make_users
from tests.e2e.sender import Sent, send_until_taken
from tests.support import http_client
from tests.support.bridge import Bridge, close_all
from tests.support.eventually import eventually
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import Binary, RedisServer
from tests.support.service import Service
from tests.support.stray_keys import assert_no_stray_keys
from tests.support.venue import Venue

SHARDS: Final = 4
ACCOUNTS: Final = ("desk", "main", "gamma", "beta")
"""One on each shard: 2, 0, 1 and 3."""
LONE: Final = "delta"
"""On shard 1 with a webhook of its own."""
TOKEN: Final = "a-token-of-thirty-two-characters"

BridgeFactory = Callable[..., Bridge]


@pytest.fixture
def cluster(redis_binary: Binary) -> Iterator[RedisCluster]:
    with RedisCluster(redis_binary) as cluster:
        yield cluster


@pytest.fixture
def bridges() -> Iterator[list[Bridge]]:
    """Takes bridges that a test makes itself, and kills them at the end."""
    made: list[Bridge] = []
    yield made
    close_all(made)


def on_cluster(
    make: BridgeFactory, cluster: RedisCluster, venue: Venue, *, replicas: int = 0, **options: Any
) -> Bridge:
    def account(name: str) -> dict[str, Any]:
        return {
            "broker": "http",
            "default_quantity": 1,
            "url": f"{venue.url}/{name}",
            "secret": "DESK_SECRET",
            "request_expiry": "500ms",
        }

    config = {
        "redis": {"shards": SHARDS, "replicas": replicas},
        "worker": {"lease": "1500ms"},
        "webhooks": {
            "default": {"accounts": list(ACCOUNTS), "max_age": "600s"},
            "lone": {
                "token": "LONE_TOKEN",
                "auth": ["url"],
                "accounts": [LONE],
                "rate": "off",
                "max_age": "600s",
            },
        },
        "accounts": {name: account(name) for name in (*ACCOUNTS, LONE)},
    }
    return make(cluster.url, config=config, environment={"LONE_TOKEN": TOKEN}, **options)


def records(cluster: RedisCluster, kind: str) -> dict[str, dict[str, str]]:
    """Return every record of a kind on all shards, by its name; fail where one name stands on two shards."""
    found: dict[str, dict[str, str]] = {}
    for shard in range(SHARDS):
        prefix = f"{Keys(shard).prefix}{kind}:"
        with cluster.client(shard) as client:
            for key in sorted(set(client.scan_iter(match=f"{prefix}*", count=2_000))):
                name = key.removeprefix(prefix)
                assert kind == "alert" or name not in found, f"{name} stands on two shards"
                found[name] = client.hgetall(key)
    return found


async def wait_ended(cluster: RedisCluster, count: int) -> dict[str, str]:
    """Wait until so many instructions have ended; return their states by `<alert id>:<account>`."""

    def have_ended() -> dict[str, str]:
        states = {name: record["state"] for name, record in records(cluster, "instruction").items()}
        is_over = {name for name, state in states.items() if state not in {"QUEUED", "ACTIVE"}}
        assert len(is_over) >= count, f"{len(is_over)} of {count} ended"
        return states

    return await eventually(have_ended, 60, 0.2, f"{count} instructions end")


def assert_whole(cluster: RedisCluster, venue: Venue, sent: list[Sent], alerts: list[dict[str, Any]]) -> None:
    """Fail unless each account traded each alert once, and each symbol in the order in which it was sent."""
    states = {name: record["state"] for name, record in records(cluster, "instruction").items()}
    wanted = {f"{one.alert_id}:{account}" for one in sent for account in ACCOUNTS}
    assert {name for name, state in states.items() if state == "EXECUTED"} == set(states) >= wanted
    traded: dict[tuple[str, str], list[str]] = defaultdict(list)
    for entry in venue.ledger():
        traded[entry["account"], entry["symbol"]].append(entry["alert_id"])
    order: dict[str, list[str]] = defaultdict(list)
    for one, alert in zip(sent, alerts, strict=True):
        order[alert["symbol"]].append(one.alert_id)
    for account in ACCOUNTS:
        for symbol, alert_ids in order.items():
            assert traded[account, symbol] == alert_ids, (account, symbol)


async def wait_taken(progress: list[Sent], count: int) -> None:
    def is_taken() -> bool:
        return sum(bool(one.answers) and one.answers[-1].status == 200 for one in progress) >= count

    await eventually(is_taken, 30, message=f"{count} alerts are taken")


def nothing_is_left(cluster: RedisCluster) -> bool:
    for shard in range(SHARDS):
        keys = Keys(shard)
        with cluster.client(shard) as client:
            assert not client.hgetall(keys.lanes)
            assert not client.xrange(keys.ready)
            assert not client.zrange(keys.parked, 0, -1)
    for node in cluster.nodes:
        with node.client() as client:
            assert_no_stray_keys(client)
    return True


async def test_through_the_death_of_a_node_and_of_a_worker_each_account_trades_each_alert_once_and_in_order(
    cluster: RedisCluster, venue: Venue, bridge_factory: BridgeFactory
):
    assert [shard_of(AccountName(name), SHARDS) for name in (*ACCOUNTS, LONE)] == [2, 0, 1, 3, 1]
    bridge = on_cluster(bridge_factory, cluster, venue, workers=2)
    venue.control(delay_ms=10)
    alerts = [bridge.alert(symbol=f"S{number % 8}") for number in range(300)]
    progress: list[Sent] = []

    sending = asyncio.create_task(send_until_taken(bridge, alerts, 8, rate_per_s=60, sent=progress))
    await wait_taken(progress, 60)
    bridge.workers[0].kill()
    bridge.workers[0].start()
    await wait_taken(progress, 120)
    node = cluster.node_of(2)
    node.kill()
    # While the owner of these alerts is away another webhook's account trades on.
    lone = await http_client.post(
        f"{bridge.ingresses[0].url}/hooks/{TOKEN}", {"symbol": "X", "action": "buy", "id": "lone"}
    )
    assert lone.status == 200
    await eventually(lambda: any(entry["account"] == LONE for entry in venue.ledger()), 20)
    assert bridge.ingresses[0].ops("/ready")[0] == 200
    status, reason = bridge.workers[1].ops("/ready")
    assert (status, "shard 2: " in reason, "shard 1: " in reason) == (503, True, False)
    node.start()
    sent = await sending

    await wait_ended(cluster, len(alerts) * len(ACCOUNTS) + 1)
    assert_whole(cluster, venue, sent, alerts)
    await eventually(lambda: nothing_is_left(cluster), 10)
    assert_no_failures(bridge)


async def test_a_shard_that_moves_to_another_node_under_load_loses_nothing_and_keeps_the_order(
    cluster: RedisCluster, venue: Venue, bridge_factory: BridgeFactory
):
    bridge = on_cluster(bridge_factory, cluster, venue)
    alerts = [bridge.alert(symbol=f"S{number % 8}") for number in range(200)]
    progress: list[Sent] = []
    sending = asyncio.create_task(send_until_taken(bridge, alerts, 8, rate_per_s=80, sent=progress))
    for number, shard in enumerate((0, 2, 3), start=1):
        await wait_taken(progress, 40 * number)
        source = cluster.node_of(shard)
        target = next(node for node in cluster.nodes if node is not source)
        await asyncio.to_thread(cluster.move, shard, target)
        assert cluster.node_of(shard) is target
    sent = await sending

    await wait_ended(cluster, len(alerts) * len(ACCOUNTS))
    assert_whole(cluster, venue, sent, alerts)
    await eventually(lambda: nothing_is_left(cluster), 10)
    assert_no_failures(bridge)


@pytest.mark.slow
async def test_a_replica_that_takes_over_for_a_node_has_every_alert_traded_once(
    cluster: RedisCluster, venue: Venue, bridge_factory: BridgeFactory
):
    primary = cluster.node_of(2)
    replica = cluster.add_replica(2)
    bridge = on_cluster(bridge_factory, cluster, venue)
    venue.control(delay_ms=20)
    alerts = [bridge.alert(symbol=f"S{number % 8}") for number in range(120)]
    sent = await send_until_taken(bridge, alerts[:60], 8, rate_per_s=200)
    with primary.client() as client:
        # What the replica lacks is lost, as with any fail-over: of the orders that follow it may be some.
        assert client.execute_command("WAIT", 1, 5_000) == 1
    primary.kill()
    sent += await send_until_taken(bridge, alerts[60:], 8, rate_per_s=200)
    assert cluster.node_of(2) is replica

    await wait_ended(cluster, len(alerts) * len(ACCOUNTS))
    assert_whole(cluster, venue, sent, alerts)
    with replica.client() as client:
        starts = [
            entry["reason"] for _, entry in client.xrange(Keys(2).journal) if entry["event"] == "INCARNATED"
        ]
    assert starts[-1] == "suspect"
    assert_no_failures(bridge)


async def test_each_process_needs_no_more_than_its_user_may(
    redis_binary: Binary, venue: Venue, tmp_path: Path, bridges: list[Bridge]
):
    users = make_users(tmp_path / "users")
    with RedisCluster(redis_binary, options={"aclfile": str(users)}, identity=ADMIN) as cluster:
        nodes = cluster.url.partition("//")[2]
        passwords = {user: (users.parent / f"redis-url-{user}").read_text().split("@")[0] for user in USERS}
        urls = {
            user: f"redis+cluster://{begin.partition('//')[2]}@{nodes}" for user, begin in passwords.items()
        }
        guarded = GuardedRedis(cluster.nodes[0], {**urls, "admin": cluster.url})

        def make(_: str, **options: Any) -> Bridge:
            bridges.append(GuardedBridge(tmp_path / "bridge", guarded, **options))
            return bridges[-1].start()

        bridge = on_cluster(make, cluster, venue)
        alerts = [bridge.alert(symbol=f"S{number % 4}") for number in range(20)]
        sent = await send_until_taken(bridge, alerts, 4, rate_per_s=100)
        await wait_ended(cluster, len(alerts) * len(ACCOUNTS))
        assert_whole(cluster, venue, sent, alerts)
        status = await bascule(bridge, "status", "--json")
        assert status.code == 0, status
        for node in cluster.nodes:
            with node.client() as client:
                assert client.acl_log() == []


async def wait_exit(service: Service) -> None:
    await eventually(lambda: service.exit_code is not None, 20)


@pytest.mark.parametrize(("held", "wanted"), [(4, 3), (1, 4), (4, 8)])
async def test_a_service_with_another_number_of_shards_ends_and_takes_and_leaves_nothing(
    private_redis: RedisServer, bridge_factory: BridgeFactory, held: int, wanted: int
):
    accounts = {name: {"broker": "paper", "default_price": 100} for name in ACCOUNTS}
    config = {
        "redis": {"shards": held},
        # With none of the wanted numbers it lies on the first.
        "webhooks": {"default": {"accounts": [ACCOUNTS[0]]}},
        "accounts": accounts,
    }
    bridge = bridge_factory(private_redis, config=config)
    for service in bridge.services:
        assert service.terminate().code == 0
        service.config = {**service.config, "redis": {**service.config["redis"], "shards": wanted}}
    for service in bridge.services:
        service.start()
        if service.name == "ingress":
            assert await answers_until_the_end(service, bridge) <= {503, http_client.NO_ANSWER}
        await wait_exit(service)
        assert service.exit_code == 1
        line = (
            f"{service.name}: redis.shards: got {wanted}, and what Redis holds is spread over {held}: "
            f"set redis.shards: {held}, or begin with an empty Redis\n"
        )
        assert service.errors() == line
        noted = [number for number in range(8) if bridge.client.exists(Keys(number).meta)]
        assert noted == list(range(held))
        assert not [key for number in range(held, 8) for key in bridge.client.scan_iter(f"*{{s{number}}}*")]


async def answers_until_the_end(ingress: Service, bridge: Bridge) -> set[int]:
    """Post for an account on another shard than the first until the ingress has ended; return what was answered."""
    statuses = set[int]()
    while ingress.is_running:
        statuses.add((await bridge.post(bridge.alert())).status)
    return statuses
