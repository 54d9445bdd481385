"""Users of Redis: each can do all of its work, and nothing else; and what is said where a right is missing."""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.e2e.commands import bascule, run
from tests.e2e.ledger import all_accepted, assert_executed_once
from tests.e2e.redis_users import USERS, GuardedBridge, GuardedRedis, guarded_redis
from tests.support import http_client
from tests.support.bridge import Bridge
from tests.support.bridge_config import ACCOUNT
from tests.support.eventually import eventually, eventually_sync
from tests.support.redis_server import EMBEDDED_ID, Binary
from tests.support.service import Service
from tests.support.venue import Venue

NEWEST = "newest"
PRICED: dict[str, Any] = {"bascule": 1, "price": "100"}
"""An exposure is a value, which needs a price."""
PREFIX = "bascule:{s0}:"
CONFIG: dict[str, Any] = {
    "webhooks": {"default": {"rate": "1000/s", "burst": 1000, "max_age": "10min"}},
    "limits": {"symbol": {"rate": "100/s", "burst": 100}, "account": {"rate": "100/s", "burst": 100}},
    "worker": {"lease": "1500ms"},
    "accounts": {
        ACCOUNT: {
            "request_expiry": "500ms",
            "timeout": "500ms",
            "reconcile": {"every": "1s"},
            "risk": {"max_exposure": 1_000_000},
        },
        "paper": {"broker": "paper", "default_quantity": 1, "default_price": 100},
    },
}

pytestmark = [
    pytest.mark.redis,
    pytest.mark.parametrize("redis_binary", [EMBEDDED_ID, NEWEST], indirect=True),
]


@pytest.fixture
def guarded(redis_binary: Binary, tmp_path: Path) -> Iterator[GuardedRedis]:
    with guarded_redis(redis_binary, tmp_path / "users") as server:
        yield server


@pytest.fixture
def bridge_of(guarded: GuardedRedis, tmp_path: Path) -> Iterator[Callable[..., GuardedBridge]]:
    """Makes a bridge whose processes are users; kills it at the end."""
    made: list[GuardedBridge] = []

    def make(**options: Any) -> GuardedBridge:
        made.append(GuardedBridge(tmp_path / "bridge", guarded, **options))
        return made[-1]

    yield make
    for bridge in made:
        bridge.close()


# ----------------------------------------------------------------------------------------------------------------------
# Enough
# ----------------------------------------------------------------------------------------------------------------------


async def test_a_redis_that_is_killed_comes_back_with_everything_although_its_default_user_is_off(
    guarded: GuardedRedis, bridge_of: Callable[..., GuardedBridge], venue: Venue
) -> None:
    bridge = bridge_of(venue=venue).start()
    taken = all_accepted([await bridge.post(bridge.alert(symbol=f"S{number}")) for number in range(5)])
    await bridge.wait_ended(5)
    keys = set(bridge.client.scan_iter(match=f"{PREFIX}*", count=1_000)) - {f"{PREFIX}probe"}

    # Redis plays its append-only file back as that user.
    guarded.server.restart()

    assert not keys - set(bridge.client.scan_iter(match=f"{PREFIX}*", count=1_000))
    assert_executed_once(bridge, venue, taken)


async def wait_all_ended(bridge: Bridge) -> None:
    await eventually(
        lambda: not {"QUEUED", "ACTIVE"} & bridge.state_counts().keys() and not bridge.held_lanes(), 30
    )


async def trade(bridge: Bridge, **fields: Any) -> str:
    """Post an alert, wait for its end and return its id."""
    status, body = await bridge.post(bridge.alert(**{**PRICED, **fields}))
    assert status == 200, body
    await wait_all_ended(bridge)
    return str(body["alert_id"])


async def posted(bridge: Bridge, alert: Any) -> int:
    """Post an alert and return the status of its answer."""
    status, _ = await bridge.post(alert)
    return int(status)


