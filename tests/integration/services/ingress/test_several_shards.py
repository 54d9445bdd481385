"""An alert for accounts on several shards: one id, nothing twice, and a resend completes what is missing."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from libs.common.domain.ids import AccountName, AlertId, LaneName
from libs.common.policy.shards import shard_of
from libs.common.store.keys import Keys
from tests.support.bridge import Bridge
from tests.support.eventually import eventually
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import Binary, RedisServer

pytestmark = [
    pytest.mark.integration,
    # Nothing here depends on the version of the server.
    pytest.mark.parametrize("redis_binary", ["newest"], indirect=True),
]

OWNER, OTHER, THIRD = AccountName("desk"), AccountName("main"), AccountName("gamma")
ACCOUNTS: Final = (OWNER, OTHER, THIRD)
SHARD: Final = {name: shard_of(name, 4) for name in ACCOUNTS}
"""2, 0 and 1."""

WRONG_LANE = LaneName(f"{OTHER}:BTCUSDT")


@pytest.fixture
def bridge(redis_server: RedisServer, bridge_factory: Callable[..., Bridge]) -> Bridge:
    """An ingress over four shards in one Redis, and nothing else: what it queues stays in its lanes."""
    return make(redis_server, bridge_factory)


def make(redis_at: RedisServer | str, bridge_factory: Callable[..., Bridge], **own: object) -> Bridge:
    config = {
        "redis": {"shards": 4},
        "webhooks": {"default": {"accounts": list(ACCOUNTS), **own}},
        "accounts": {name: {"broker": "paper"} for name in ACCOUNTS},
    }
    return bridge_factory(redis_at, workers=0, reapers=0, config=config)


def queued(bridge: Bridge, accounts: Iterable[AccountName] = ACCOUNTS) -> dict[str, list[str]]:
    """Return the alerts in the lane of each account."""
    return {
        name: [
            fields["alert"]
            for _, fields in bridge.client.xrange(Keys(SHARD[name]).lane(LaneName(f"{name}:BTCUSDT")))
        ]
        for name in accounts
    }


async def test_each_shard_gets_its_accounts_under_one_id_and_a_resend_is_a_duplicate(bridge: Bridge):
    alert = bridge.alert(id="x")
    first, again = await bridge.post(alert), await bridge.post(alert)
    assert (first.status, first.body["duplicate"]) == (200, False)
    assert again.body == {**first.body, "duplicate": True}
    one = AlertId(first.body["alert_id"])
    assert queued(bridge) == {name: [one] for name in ACCOUNTS}
    for name in ACCOUNTS:
        keys = Keys(SHARD[name])
        assert bridge.client.hget(keys.alert(one), "accounts") == name
        assert bridge.client.hget(keys.instruction(one, name), "state") == "QUEUED"


async def test_what_the_owner_refuses_is_queued_nowhere(bridge: Bridge):
    await bridge.post(bridge.alert(id="x"))
    before = queued(bridge)
    conflict = await bridge.post(bridge.alert(id="x", action="sell"))
    assert conflict.status == 409
    assert queued(bridge) == before


async def test_while_one_shard_cannot_take_its_part_the_sender_is_told_to_come_again_and_a_resend_completes_it(
    bridge: Bridge,
):
    key = Keys(SHARD[OTHER]).lane(WRONG_LANE)
    bridge.client.set(key, "not a stream")
    alert = bridge.alert(id="x")
    for _ in range(3):
        assert (await bridge.post(alert)).status == 503
    partly = queued(bridge, (OWNER, THIRD))
    [one] = partly[OWNER]
    assert partly == {OWNER: [one], THIRD: [one]}

    bridge.client.delete(key)
    completed = await bridge.post(alert)
    assert completed.body == {"ok": True, "alert_id": one, "duplicate": False}
    assert queued(bridge) == {name: [one] for name in ACCOUNTS}
    assert (await bridge.post(alert)).body == {"ok": True, "alert_id": one, "duplicate": True}
    assert queued(bridge) == {name: [one] for name in ACCOUNTS}


async def test_a_full_lane_on_another_shard_says_so_and_a_resend_completes_once_there_is_room(
    redis_server: RedisServer, bridge_factory: Callable[..., Bridge]
):
    bridge = make(redis_server, bridge_factory)
    bridge.close()
    bridge.config["limits"]["backlog"] = 1
    bridge.ingresses[0].config["limits"]["backlog"] = 1
    bridge.start()
    key = Keys(SHARD[OTHER]).lane(WRONG_LANE)
    bridge.client.xadd(key, {"another": "entry"})
    alert = bridge.alert(id="x")
    refused = await bridge.post(alert)
    assert (refused.status, refused.body["error"]["code"]) == (503, "lane_full")
    bridge.client.delete(key)
    assert (await bridge.post(alert)).status == 200
    assert {name: len(alerts) for name, alerts in queued(bridge).items()} == dict.fromkeys(ACCOUNTS, 1)


async def test_an_ingress_that_dies_between_two_shards_leaves_what_a_resend_completes(
    redis_binary: Binary, bridge_factory: Callable[..., Bridge]
):
    with RedisCluster(redis_binary) as cluster:
        bridge = make(cluster.url, bridge_factory)
        alert = bridge.alert(id="x")
        node = cluster.node_of(SHARD[OTHER])
        assert node is not cluster.node_of(SHARD[OWNER])
        node.freeze()
        owners = Keys(SHARD[OWNER])
        with cluster.client(SHARD[OWNER]) as client:
            posting = asyncio.create_task(bridge.post(alert))
            await eventually(lambda: list(client.scan_iter(match=f"{owners.prefix}alert:*")))
            bridge.ingresses[0].kill()
            node.thaw()
            assert (await posting).status == 0
            bridge.ingresses[0].start().wait_ready()
            answer = await bridge.post(alert)
            assert answer.status == 200
            [(_, entry)] = client.xrange(owners.lane(LaneName(f"{OWNER}:BTCUSDT")))
        for name in (OTHER, THIRD):
            with cluster.client(SHARD[name]) as client:
                [(_, part)] = client.xrange(Keys(SHARD[name]).lane(LaneName(f"{name}:BTCUSDT")))
                assert part["alert"] == entry["alert"] == answer.body["alert_id"]
