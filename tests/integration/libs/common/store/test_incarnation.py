"""A Redis that comes back is met by every new connection, before anything else is called on it."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.store.client import call, connect, translate
from libs.common.store.incarnation import Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from tests.support.eventually import eventually_sync
from tests.support.redis_server import Binary, RedisServer

KEYS = Keys()
WINDOW_MS = 6_000

Made = Callable[..., tuple[Redis, list[Incarnated]]]


@pytest.fixture
async def process() -> AsyncIterator[Made]:
    """Makes the client of one process, and what it is told."""
    made: list[Redis] = []

    def make(server: RedisServer, *, durability: str = "everysec", url: str = "") -> Any:
        told: list[Incarnated] = []
        greeter = Incarnations(KEYS, durability=durability, window_ms=WINDOW_MS, on_new=told.append)
        made.append(connect(url or server.url, timeout_s=5, connections=2, greet=greeter.greet))
        return made[-1], told

    yield make
    for client in made:
        await client.aclose()


def admit_something(server: RedisServer) -> None:
    with server.client() as client:
        client.xadd(KEYS.journal, {"event": "QUEUED"})


def suspect_until(server: RedisServer) -> int | None:
    with server.client() as client:
        found = client.hget(KEYS.meta, "suspect_until")
    return None if found is None else int(found)


async def test_a_restart_is_told_once_whatever_many_connections_and_processes_meet_it(
    private_redis: RedisServer, process: Made
):
    private_redis.options["appendfsync"] = "everysec"
    private_redis.kill()
    private_redis.start()
    first, told = process(private_redis)
    second, also_told = process(private_redis)
    await call(first, "PING")
    await call(second, "PING")
    admit_something(private_redis)
    assert [one.suspect_until_ms for one in told + also_told] == [None]
    private_redis.kill()
    private_redis.start()
    for client in (first, second, first):
        # The first call on each old connection finds it broken.
        for _ in range(2):
            try:
                await call(client, "PING")
            except Exception:  # noqa: BLE001 - the next one is made anew
                continue
    assert len(told + also_told) == 2
    assert (told + also_told)[-1].suspect_until_ms == suspect_until(private_redis)


async def test_no_call_of_a_new_connection_comes_before_the_look(private_redis: RedisServer, process: Made):
    private_redis.options["appendfsync"] = "everysec"
    private_redis.kill()
    private_redis.start()
    client, _ = process(private_redis)
    await call(client, "PING")
    admit_something(private_redis)
    private_redis.kill()
    private_redis.start()
    other, _ = process(private_redis)
    assert await call(other, "HEXISTS", KEYS.meta, "suspect_until") == 1


@pytest.mark.parametrize(
    ("fsync", "durability", "is_suspect"),
    [("always", "always", False), ("everysec", "everysec", True), ("always", "declared", True)],
)
async def test_only_a_redis_that_fsyncs_each_write_is_trusted_after_a_restart(
    private_redis: RedisServer, process: Made, fsync: str, durability: str, is_suspect: bool
):
    private_redis.options["appendfsync"] = fsync
    private_redis.kill()
    private_redis.start()
    client, _ = process(private_redis, durability=durability)
    await call(client, "PING")
    admit_something(private_redis)
    private_redis.kill()
    private_redis.start()
    again, _ = process(private_redis, durability=durability)
    await call(again, "PING")
    assert (suspect_until(private_redis) is not None) is is_suspect


async def test_a_replica_that_takes_over_is_met_as_another_though_it_fsyncs_each_write(
    redis_binary: Binary, process: Made
):
    with RedisServer(redis_binary, tcp=True) as primary, RedisServer(redis_binary, tcp=True) as replica:
        client, _ = process(primary, durability="always")
        await call(client, "PING")
        admit_something(primary)
        with replica.client() as direct, primary.client() as old:
            direct.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))

            def has_it() -> bool:
                info = direct.info("replication")
                assert info["master_link_status"] == "up"
                assert direct.hget(KEYS.meta, "run_id") == old.info("server")["run_id"]
                return True

            eventually_sync(has_it, 20)
            ours, told = process(replica, durability="always")
            with pytest.raises(StoreUnavailable):
                # It takes no writes: nobody can use such a connection once it takes over either.
                await Script("drop").run(ours, KEYS.fixed, ["", "1-1"])
            assert told == []
            primary.kill()
            direct.execute_command("REPLICAOF", "NO", "ONE")
            await Script("drop").run(ours, KEYS.fixed, ["", "1-1"])
        assert [one.suspect_until_ms is not None for one in told] == [True]


async def test_a_primary_that_becomes_a_replica_is_met_anew(redis_binary: Binary, process: Made):
    with RedisServer(redis_binary, tcp=True) as one, RedisServer(redis_binary, tcp=True) as other:
        client, _ = process(one)
        await Script("drop").run(client, KEYS.fixed, ["", "1-1"])
        with one.client() as direct:
            before = direct.info("stats")["total_connections_received"]
            direct.execute_command("REPLICAOF", "127.0.0.1", str(other.port))
            with pytest.raises(StoreUnavailable):
                await Script("drop").run(client, KEYS.fixed, ["", "1-1"])
            direct.execute_command("REPLICAOF", "NO", "ONE")
            await Script("drop").run(client, KEYS.fixed, ["", "1-1"])
            assert direct.info("stats")["total_connections_received"] > before


async def test_a_user_that_may_not_ask_info_is_told_why_it_must(private_redis: RedisServer, process: Made):
    with private_redis.client() as direct:
        direct.execute_command("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@all", "-info")
    client, _ = process(private_redis, url=f"unix://blind:secret@{private_redis.path}")
    with pytest.raises(Exception, match="sent twice") as raised:
        await call(client, "PING")
    assert isinstance(translate(raised.value), StoreBarred)