async def orders_trade(bridge: Bridge, venue: Venue) -> None:
    alert = bridge.alert(**PRICED)
    assert [await posted(bridge, alert) for _ in range(2)] == [200, 200]
    assert await posted(bridge, b"{}") in {401, 422}
    (bridge.directory / "alert.json").write_text(json.dumps(bridge.alert(**PRICED)))
    await run(bridge, "preview", "alert.json")
    await trade(bridge, action="sell", quantity="3")
    # Rests, is followed, and ends.
    await trade(bridge, symbol="ETHUSDT", quantity="2", order_type="limit", limit_price="100")
    [resting] = [name for name, order in bridge.orders().items() if order["state"] == "ACCEPTED"]
    await run(bridge, "orders", "--open")
    venue.fill(resting)
    await eventually(lambda: bridge.orders()[resting]["state"] == "FILLED", 30)
    assert bridge.state_counts().keys() == {"EXECUTED"}, bridge.dead_letters()


async def operators_intervene(bridge: Bridge, _venue: Venue) -> None:
    await trade(bridge)
    await run(bridge, "halt", "--mode", "pause", "--reason", "news")
    assert await posted(bridge, bridge.alert(symbol="SOLUSDT", **PRICED)) == 200
    await eventually(
        lambda: any(one.get("waits_for") == "halted" for one in bridge.instructions().values()), 20
    )
    await run(bridge, "halts")
    await run(bridge, "resume")
    await wait_all_ended(bridge)
    await run(bridge, "halt", "--mode", "reject", "--reason", "news")
    for _ in range(2):
        await trade(bridge, symbol="XRPUSDT")
    await run(bridge, "resume")
    first, second = [
        one["dead_letter_id"] for one in (await run(bridge, "dead-letters", "list", "--json")).data
    ]
    await run(bridge, "dead-letters", "show", first)
    await run(bridge, "dead-letters", "replay", first)
    await run(bridge, "dead-letters", "discard", second)
    await wait_all_ended(bridge)
    await run(bridge, "flatten", ACCOUNT, "--yes", "--halt")
    await run(bridge, "resume", "--account", ACCOUNT)


async def paper_trades(bridge: Bridge, _venue: Venue) -> None:
    """By way of a webhook and a symbol that are made while it runs."""
    made = (
        await run(bridge, "webhook", "create", "desk-two", "--account", "paper", "--auth", "url", "--json")
    ).data
    await run(bridge, "symbols", "confirm", "GOLD", "--account", "paper", "--market", "XAUUSD", "--force")
    alert = {
        "action": "buy",
        "symbol": "GOLD",
        "quantity": "1",
        "bascule": 1,
        "take_profit": "120",
        "id": "gold-1",
    }
    url = f"{bridge.ingresses[0].url}/{made['url'].split('/', 3)[3]}"

    async def is_taken() -> bool:
        status, _ = await http_client.post(url, alert, timeout_s=10)
        return bool(status == 200)

    assert await eventually(is_taken, 10)
    await wait_all_ended(bridge)
    await run(bridge, "paper", "orders", "paper")
    await run(bridge, "paper", "price", "paper", "XAUUSD", "130")
    for command in (
        *(
            ("webhook", "list"),
            ("webhook", "show", "desk-two"),
            ("webhook", "rotate", "desk-two", "--url"),
        ),
        *(("webhook", "disable", "desk-two"), ("webhook", "delete", "desk-two", "--yes")),
        *(
            ("symbols", "list"),
            ("symbols", "test", "GOLD", "--account", "paper"),
            ("symbols", "remove", "GOLD", "--account", "paper"),
        ),
    ):
        await run(bridge, *command)


