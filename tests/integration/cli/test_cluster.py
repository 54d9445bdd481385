"""Commands about a Redis Cluster, of which one node is killed."""

from collections.abc import Iterator

import pytest

from tests.conftest import BEST_ID
from tests.integration.cli.conftest import CommandLine
from tests.support.eventually import eventually_sync
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import Binary
from tests.support.sharded_store import SHARDS, ShardedStore, fill_shards


@pytest.fixture
def cluster(redis_binary: Binary) -> Iterator[RedisCluster]:
    with RedisCluster(redis_binary) as running:
        yield running


@pytest.mark.parametrize("redis_binary", [BEST_ID], indirect=True)
def test_a_cluster_is_one_bridge_and_a_node_that_is_gone_is_named(
    bascule: CommandLine, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def steps(store: ShardedStore) -> str:
        alert = await store.admit(accounts=("scalp", "main", "gamma", "paper"))
        for account in ("scalp", "main"):
            await store.of(account).execute()
        return alert

    monkeypatch.setenv("REDIS_URL", cluster.url)
    alert = fill_shards(cluster.url, steps)

    shown = bascule("alerts", alert, "--json").json
    assert {one["account"]: one["state"] for one in shown["instructions"]} == {
        "scalp": "EXECUTED",
        "main": "EXECUTED",
        "gamma": "QUEUED",
        "paper": "QUEUED",
    }
    assert bascule("halt", "--mode", "pause", "--reason", "news").code == 0
    redis = bascule("status", "--json").json["redis"]
    assert [one["shards"] for one in redis["servers"]] == [[0, 1], [2], [3]]
    assert redis["durability"] == "always"
    tail = bascule("tail", "--since", "1min", "--count", "9", "--json")
    assert (tail.code, len(tail.out.splitlines())) == (0, 9)

    cluster.nodes[0].kill()

    outcome = bascule("status", "--json")
    assert outcome.code == 3
    assert outcome.json["redis"]["shards_away"] == [2]
    assert (outcome.json["waiting"], outcome.json["redis"]["shards"]) == (1, SHARDS)
    assert "NOT lifted on shard 2" in bascule("resume").err
    assert "shard 2: " in bascule("alerts").err

    # How many shards there are is told by any of them.
    cluster.nodes[0].start()
    eventually_sync(cluster.is_whole, 30, 0.05, "the cluster is whole")
    cluster.nodes[2].kill()

    outcome = bascule("halt", "--mode", "pause", "--reason", "the first shard is away", "--json")
    assert outcome.code == 1
    assert [one["is_done"] for one in outcome.json["shards"]] == [False, False, True, True]
    assert bascule("status", "--json").json["redis"]["shards_away"] == [0, 1]
