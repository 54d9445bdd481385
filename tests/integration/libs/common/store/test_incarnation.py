"""A Redis that comes back is met by every new connection, before anything else is called on it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from libs.common.domain.errors import StoreBarred, StoreUnavailable
from libs.common.store.client import call, connect, translate
from libs.common.store.incarnation import GRANTED_BEHIND_MS, Incarnated, Incarnations
from libs.common.store.keys import Keys
from libs.common.store.scripts import Script
from tests.support.eventually import eventually_sync
from tests.support.redis_server import Binary, RedisServer

KEYS = Keys()
LEASE_MS = 6_000

Made = Callable[..., tuple[Redis, list[Incarnated]]]


@pytest.fixture
async def process() -> AsyncIterator[Made]:
    """Makes the client of one process, and what it is told."""
    made: list[Redis] = []

    def make(server: RedisServer, *, durability: str = "everysec", url: str = "") -> Any:
        told: list[Incarnated] = []
        greeter = Incarnations(KEYS, durability=durability, lease_ms=LEASE_MS, on_new=told.append)
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


async def test_what_may_be_forgotten_may_execute_for_a_lease_and_for_as_long_as_a_replaced_primary_grants(
    private_redis: RedisServer, process: Made
):
    client, _ = process(private_redis, durability="declared")
    await call(client, "PING")
    admit_something(private_redis)
    private_redis.kill()
    private_redis.start()
    again, _ = process(private_redis, durability="declared")
    await call(again, "PING")
    assert int(await call(again, "HGET", KEYS.meta, "suspect_window")) == LEASE_MS + GRANTED_BEHIND_MS


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
    with pytest.raises(RedisError, match="sent twice") as raised:
        await call(client, "PING")
    assert isinstance(translate(raised.value), StoreBarred)


async def test_an_answer_without_a_run_id_says_what_to_do(private_redis: RedisServer, process: Made):
    class Blind(Incarnations):
        async def _info(self, connection: AbstractConnection) -> Mapping[str, str]:
            found = await super()._info(connection)
            return {name: value for name, value in found.items() if name != "run_id"}

    greeter = Blind(KEYS, durability="everysec", lease_ms=LEASE_MS)
    client = connect(private_redis.url, timeout_s=5, greet=greeter.greet)
    for _ in range(2):  # and the connection is not used without
        with pytest.raises(StoreBarred, match="names no run_id") as raised:
            await call(client, "PING")
        assert "Redis itself" in raised.value.remedy
    await client.aclose()


async def test_a_connection_on_which_the_look_broke_is_not_used(private_redis: RedisServer):
    greeted = 0

    async def greet(_: AbstractConnection) -> None:
        nonlocal greeted
        greeted += 1
        raise KeyError("not an error of redis-py")

    client = connect(private_redis.url, timeout_s=5, connections=1, greet=greet)
    for _ in range(2):
        with pytest.raises(KeyError):
            await call(client, "PING")
    await client.aclose()
    assert greeted == 2


async def test_a_look_that_is_cancelled_is_made_by_the_next_call(private_redis: RedisServer):
    started, is_first = asyncio.Event(), True
    greeter = Incarnations(KEYS, durability="everysec", lease_ms=LEASE_MS)

    async def greet(connection: AbstractConnection) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            started.set()
            await asyncio.Event().wait()
        await greeter.greet(connection)

    client = connect(private_redis.url, timeout_s=5, connections=1, greet=greet)
    calling = asyncio.create_task(call(client, "PING"))
    await started.wait()
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)
    assert await call(client, "HEXISTS", KEYS.meta, "run_id") == 1
    await client.aclose()


def keeps_all(server: RedisServer) -> str | None:
    with server.client() as client:
        return client.hget(KEYS.meta, "keeps_all")


@pytest.mark.parametrize(
    ("name", "value"), [("appendfsync", "everysec"), ("no-appendfsync-on-rewrite", "yes")]
)
async def test_a_setting_that_changes_while_it_runs_is_seen_by_the_next_look(
    private_redis: RedisServer, name: str, value: str
):
    greeter = Incarnations(KEYS, durability="always", lease_ms=LEASE_MS)
    client = connect(private_redis.url, timeout_s=5, connections=1, greet=greeter.greet)
    await greeter.look(client)
    assert keeps_all(private_redis) == "1"
    with private_redis.client() as direct:
        direct.config_set(name, value)
    await greeter.look(client)
    assert keeps_all(private_redis) == "0"
    with private_redis.client() as direct:
        assert direct.hget(KEYS.meta, "epoch") is None
        direct.config_set(name, {"everysec": "always", "yes": "no"}[value])
    # What was answered in between may be lost all the same.
    await greeter.look(client)
    assert keeps_all(private_redis) == "0"
    await client.aclose()


async def test_a_redis_that_does_not_fsync_during_rewrites_is_not_trusted_after_a_restart(
    private_redis: RedisServer, process: Made
):
    private_redis.options |= {"appendfsync": "always", "no-appendfsync-on-rewrite": "yes"}
    private_redis.kill()
    private_redis.start()
    client, _ = process(private_redis, durability="always")
    await call(client, "PING")
    assert keeps_all(private_redis) == "0"


def is_written(info: Mapping[str, Any]) -> bool:
    return not (info["aof_rewrite_in_progress"] or info["aof_rewrite_scheduled"])


async def test_a_replica_that_came_later_and_is_started_as_a_primary_is_not_trusted(redis_binary: Binary):
    told: list[Incarnated] = []
    greeter = Incarnations(KEYS, durability="always", lease_ms=LEASE_MS, on_new=told.append)
    with RedisServer(redis_binary, tcp=True) as primary, RedisServer(redis_binary, tcp=True) as replica:
        client = connect(primary.url, timeout_s=5, connections=1, greet=greeter.greet)
        await greeter.look(client)
        admit_something(primary)
        with replica.client() as direct:
            direct.execute_command("REPLICAOF", "127.0.0.1", str(primary.port))

            eventually_sync(lambda: direct.hget(KEYS.meta, "keeps_all") == "1", 20)
            with primary.client() as old:
                eventually_sync(lambda: old.info("replication")["connected_slaves"] == 1, 20)
            await greeter.look(client)
            eventually_sync(lambda: direct.hget(KEYS.meta, "keeps_all") == "0", 20)
            # What it was sent at first is in its append-only file once that was rewritten.
            eventually_sync(lambda: is_written(direct.info("persistence")), 20)
        primary.kill()
        replica.kill()
        replica.start()  # nothing tells it of the primary that it followed
        again = connect(replica.url, timeout_s=5, connections=1, greet=greeter.greet)
        await greeter.look(again)
        await client.aclose()
        await again.aclose()
    assert told[-1].suspect_until_ms is not None


async def test_an_address_that_leads_back_to_a_server_that_was_cut_off_is_met_as_another(
    redis_binary: Binary,
):
    """Once, whatever many connections and processes that met both come back to it."""
    told: list[Incarnated] = []
    ours, others, later = (
        Incarnations(KEYS, durability="always", lease_ms=LEASE_MS, on_new=told.append) for _ in range(3)
    )

    async def meet(server: RedisServer, greeter: Incarnations) -> None:
        client = connect(server.url, timeout_s=5, connections=1, greet=greeter.greet)
        await call(client, "PING")
        await client.aclose()

    with RedisServer(redis_binary, tcp=True) as cut_off, RedisServer(redis_binary, tcp=True) as replica:
        admit_something(cut_off)
        for greeter in (ours, others):
            await meet(cut_off, greeter)
        with replica.client() as direct:
            direct.execute_command("REPLICAOF", "127.0.0.1", str(cut_off.port))
            eventually_sync(lambda: direct.hexists(KEYS.meta, "run_id"), 20)
            direct.execute_command("REPLICAOF", "NO", "ONE")
        for greeter in (ours, others, ours):
            await meet(replica, greeter)
        assert [one.suspect_until_ms is not None for one in told] == [False, True]
        for greeter in (ours, others, ours):
            await meet(cut_off, greeter)
        assert [one.suspect_until_ms is not None for one in told] == [False, True, True]
        # And to and fro.
        await meet(replica, ours)
        await meet(cut_off, ours)
        assert [one.suspect_until_ms is not None for one in told] == [False, True, True, True, True]
        # One that never met it before: it met the other in a later epoch.
        with replica.client() as direct:
            direct.hincrby(KEYS.meta, "epoch", 5)
        await meet(replica, later)
        await meet(cut_off, later)
        assert [one.suspect_until_ms is not None for one in told[5:]] == [True]