async def failures_heal(bridge: Bridge, venue: Venue) -> None:
    # A worker that dies with a lane: reclaimed, and its order looked up.
    venue.control(delay_ms=60_000)
    assert await posted(bridge, bridge.alert(symbol="ADAUSDT", **PRICED)) == 200
    [holder] = await eventually(lambda: [one for one in bridge.workers if bridge.lanes_held_by(one)], 20)
    holder.kill()
    venue.control(delay_ms=0)
    await wait_all_ended(bridge)
    # The group is gone: the audit makes it again.
    bridge.client.xgroup_destroy(f"{PREFIX}ready", "workers")
    await trade(bridge, symbol="DOTUSDT")
    # Nobody can read it: a dead letter.
    bridge.client.xadd(f"{PREFIX}lane:{ACCOUNT}:JUNK", {"junk": "1"})
    await eventually(lambda: any(one["reason"] == "malformed" for one in bridge.dead_letters()), 20)


READING = (
    *(
        ("status",),
        ("alerts",),
        ("orders",),
        ("positions",),
        ("events",),
        ("halts",),
        ("dead-letters", "list"),
    ),
    *(
        ("tail", "--since", "1h", "--count", "5"),
        ("report",),
        ("webhook", "list"),
        ("symbols", "list"),
        ("check",),
        ("doctor",),
    ),
)


async def people_read(bridge: GuardedBridge, _venue: Venue) -> None:
    """All of it as the operator, and as the one who may only read."""
    await trade(bridge)
    for user in ("operator", "observer"):
        bridge.environment["REDIS_URL"] = bridge.guarded.urls[user]
        for command in READING:
            outcome = await bascule(bridge, *command)
            assert outcome.code in {0, 3}, (user, command, outcome)


async def people_look_where_a_worker_runs(bridge: GuardedBridge, _venue: Venue) -> None:
    """What `bascule status` shows is the same there."""
    await trade(bridge)
    seen = {}
    for user in ("operator", "worker"):
        bridge.environment["REDIS_URL"] = bridge.guarded.urls[user]
        outcome = await bascule(bridge, "status", "--json")
        assert outcome.code in {0, 3}, outcome
        seen[user] = {name for name, value in outcome.data.items() if value is not None}
    assert "alarms" in seen["worker"]
    assert seen["worker"] == seen["operator"]


@pytest.mark.parametrize(
    "work",
    [
        orders_trade,
        operators_intervene,
        paper_trades,
        failures_heal,
        people_read,
        people_look_where_a_worker_runs,
    ],
)
@pytest.mark.timeout(180)
async def test_every_user_can_do_its_work_and_redis_denies_none_of_it(
    bridge_of: Callable[..., GuardedBridge],
    guarded: GuardedRedis,
    venue: Venue,
    work: Callable[[GuardedBridge, Venue], Awaitable[None]],
) -> None:
    bridge = bridge_of(venue=venue, workers=2, config=CONFIG)
    bridge.start()

    await work(bridge, venue)

    for service in bridge.services:
        if service.is_running:
            assert service.terminate().code == 0
    assert guarded.denials == []


# ----------------------------------------------------------------------------------------------------------------------
# No more
# ----------------------------------------------------------------------------------------------------------------------

