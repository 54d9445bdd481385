"""A shard is found on its node of a Redis Cluster, and again after it has moved."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.store.client import call, connect
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from libs.common.store.shards import Shard, Shards
from tests.support.eventually import eventually
from tests.support.redis_cluster import RedisCluster
from tests.support.redis_server import Binary, RedisServer

TIMEOUT_S = 2.0

on_the_newest = pytest.mark.parametrize("redis_binary", ["newest"], indirect=True)
"""A cluster takes seconds to come up."""


@pytest.fixture
def cluster(redis_binary: Binary) -> Iterator[RedisCluster]:
    with RedisCluster(redis_binary) as cluster:
        yield cluster


@pytest.fixture
async def shards(cluster: RedisCluster) -> AsyncIterator[Shards]:
    shards = Shards.open(cluster.url, 4, timeout_s=TIMEOUT_S, connections=3)
    yield shards
    await shards.aclose()


async def is_kept(shard: Shard, text: str) -> bool:
    """Write with a script and read it back; False while the store is away."""
    try:
        await Script("refuse").run(
            shard.client,
            [*shard.keys.fixed, shard.keys.refused],
            ["", 10_000, text, "hook", 400, "code", "", "detail", "raw"],
        )
        found = await call(shard.client, "XLEN", shard.keys.refused)
    except StoreBarred:
        raise
    except StoreUnavailable:
        return False
    return bool(found)


async def run_id(shard: Shard) -> str:
    return str((await shard.client.info("server"))["run_id"])


async def test_each_shard_is_asked_for_on_the_node_that_serves_it(cluster: RedisCluster, shards: Shards):
    for shard in shards:
        assert await is_kept(shard, "1")
        with cluster.client(shard.number) as direct:
            assert direct.xlen(shard.keys.refused) == 1
            assert await run_id(shard) == direct.info("server")["run_id"]
    assert len({await run_id(shard) for shard in shards}) == 3


async def test_a_call_after_a_shard_has_moved_is_executed_once_on_its_new_node(
    cluster: RedisCluster, shards: Shards
):
    shard = shards[0]
    assert all(await asyncio.gather(*(is_kept(shard, str(n)) for n in range(3))))
    before = await run_id(shard)
    target = cluster.node_of(2)
    cluster.move(0, target)
    assert await is_kept(shard, "3")
    assert await run_id(shard) != before
    with target.client() as direct:
        assert direct.xlen(shard.keys.refused) == 4


async def test_while_a_shard_moves_no_script_is_executed_and_its_callers_are_told_to_come_again(
    cluster: RedisCluster, shards: Shards
):
    shard, source, target = shards[0], cluster.node_of(0), cluster.node_of(2)
    assert await is_kept(shard, "1")
    with source.client() as giving, target.client() as taking:
        slot = giving.cluster("KEYSLOT", shard.keys.prefix)
        taking.execute_command(
            "CLUSTER", "SETSLOT", slot, "IMPORTING", giving.execute_command("CLUSTER", "MYID")
        )
        giving.execute_command(
            "CLUSTER", "SETSLOT", slot, "MIGRATING", taking.execute_command("CLUSTER", "MYID")
        )
        assert not await is_kept(shard, "2")
        assert giving.xlen(shard.keys.refused) == 1
    cluster.move(0, target)
    assert await is_kept(shard, "3")
    with target.client() as direct:
        assert direct.xlen(shard.keys.refused) == 2


@on_the_newest
async def test_while_one_node_is_away_the_shards_of_the_others_go_on_and_then_it_is_found_again(
    cluster: RedisCluster, shards: Shards
):
    for shard in shards:
        assert await is_kept(shard, "1")
    node = cluster.node_of(2)
    node.kill()
    assert [await is_kept(shard, "2") for shard in shards] == [True, True, False, True]
    node.start()
    await eventually(lambda: is_kept(shards[2], "3"), 20)


@on_the_newest
async def test_the_nodes_are_found_by_any_one_that_is_up(cluster: RedisCluster):
    first = cluster.nodes[0]
    assert cluster.node_of(2) is first
    first.kill()
    shards = Shards.open(cluster.url, 4, timeout_s=TIMEOUT_S)
    try:
        assert await is_kept(shards[0], "1")
    finally:
        await shards.aclose()


@on_the_newest
async def test_an_address_of_a_single_server_does_not_do_for_a_cluster(cluster: RedisCluster):
    client = connect(cluster.nodes[0].tcp_url, timeout_s=TIMEOUT_S)
    try:
        with pytest.raises(StoreBarred, match="a node of a Redis Cluster") as barred:
            await is_kept(Shard(0, Keys(0), client), "1")
        assert "redis+cluster://" in barred.value.remedy
    finally:
        await client.aclose()


@on_the_newest
async def test_an_address_of_a_cluster_does_not_do_for_a_single_server(redis_binary: Binary):
    with RedisServer(redis_binary, tcp=True) as server:
        client = connect(f"redis+cluster://127.0.0.1:{server.port}", timeout_s=TIMEOUT_S)
        try:
            with pytest.raises(StoreBarred, match="is no node of a Redis Cluster") as barred:
                await is_kept(Shard(0, Keys(0), client), "1")
            assert "redis://" in barred.value.remedy
        finally:
            await client.aclose()


@on_the_newest
@pytest.mark.parametrize(
    ("identity", "words"),
    [("nobody:x", "does not let us in"), ("blind:x", "does not allow it"), ("able:x", "")],
)
async def test_who_may_not_come_in_or_not_ask_for_the_nodes_is_told_so(
    redis_binary: Binary, identity: str, words: str
):
    with RedisServer(redis_binary, tcp=True, options={"cluster-enabled": "yes"}) as server:
        with server.client() as admin:
            admin.execute_command("CLUSTER", "ADDSLOTS", *range(16_384))
            admin.execute_command("ACL", "SETUSER", "blind", "on", ">x", "~*", "+@all", "-cluster")
            admin.execute_command(
                "ACL", "SETUSER", "able", "on", ">x", "~*", "+@all", "-cluster", "+cluster|slots"
            )
        client = connect(f"redis+cluster://{identity}@127.0.0.1:{server.port}", timeout_s=TIMEOUT_S)
        try:
            if not words:
                await eventually(lambda: is_kept(Shard(0, Keys(0), client), "1"))
                return
            with pytest.raises(StoreBarred, match=words):
                await is_kept(Shard(0, Keys(0), client), "1")
        finally:
            await client.aclose()
