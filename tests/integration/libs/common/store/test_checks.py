"""What is asked of a Redis server before the bridge trusts it."""

import pytest
from redis.asyncio import Redis

from libs.common.domain.errors import ConfigError, StoreUnavailable
from libs.common.store.checks import ServerFacts, check_server, promises, read_server
from libs.common.store.client import connect
from tests.support.redis_server import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.integration]


async def test_a_server_as_it_should_be_passes(client: Redis, redis_server: RedisServer) -> None:
    facts = await check_server(client, "always")

    assert facts.version == redis_server.version
    assert facts.durability == "always"
    assert facts.eviction == "noeviction"
    assert facts.memory_share is not None


async def test_a_server_that_evicts_is_refused_whatever_is_declared(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")

    for durability in ("always", "everysec", "declared", "none"):
        with pytest.raises(ConfigError, match=r"maxmemory-policy is allkeys-lru: set it to noeviction"):
            await check_server(client, durability)


@pytest.mark.parametrize(
    ("in_force", "configured", "is_kept"),
    [
        ("always", "always", True),
        ("always", "everysec", True),
        ("everysec", "everysec", True),
        ("everysec", "always", False),
        ("no", "everysec", False),
        ("no", "none", True),
        ("everysec", "declared", True),
    ],
)
async def test_a_weaker_durability_than_configured_is_refused(
    client: Redis, in_force: str, configured: str, is_kept: bool
) -> None:
    await client.config_set("appendfsync", in_force)

    if is_kept:
        await check_server(client, configured)
    else:
        with pytest.raises(ConfigError, match="appendonly yes and appendfsync"):
            await check_server(client, configured)


async def test_every_broken_promise_is_one_line(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("appendfsync", "everysec")

    with pytest.raises(ConfigError) as refused:
        await check_server(client, "always")

    assert len(str(refused.value).splitlines()) == 2


async def test_a_server_without_append_only_file_promises_nothing(client: Redis) -> None:
    await client.config_set("appendonly", "no")
    try:
        facts = await read_server(client, "none")
        with pytest.raises(ConfigError, match="no append-only file"):
            await check_server(client, "everysec")
    finally:
        await client.config_set("appendonly", "yes")

    assert facts.durability == "none"


async def test_a_server_that_bars_config_must_be_declared(client: Redis, redis_server: RedisServer) -> None:
    await client.execute_command("ACL", "SETUSER", "guest", "on", "nopass", "~*", "&*", "+@all", "-config")
    guest = connect(redis_server.url.replace("unix://", "unix://guest:x@"), timeout_s=5)
    try:
        with pytest.raises(ConfigError, match=r"bars CONFIG.*redis\.durability: declared"):
            await check_server(guest, "always")
        await check_server(guest, "declared")
    finally:
        await guest.aclose()
        await client.execute_command("ACL", "DELUSER", "guest")


async def test_a_server_that_is_away_is_not_a_wrong_configuration(tmp_path: object) -> None:
    away = connect(f"unix://{tmp_path}/none.sock", timeout_s=1)
    with pytest.raises(StoreUnavailable):
        await check_server(away, "always")
    await away.aclose()


@pytest.mark.parametrize(
    ("version", "is_kept"), [((6, 0, 16), False), ((6, 2, 0), True), ((7, 0, 15), True), ((8, 1), True)]
)
def test_versions_below_the_floor_are_refused(version: tuple[int, ...], is_kept: bool) -> None:
    facts = ServerFacts(
        product="Redis",
        version=version,
        eviction="noeviction",
        durability="always",
        used_bytes=1,
        limit_bytes=0,
        machine_bytes=0,
    )

    assert [promise.is_kept for promise in promises(facts, "always")] == [is_kept, True, True]