NOBODY: tuple[tuple[str, ...], ...] = (
    *(
        ("FLUSHALL",),
        ("FLUSHDB",),
        ("CONFIG", "SET", "appendonly", "no"),
        ("CONFIG", "REWRITE"),
        ("KEYS", "*"),
    ),
    *(
        ("DEBUG", "SLEEP", "0"),
        ("SHUTDOWN", "NOSAVE"),
        ("SAVE",),
        ("BGSAVE",),
        ("BGREWRITEAOF",),
        ("RANDOMKEY",),
    ),
    *(("SCRIPT", "FLUSH"), ("SCRIPT", "KILL"), ("CLIENT", "LIST"), ("CLIENT", "KILL", "TYPE", "normal")),
    *(
        ("CLIENT", "PAUSE", "1"),
        ("ACL", "LIST"),
        ("ACL", "SETUSER", "me", "on", "nopass"),
        ("ACL", "LOG", "RESET"),
    ),
    *(
        ("MONITOR",),
        ("REPLICAOF", "NO", "ONE"),
        ("MODULE", "LIST"),
        ("SUBSCRIBE", "x"),
        ("PUBLISH", "x", "y"),
    ),
    *(("SWAPDB", "0", "1"), ("SELECT", "1"), ("SLOWLOG", "GET"), ("LATENCY", "RESET"), ("FAILOVER",)),
    *(("RENAME", f"{PREFIX}dead", f"{PREFIX}meta"), ("COPY", f"{PREFIX}dead", f"{PREFIX}meta")),
    *(
        ("MIGRATE", "127.0.0.1", "1", f"{PREFIX}dead", "0", "1"),
        ("DUMP", f"{PREFIX}dead"),
        ("UNLINK", f"{PREFIX}dead"),
    ),
    *(("GET", "theirs"), ("SET", "theirs", "1"), ("HGETALL", "bascule:{t0}:lanes"), ("GET", "bascule:{s0}")),
    *(
        ("XGROUP", "DESTROY", f"{PREFIX}ready", "workers"),
        ("XGROUP", "SETID", f"{PREFIX}ready", "workers", "0"),
    ),
)
"""What no user may."""


def script(body: str, *keys: str) -> tuple[str, ...]:
    return ("EVAL", body, str(len(keys)), *keys)


HIDDEN = f"return redis.call('HSET', '{PREFIX}' .. 'order:x', 'state', 'FILLED')"
"""A script that builds its key itself."""

BEYOND: dict[str, tuple[tuple[str, ...], ...]] = {
    "ingress": (
        *(
            ("HGETALL", f"{PREFIX}order:x"),
            ("HSET", f"{PREFIX}order:x", "state", "FILLED"),
            ("DEL", f"{PREFIX}lanes"),
        ),
        *(("HDEL", f"{PREFIX}lanes", "x"), ("HSET", f"{PREFIX}positions:{ACCOUNT}", "x", "1"), ("SCAN", "0")),
        *(("GET", f"{PREFIX}balance:{ACCOUNT}"), ("HGETALL", f"{PREFIX}paper:{ACCOUNT}:positions")),
        *(("HGETALL", f"{PREFIX}risk:{ACCOUNT}"), ("SET", f"{PREFIX}bucket:account:{ACCOUNT}", "0")),
        *(
            ("XREADGROUP", "GROUP", "workers", "me", "STREAMS", f"{PREFIX}ready", ">"),
            ("XTRIM", f"{PREFIX}journal", "MAXLEN", "0"),
        ),
        *(
            ("XACK", f"{PREFIX}ready", "workers", "1-1"),
            ("EXPIRE", f"{PREFIX}lanes", "1"),
            ("ZADD", f"{PREFIX}parked", "1", "x"),
        ),
        script(HIDDEN, f"{PREFIX}lanes"),
        script("return redis.call('FLUSHALL')"),
    ),
    "worker": (
        *(("GET", f"{PREFIX}seen:default:x"), ("XRANGE", f"{PREFIX}refused", "-", "+"), ("SCAN", "0")),
        *(("SET", f"{PREFIX}bucket:webhook:default", "0"), ("XTRIM", f"{PREFIX}journal", "MAXLEN", "0")),
        *(("XGROUP", "DELCONSUMER", f"{PREFIX}ready", "workers", "me"), ("SET", f"{PREFIX}refused", "1")),
        script("return redis.call('FLUSHALL')"),
        script(f"return redis.call('GET', '{PREFIX}' .. 'seen:x:y')"),
    ),
    "reaper": (
        *(
            ("GET", f"{PREFIX}seen:default:x"),
            ("HGETALL", f"{PREFIX}webhooks"),
        ),
        *(
            ("HSET", f"{PREFIX}symbols", "x", "y"),
            ("HGETALL", f"{PREFIX}positions:{ACCOUNT}"),
            ("XRANGE", f"{PREFIX}fills:{ACCOUNT}", "-", "+"),
        ),
        *(
            ("GET", f"{PREFIX}balance:{ACCOUNT}"),
            ("XREADGROUP", "GROUP", "workers", "me", "STREAMS", f"{PREFIX}ready", ">"),
        ),
        ("SET", f"{PREFIX}lanes", "1"),
        script("return redis.call('KEYS', '*')"),
    ),
    "operator": (
        *(("XTRIM", f"{PREFIX}dead", "MAXLEN", "0"), ("XACK", f"{PREFIX}ready", "workers", "1-1")),
        *(
            ("XREADGROUP", "GROUP", "workers", "me", "STREAMS", f"{PREFIX}ready", ">"),
            ("EXPIRE", f"{PREFIX}lanes", "1"),
        ),
        ("XGROUP", "DELCONSUMER", f"{PREFIX}ready", "workers", "me"),
        script("return redis.call('FLUSHDB')"),
        script("return redis.call('SET', 'theirs', '1')"),
    ),
    "observer": (
        *(("SET", f"{PREFIX}probe", "1"), ("HSET", f"{PREFIX}halts", "x", "y"), ("DEL", f"{PREFIX}lanes")),
        *(
            ("XADD", f"{PREFIX}journal", "*", "a", "b"),
            ("XDEL", f"{PREFIX}dead", "1-1"),
            ("ZADD", f"{PREFIX}following", "1", "x"),
        ),
        script("return 1"),
        ("EVALSHA", "0" * 40, "0"),
    ),
}
"""What one user may not, though another may."""

