"""When the bridge counts as degraded, and in which words."""

import dataclasses

import pytest

from cli.status import Ingress, status_document
from cli.status_words import status_lines
from libs.common.domain.errors import StoreUnavailable
from libs.common.domain.ids import LaneName
from libs.common.policy.halts import Halt, HaltMode, Scope
from libs.common.runtime.settings import LimitsSettings
from libs.common.store.alarms import Alarm
from libs.common.store.checks import ServerFacts
from libs.common.store.figures import LIVE_MS, LaneFigures, Snapshot, WorkerFigures
from libs.common.store.halts import HaltTable, Partial
from libs.common.store.health import Health
from libs.common.store.servers import Server

SERVER = ServerFacts(
    product="Redis",
    version=(7, 2, 4),
    eviction="noeviction",
    durability="always",
    used_bytes=50,
    limit_bytes=100,
    machine_bytes=1_000,
)
WELL = Snapshot(
    now_ms=1_780_000_000_000,
    lanes_ready=1,
    lanes_held=2,
    lanes_parked=3,
    parked_for={"breaker_open": 1, "rate_limit": 2},
    waiting=7,
    oldest_waiting_ms=30_000,
    dead_letters=4,
    workers=(WorkerFigures("a", 1, 10), WorkerFigures("b", 0, 60_000)),
    reaper_pass_ms=500,
    breakers=(),
)
HEALTHY = Ingress("http://127.0.0.1:8080", None)


def health(snapshot: Snapshot = WELL, server: ServerFacts = SERVER) -> Health:
    return Health(snapshot, [Server((0,), server)], HaltTable(()), {})


def test_a_bridge_that_is_well_is_ok() -> None:
    document = status_document(health(), HEALTHY, "always")

    assert (document["status"], document["reasons"]) == ("ok", [])
    assert document["lanes"] == {
        "ready": 1,
        "held": 2,
        "parked": 3,
        "parked_for": {"breaker_open": 1, "rate_limit": 2},
    }
    assert document["redis"]["memory_share"] == 0.5
    assert [worker["is_live"] for worker in document["workers"]] == [True, False]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"workers": ()}, "no worker"),
        ({"workers": (WorkerFigures("a", 0, LIVE_MS),)}, "no worker"),
        ({"reaper_pass_ms": 5_001}, "reaper's last pass"),
        ({"reaper_pass_ms": None}, "reaper has not"),
        ({"oldest_waiting_ms": 30_001}, "has waited for 30 s"),
    ],
)
def test_each_ailment_is_named(change: dict[str, object], words: str) -> None:
    snapshot = dataclasses.replace(WELL, **change)  # type: ignore[arg-type]

    document = status_document(health(snapshot), HEALTHY, "always")

    assert document["status"] == "degraded"
    [reason] = document["reasons"]
    assert words in reason


@pytest.mark.parametrize(
    ("used", "waiting", "words"),
    [
        (79, 99, []),
        (80, 99, ["Redis uses 80.0% of its memory: alerts are refused from 80.0% on (limits.memory)"]),
        (
            79,
            100,
            [
                "100 instructions wait in lane desk:BTC: alerts for it are refused from 100 on (limits.backlog)"
            ],
        ),
    ],
)
def test_what_alerts_find_no_room_in_is_named(used: int, waiting: int, words: list[str]) -> None:
    snapshot = dataclasses.replace(WELL, longest_lane=LaneFigures(LaneName("desk:BTC"), waiting))
    server = dataclasses.replace(SERVER, used_bytes=used)

    document = status_document(health(snapshot, server), HEALTHY, "always", LimitsSettings(backlog=100))

    assert document["reasons"] == words
    assert document["longest_lane"] == {"lane": "desk:BTC", "waiting": waiting}


def test_an_ingress_that_refuses_is_named_with_its_reason() -> None:
    document = status_document(health(), Ingress("http://x", "memory is full"), "always")

    assert document["reasons"] == ["the ingress refuses alerts: memory is full"]
    assert document["ingress"]["is_healthy"] is False


def test_an_ingress_whose_address_is_not_known_is_no_ailment() -> None:
    document = status_document(health(), Ingress(None, None), "always")

    assert document["status"] == "ok"
    assert document["ingress"]["is_healthy"] is None


def test_a_durability_that_became_weaker_than_configured_is_named() -> None:
    weaker = dataclasses.replace(SERVER, durability="everysec")

    document = status_document(health(server=weaker), HEALTHY, "always")

    assert document["redis"]["durability"] == "everysec"
    [reason] = document["reasons"]
    assert "appendfsync always" in reason


