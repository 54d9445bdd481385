"""What is asked of a Redis server before the bridge trusts it."""

import asyncio
import time

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


async def test_a_redis_that_does_not_sync_during_rewrites_does_not_keep_always(client: Redis) -> None:
    await client.config_set("no-appendfsync-on-rewrite", "yes")

    with pytest.raises(ConfigError) as refused:
        await check_server(client, "always")

    [line] = str(refused.value).splitlines()
    assert line.endswith("(no-appendfsync-on-rewrite yes): set no-appendfsync-on-rewrite no in Redis")
    await check_server(client, "everysec")


async def test_all_broken_promises_stand_on_one_line(client: Redis) -> None:
    await client.config_set("maxmemory-policy", "allkeys-lru")
    await client.config_set("appendfsync", "everysec")

    with pytest.raises(ConfigError) as refused:
        await check_server(client, "always")

    [line] = str(refused.value).splitlines()
    assert "maxmemory-policy is allkeys-lru" in line
    assert "appendfsync everysec" in line


async def test_what_does_not_count_against_the_limit_is_not_counted(client: Redis) -> None:
    await client.config_set("maxmemory", "200mb")

    facts = await read_server(client, "always")

    assert facts.memory_bytes == facts.limit_bytes == 200 * 1024 * 1024
    info = await client.info("memory")
    assert facts.used_bytes == pytest.approx(
        info["used_memory"] - info["mem_not_counted_for_evict"], abs=1_000_000
    )


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


async def test_a_server_that_still_loads_its_data_is_away_and_not_unfit(private_redis: RedisServer) -> None:
    with private_redis.client() as direct, direct.pipeline(transaction=False) as pipeline:
        for number in range(5_000):  # it looks up from loading after every thousand or so
            pipeline.set(f"key-{number}", "x")
        pipeline.execute()
    private_redis.kill()
    private_redis.options |= {"key-load-delay": "200"}
    found: list[str] = []

    def watch() -> None:
        asyncio.run(_watch(private_redis.url, found))

    # At once, in a thread: starting a server holds this loop up.
    watching = asyncio.get_running_loop().run_in_executor(None, watch)
    private_redis.start()
    await watching

    assert found[-1] == "fit"
    assert "Redis is loading its data" in found
    assert set(found) <= {"fit", "away", "Redis is loading its data"}


async def _watch(url: str, found: list[str]) -> None:
    """Check it again and again until it is fit; anything but being away passes."""
    client = connect(url, timeout_s=5)
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s and (not found or found[-1] != "fit"):
        try:
            await check_server(client, "always")
        except StoreUnavailable as error:
            found.append(str(error) if "loading its data" in str(error) else "away")
        else:
            found.append("fit")
    await client.aclose()


@pytest.mark.parametrize(
    ("rules", "is_kept"),
    [
        ("off ~* &* +@all", True),
        ("on nopass ~* &* +@all", True),
        ("on nopass ~* &* +@all -@dangerous", True),
        ("on nopass ~* &* +@all -xadd", False),
        ("on nopass ~bascule:* &* +@all", True),
        ("on nopass ~other:* &* +@all", False),
        ("on nopass ~* &* -@all +@read +info +config|get +acl|dryrun +ping", False),
    ],
)
async def test_a_server_whose_default_user_may_not_play_everything_back_is_refused(
    private_redis: RedisServer, rules: str, is_kept: bool
) -> None:
    with private_redis.client() as direct:
        direct.execute_command("ACL", "SETUSER", "tester", "on", ">word", "~*", "&*", "+@all")
        direct.execute_command("ACL", "SETUSER", "default", "reset", *rules.split())
    client = connect(private_redis.url.replace("unix://", "unix://tester:word@"), timeout_s=5)
    try:
        await check_server(client, "declared")
        if is_kept or private_redis.version < (7, 0):
            await check_server(client, "always")
        else:
            with pytest.raises(ConfigError, match=r"set `user default off ~\* &\* \+@all`"):
                await check_server(client, "always")
    finally:
        await client.aclose()