BARRED = "(?i)no permissions|executing the script can't"


def answer_to(client: "redis.Redis", command: tuple[str, ...]) -> str:
    """Return what a command was answered, or how it was refused."""
    try:
        return f"done: {client.execute_command(*command)}"
    except redis.ResponseError as error:
        return str(error)


@pytest.mark.parametrize("user", USERS)
def test_every_user_is_denied_the_rest(guarded: GuardedRedis, user: str) -> None:
    with closing(guarded.client(user)) as client:
        answers = {command: answer_to(client, command) for command in (*NOBODY, *BEYOND[user])}

    assert {command: words for command, words in answers.items() if not re.search(BARRED, words)} == {}
    assert guarded.server.is_running
    assert {denial["username"] for denial in guarded.denials} == {user}


def test_nobody_comes_in_without_a_password_that_was_made(guarded: GuardedRedis) -> None:
    url = guarded.urls["ingress"]
    host = url.partition("@")[2]
    passwords = [
        "",
        ":@",
        ":wrong@",
        "ingress:@",
        "ingress:wrong@",
        f"ingress:{'0' * 64}@",
        "default:wrong@",
        "nobody:x@",
    ]
    for identity in passwords:
        with (
            closing(redis.Redis.from_url(f"redis://{identity}{host}", retry=None)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


# ----------------------------------------------------------------------------------------------------------------------
# What is said
# ----------------------------------------------------------------------------------------------------------------------


def ended(service: Service) -> str:
    """Return what a process said at its end, which must be one line."""
    eventually_sync(lambda: service.exit_code is not None, 20, message=f"{service.label} ends")
    assert service.exit_code == 1
    said = service.errors()
    assert len(said.splitlines()) == 1, said
    assert "Traceback" not in service.log_tail()
    return said


@pytest.mark.parametrize("name", ["ingress", "worker", "reaper"])
@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (("resetpass", ">another"), ['user "{name}"', "password", "REDIS_URL=redis://NAME:PASSWORD@"]),
        (("off",), ['user "{name}"', "disabled"]),
        (("-info",), ['user "{name}"', "'info' command", "config/redis-users.acl"]),
        (("-config|get",), ["bars CONFIG", "redis.durability: declared"]),
    ],
    ids=["wrong password", "user off", "no INFO", "no CONFIG"],
)
def test_a_service_that_redis_bars_as_it_starts_ends_with_one_line(
    bridge_of: Callable[..., GuardedBridge],
    guarded: GuardedRedis,
    name: str,
    rules: tuple[str, ...],
    words: list[str],
) -> None:
    if rules == ("-config|get",) and guarded.server.version < (7, 0):
        rules = ("-config",)  # 6.2 takes sub-commands away only with the whole
    guarded.grant(name, *rules)
    bridge = bridge_of()
    [service] = [one for one in bridge.services if one.name == name]

    said = ended(service.start())

    for word in words:
        assert word.format(name=name) in said
    assert guarded.urls[name].split(":")[2].partition("@")[0] not in said