@pytest.mark.parametrize(("following", "is_kept"), [(0, False), (1, False), (2, True), (3, True)])
def test_too_few_replicas_for_what_is_configured_are_named(following: int, is_kept: bool) -> None:
    server = dataclasses.replace(SERVER, replicas=following)

    document = status_document(health(server=server), HEALTHY, "always", replicas=2)

    assert document["redis"]["keeps_promises"] is is_kept
    words = f"{following} replicas follow Redis, and redis.replicas is 2"
    assert [reason.partition(":")[0] for reason in document["reasons"]] == ([] if is_kept else [words])


def test_a_declared_durability_is_shown_as_such() -> None:
    unknown = dataclasses.replace(SERVER, durability="unknown")

    document = status_document(health(server=unknown), HEALTHY, "declared")

    assert (document["status"], document["redis"]["durability"]) == ("ok", "declared")


SPREAD = Health(
    dataclasses.replace(WELL, unserved=(1, 3)),
    [Server((0, 1), SERVER), Server((3,), dataclasses.replace(SERVER, durability="everysec", used_bytes=90))],
    HaltTable(()),
    {2: StoreUnavailable("Connection refused.")},
)


def test_of_several_servers_the_weakest_promise_and_the_fullest_memory_are_shown_and_each_is_listed() -> None:
    redis = status_document(SPREAD, HEALTHY, "always")["redis"]

    assert (redis["durability"], redis["memory_share"]) == ("everysec", 0.9)
    assert [(one["shards"], one["durability"], one["memory_share"]) for one in redis["servers"]] == [
        ([0, 1], "always", 0.5),
        ([3], "everysec", 0.9),
    ]
    assert (redis["shards"], redis["shards_away"]) == (4, [2])


def test_each_shard_that_ails_is_named() -> None:
    document = status_document(SPREAD, HEALTHY, "always", LimitsSettings())

    assert document["status"] == "degraded"
    away, unserved, promise, memory = document["reasons"]
    assert "shard 2 does not answer" in away
    assert "Connection refused" in away
    assert "no worker is alive for shards 1, 3" in unserved
    assert promise.startswith("shard 3: ")
    assert "appendfsync always" in promise
    assert memory.startswith("shard 3: Redis uses 90.0%")


def test_a_halt_that_some_shards_lack_is_named_with_them() -> None:
    halt = Halt(Scope(), HaltMode.PAUSE, 1, "me", "news")
    partial = dataclasses.replace(health(), halts=HaltTable((halt,), partial=(Partial(halt, (1, 2)),)))

    document = status_document(partial, HEALTHY, "always")

    [reason] = document["reasons"]
    assert "pause of everything is not set on shards 1, 2" in reason
    assert [one["mode"] for one in document["halts"]] == ["pause"]


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("shard 2: it is away", "the ingress refuses alerts for shard 2: "),
        ("shard 1: it is away; shard 2: so is this", "the ingress refuses alerts for shards 1, 2: "),
        ("; ".join(f"shard {number}: it is away" for number in range(4)), "the ingress refuses alerts: "),
        ("it does not answer", "the ingress refuses alerts: "),
    ],
)
def test_an_ingress_that_takes_alerts_for_other_shards_is_not_said_to_refuse_them(
    named: str, words: str
) -> None:
    several = Health(WELL, [Server((0, 1, 2, 3), SERVER)], HaltTable(()), {})

    [reason] = status_document(several, Ingress("http://127.0.0.1:8080", named), "always")["reasons"]

    assert reason == f"{words}{named}"


ALARM = Alarm("silence", "tr\x1bend", "not heard for 6 h", WELL.now_ms - 120_000, WELL.now_ms)


def test_an_alarm_is_shown_and_is_no_ailment() -> None:
    document = status_document(health(), HEALTHY, "always", alarms=[ALARM])

    assert (document["status"], document["reasons"]) == ("ok", [])
    assert [(one["kind"], one["detail"]) for one in document["alarms"]] == [("silence", "not heard for 6 h")]


@pytest.mark.parametrize(
    ("alarms", "shown"),
    [
        ([], []),
        ([ALARM], ["alarm     silence of tr\\x1bend: not heard for 6 h (2 min ago)"]),
        (None, ["alarm     not known: Redis does not tell us what is raised"]),
    ],
)
def test_people_see_what_is_raised_or_that_it_is_not_known(
    alarms: list[Alarm] | None, shown: list[str]
) -> None:
    document = status_document(health(), HEALTHY, "always", alarms=alarms)
    document["figures"] = None
    document["redis"]["url"] = "redis://here"

    assert [line for line in status_lines(document) if line.startswith("alarm")] == shown