def test_a_service_without_a_user_ends_with_one_line(
    bridge_of: Callable[..., GuardedBridge], guarded: GuardedRedis
) -> None:
    guarded.grant("ingress", "resetpass")
    bridge = bridge_of()
    service = bridge.ingresses[0]
    host = guarded.urls["ingress"].partition("@")[2]
    nameless = Service(
        "ingress",
        service.config,
        bridge.directory,
        environment={**bridge.environment, "REDIS_URL": f"redis://{host}"},
        label="nameless",
    )

    assert "Authentication required" in ended(nameless.start())


TAKEN: list[tuple[str, tuple[str, ...], str, str]] = [
    ("ingress", ("-evalsha", "-eval"), "+evalsha +eval", "'evalsha' command"),
    ("worker", ("-xreadgroup",), "+xreadgroup", "'xreadgroup' command"),
    ("reaper", ("-xautoclaim",), "+xautoclaim", BARRED),
]


@pytest.mark.parametrize(("name", "taken", "given", "words"), TAKEN)
async def test_a_service_whose_right_is_taken_says_so_and_goes_on_when_it_is_given_back(
    bridge_of: Callable[..., GuardedBridge],
    guarded: GuardedRedis,
    name: str,
    taken: tuple[str, ...],
    given: str,
    words: str,
) -> None:
    bridge = bridge_of(broker="log")
    bridge.start()
    [service] = [one for one in bridge.services if one.name == name]
    guarded.grant(name, *taken)

    await eventually(lambda: service.ops("/ready")[0] == 503, 20)
    reason = service.ops("/ready")[1]
    assert re.search(words, json.loads(reason)["reason"]), reason
    assert f'user \\"{name}\\"' in reason
    status, _ = await bridge.post(bridge.alert())
    assert status == (503 if name == "ingress" else 200)
    assert service.is_running
    assert "Traceback" not in service.log_tail()
    told = [event for event in service.log() if re.search(words, json.dumps(event))]
    assert 1 <= len(told) <= 5, told

    guarded.grant(name, *given.split())
    await eventually(service.is_ready, 20)
    assert await posted(bridge, bridge.alert()) == 200
    await wait_all_ended(bridge)


async def test_commands_say_who_lacks_what(
    bridge_of: Callable[..., GuardedBridge], guarded: GuardedRedis
) -> None:
    bridge = bridge_of()
    for service in bridge.services:
        service.config_path.write_text(json.dumps(dict(service.config)))
    bridge.environment["REDIS_URL"] = guarded.urls["observer"]
    for command in (
        ("halt", "--mode", "pause", "--reason", "x"),
        ("flatten", ACCOUNT, "--yes", "--symbol", "X"),
    ):
        refused = await bascule(bridge, *command)
        assert refused.code == 1
        *_, last = refused.stderr.splitlines()
        assert 'user "observer"' in last
        assert "'evalsha' command" in last
    bridge.environment["REDIS_URL"] = guarded.urls["observer"].replace("observer:", "observer:x")
    refused = await bascule(bridge, "check")
    assert refused.code == 1
    assert 'user "observer": invalid username-password pair' in refused.stdout
    assert "REDIS_URL=redis://NAME:PASSWORD@" in refused.stdout
